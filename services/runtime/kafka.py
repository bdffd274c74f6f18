"""aiokafka as we use it: a producer that promises, and a consumer loop that commits only what is finished."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from prometheus_client import Counter, Gauge, Histogram

from schemas.base import EventData
from schemas.envelope import Event, UndecodableEvent, Wire, decode, encode
from schemas.topics import dead_letter_topic
from services.runtime.clock import monotonic_s, real_now
from services.runtime.ends import Ends
from services.runtime.errors import PermanentError, TransientError
from services.runtime.health import Health

log = structlog.get_logger(__name__)

EVENTS_CONSUMED = Counter("ringback_events_consumed_total", "Events finished, by outcome.", ["topic", "outcome"])
EVENT_SECONDS = Histogram(
    "ringback_event_processing_seconds", "Time from an event's delivery to its end.", ["topic"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)  # fmt: skip
DEAD_LETTERS = Counter("ringback_dead_letters_total", "Events put into a dead-letter topic.", ["topic"])
LAG = Gauge("ringback_consumer_lag_records", "Records not yet finished.", ["topic", "group"])

OUTCOMES = ("applied", "ignored", "dead_lettered")
BACKOFF_S = (0.1, 5.0)
"""First and longest pause between tries at an event whose dependency is away; the wait is our back-pressure."""
QUEUE_LIMIT = 500
"""Records of one partition that wait in memory before it is paused. A partition is not paused over a record or two: a
paused one is left out of the fetch under way, and its next record would wait for that fetch to end."""
COMMIT_EVERY_S = 0.2
"""Finished events are committed this often, all partitions in one request; what a crash repeats changes nothing."""
DEAD_LETTER_WINDOW = 200
DEAD_LETTER_SHARE = 0.2
DEAD_LETTER_FREE = 20
"""More dead letters than this many, and than this share of the last 200 events of a partition, is our fault and not
theirs: the loop stops rather than empties the topic."""


class TooManyDeadLetters(TransientError):
    """Too many events of one partition fail: a bad deploy, not bad events."""


class Producer(Protocol):
    """What emits events."""

    async def send(self, *events: Event[EventData]) -> None:
        """Send in order; return once the broker has acknowledged every one.

        Raises:
            TransientError: at least one is not acknowledged; any of them may have arrived.
        """

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records, with the same promise."""


class KafkaProducer:
    """The real one: idempotent, all replicas."""

    def __init__(self, bootstrap_servers: str, client_id: str, request_timeout_s: float = 10.0) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers,
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            request_timeout_ms=int(request_timeout_s * 1000),
            max_request_size=1 << 20,
        )

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Flush what is under way and leave."""
        await self._producer.stop()

    async def check(self) -> None:
        """Ask the cluster whether it is there.

        Raises:
            TransientError: it does not answer.
            PermanentError: this producer can never send again; only a new process can.
        """
        task = self._producer._sender.sender_task
        if task is not None and task.done():
            raise PermanentError("the producer's sender has ended")
        try:
            await self._producer.client.fetch_all_metadata()
        except KafkaError as error:
            raise TransientError(f"Kafka does not answer: {error!r}") from error

    async def send(self, *events: Event[EventData]) -> None:
        """Send in order; return once the broker has acknowledged every one."""
        await self.send_wire(*(encode(event) for event in events))

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records in order; return once all are acknowledged."""
        try:
            acks = [
                await self._producer.send(record.topic, record.value, key=record.key, headers=record.headers)
                for record in records
            ]
            if acks:
                await asyncio.gather(*acks)
        except KafkaError as error:
            raise TransientError(f"Kafka did not acknowledge: {error!r}") from error


@dataclass
class FakeProducer:
    """Keeps what was sent; `fail` makes the next sends fail before anything is kept."""

    sent: list[Event[EventData]] = field(default_factory=list)
    records: list[Wire] = field(default_factory=list)
    fail: int = 0

    async def send(self, *events: Event[EventData]) -> None:
        """Keep events."""
        if self.fail:
            self.fail -= 1
            raise TransientError("the fake was told to fail")
        for event in events:
            wire = encode(event)
            decode(wire.key, wire.value, wire.headers)  # what cannot be read back must not be written
            self.sent.append(event)
            self.records.append(wire)

    async def send_wire(self, *records: Wire) -> None:
        """Keep records."""
        self.records.extend(records)


Outcome = str
Handler = Callable[[Event[EventData]], Awaitable[Outcome]]
"""Handles one event; returns `applied`, or `ignored:<why>` from a closed set. May raise PermanentError (a dead letter)
or TransientError (tried again, in place)."""


class ConsumerLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads topics as one group, each partition in order, several partitions side by side; commits what is finished.

    An event ends as applied, ignored or dead-lettered. While a dependency is away its partition waits (paused, polled
    on, unready) and nothing is committed past the event.
    """

    def __init__(
        self,
        topics: Sequence[str],
        group: str,
        bootstrap_servers: str,
        handler: Handler,
        producer: Producer,
        health: Health,
        *,
        instance: str = "0",
        session_timeout_s: float = 10.0,
    ) -> None:
        self._topics, self._group, self._handler, self._producer, self._health = (
            topics,
            group,
            handler,
            producer,
            health,
        )
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=group,
            client_id=f"{group}-{instance}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(session_timeout_s * 1000),
            heartbeat_interval_ms=int(session_timeout_s * 1000 / 5),
            max_poll_interval_ms=300_000,
            fetch_max_wait_ms=500,  # answered at once when there is something; less would be work for nothing
        )
        self._work: dict[TopicPartition, asyncio.Task[None]] = {}
        self._queues: dict[TopicPartition, deque[ConsumerRecord[bytes, bytes]]] = {}
        self._done: dict[TopicPartition, int] = {}
        self._committing: asyncio.Task[None] | None = None
        self._committed_s = 0.0
        self._recent: dict[TopicPartition, list[bool]] = {}
        self._ends = Ends(bootstrap_servers)
        self._positions: dict[TopicPartition, int] = {}
        self._stopping = False

    async def start(self) -> None:
        """Join the group."""
        self._consumer.subscribe(list(self._topics), listener=self)
        await self._consumer.start()
        for topic in self._topics:
            for outcome in OUTCOMES:
                EVENTS_CONSUMED.labels(topic, outcome).inc(0)
            DEAD_LETTERS.labels(topic).inc(0)
            LAG.labels(topic, self._group).set(0)
        self._health.idle_checks.append(self._behind)

    async def stop(self) -> None:
        """Finish the events in hand, commit them and leave the group."""
        self._stopping = True
        await self._settle(list(self._work), limit_s=20.0)
        await self._commit()
        await self._consumer.stop()
        await self._ends.stop()

    async def run(self) -> None:
        """Poll until stopped or until too many events of a partition fail."""
        self._health.unready("kafka", "joining the group")
        while not self._stopping:
            self._health.beat(f"consume {self._group}")
            try:
                batches = await self._consumer.getmany(timeout_ms=100, max_records=QUEUE_LIMIT)
            except KafkaError as error:
                if not error.retriable:
                    raise
                self._health.unready("kafka", repr(error))
                await asyncio.sleep(0.5)
                continue
            if self._consumer.assignment():
                self._health.ready("kafka")
            for partition, records in batches.items():
                self._queues.setdefault(partition, deque()).extend(records)
            self._reap()
            for partition, queue in self._queues.items():
                if queue and partition not in self._work and not self._stopping:
                    self._work[partition] = asyncio.create_task(self._partition(partition, queue))
                if len(queue) > QUEUE_LIMIT and partition in self._consumer.assignment():
                    self._consumer.pause(partition)
            self._report_lag()
            if self._done and monotonic_s() - self._committed_s >= COMMIT_EVERY_S and not self._committing:
                self._committed_s = monotonic_s()
                self._committing = asyncio.create_task(self._commit())

    def _reap(self) -> None:
        for partition, task in list(self._work.items()):
            if task.done():
                del self._work[partition]
                if not self._stopping:
                    task.result()
        if self._committing is not None and self._committing.done():
            self._committing.result()
            self._committing = None

    async def _partition(self, partition: TopicPartition, queue: deque[ConsumerRecord[bytes, bytes]]) -> None:
        while queue and not self._stopping:
            record = queue.popleft()
            await self._finish(partition, record)
            self._positions[partition] = self._done[partition] = record.offset + 1
            if len(queue) == QUEUE_LIMIT // 2 and partition in self._consumer.assignment():
                self._consumer.resume(partition)

    async def _finish(self, partition: TopicPartition, record: ConsumerRecord[bytes, bytes]) -> None:
        began, tries, first = monotonic_s(), 0, real_now()
        while True:
            tries += 1
            try:
                event = decode(record.key, record.value, record.headers)
                outcome = await self._handler(event)
                break
            except (PermanentError, UndecodableEvent) as error:
                await self._dead_letter(partition, record, error, tries, first)
                outcome = "dead_lettered"
                break
            except TransientError as error:
                self._health.unready("dependency", str(error))
                if self._stopping:
                    raise  # not finished, not committed: whoever reads next repeats it
                log.warning(
                    "waiting", topic=partition.topic, partition=partition.partition, why=str(error), tries=tries
                )
                await asyncio.sleep(min(BACKOFF_S[1], BACKOFF_S[0] * 2 ** min(tries, 8)) * random.uniform(0.5, 1.0))
            except Exception as error:  # a defect of ours: kept with its bytes, seen, and never in the way of the next
                log.exception("defect", topic=partition.topic, partition=partition.partition, offset=record.offset)
                await self._dead_letter(partition, record, error, tries, first)
                outcome = "dead_lettered"
                break
        if tries > 1:
            self._health.ready("dependency")
        EVENTS_CONSUMED.labels(partition.topic, outcome.split(":")[0]).inc()
        EVENT_SECONDS.labels(partition.topic).observe(monotonic_s() - began)
        self._count(partition, failed=outcome == "dead_lettered")

    def _count(self, partition: TopicPartition, *, failed: bool) -> None:
        recent = self._recent.setdefault(partition, [])
        recent.append(failed)
        del recent[:-DEAD_LETTER_WINDOW]
        bad = sum(recent)
        if bad > DEAD_LETTER_FREE and bad > DEAD_LETTER_SHARE * len(recent):
            why = f"{bad} of the last {len(recent)} events of {partition.topic}[{partition.partition}] failed"
            self._health.unready("dead letters", why)
            raise TooManyDeadLetters(why)

    async def _dead_letter(
        self,
        partition: TopicPartition,
        record: ConsumerRecord[bytes, bytes],
        error: Exception,
        tries: int,
        first: datetime,
    ) -> None:
        wire = dead_letter(partition.topic, partition.partition, record.offset, record.key, record.value,
                           record.headers or (), error, tries, first)  # fmt: skip
        while True:
            try:
                await self._producer.send_wire(wire)
                break
            except TransientError as away:
                self._health.unready("dependency", str(away))
                await asyncio.sleep(1.0)
        self._health.ready("dependency")
        DEAD_LETTERS.labels(partition.topic).inc()
        log.error("dead_letter", topic=partition.topic, offset=record.offset, why=str(error))

    async def _commit(self) -> None:
        done, self._done = self._done, {}
        if not done:
            return
        try:
            await self._consumer.commit(done)
        except (CommitFailedError, IllegalStateError) as error:
            # A partition has moved: its new owner repeats these events, which changes nothing. The others stay due.
            log.info("commit_refused", why=repr(error))
            mine = self._consumer.assignment()
            self._done = {**{partition: at for partition, at in done.items() if partition in mine}, **self._done}
        except KafkaError as error:
            log.warning("commit_failed", why=repr(error))
            self._done = {**done, **self._done}

    async def _settle(self, partitions: Iterable[TopicPartition], limit_s: float) -> None:
        tasks = [self._work[partition] for partition in partitions if partition in self._work]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=limit_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish what is in hand before the partitions go."""
        revoked = list(revoked)
        for partition in revoked:
            if queue := self._queues.pop(partition, None):
                queue.clear()  # whoever gets the partition reads these again
        await self._settle(revoked, limit_s=10.0)
        if self._committing is not None:
            await asyncio.wait([self._committing])
        await self._commit()
        for partition in revoked:
            self._work.pop(partition, None)
            self._positions.pop(partition, None)
            self._done.pop(partition, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start reading; a paused partition that comes back must not stay paused."""
        for partition in assigned:
            self._consumer.resume(partition)

    def _report_lag(self) -> None:
        behind = dict.fromkeys(self._topics, 0)
        for partition in self._consumer.assignment():
            high = self._consumer.highwater(partition)
            at = self._positions.get(partition)
            if high is not None and at is not None:
                behind[partition.topic] += max(0, high - at)
        for topic, records in behind.items():
            LAG.labels(topic, self._group).set(records)

    async def _behind(self) -> str | None:
        """Say whether any assigned partition holds an event that is not finished (committed or not)."""
        if any(self._queues.values()) or not all(task.done() for task in self._work.values()):
            return "events in hand"
        assigned = self._consumer.assignment()
        if not assigned:
            return "no partitions yet"
        for partition, end in (await self._ends.of(assigned)).items():
            if (at := await self._reached(partition)) < end:
                return f"{end - at} events in {partition.topic}[{partition.partition}]"
        return None

    async def _reached(self, partition: TopicPartition) -> int:
        """Return the offset of the first event that is not finished."""
        if partition not in self._positions:
            at = await self._consumer.committed(partition)
            if at is None:
                at = (await self._ends.begins([partition]))[partition]
            self._positions.setdefault(partition, at)  # a worker may have got on meanwhile
        return self._positions[partition]

    async def caught_up(self, topic: str, limit_s: float = 2.0) -> bool:
        """Return whether all that stood in this instance's partitions of a topic when asked is finished.

        Waits for it, but not longer than `limit_s` real seconds. False also when the partitions have moved meanwhile.
        """
        mine = [partition for partition in self._consumer.assignment() if partition.topic == topic]
        if not mine:
            return False
        try:
            async with asyncio.timeout(limit_s):
                for partition, end in (await self._ends.of(mine)).items():
                    while await self._reached(partition) < end:
                        await asyncio.sleep(0.005)
        except (TimeoutError, KafkaError):
            return False
        return bool(set(mine) <= self._consumer.assignment())


def dead_letter(
    topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None,
    headers: Iterable[tuple[str, bytes]], error: Exception, attempts: int, first: datetime,
) -> Wire:  # fmt: skip
    """Return the dead letter of a record: its bytes as they came, and in headers where it stood and why it failed."""
    return Wire(
        dead_letter_topic(topic),
        key or b"",
        value or b"",
        [
            *headers,
            ("dlq_reason", f"{type(error).__name__}: {error}"[:1000].encode()),
            ("dlq_topic", topic.encode()),
            ("dlq_partition", str(partition).encode()),
            ("dlq_offset", str(offset).encode()),
            ("dlq_attempts", str(attempts).encode()),
            ("dlq_first_failed", first.isoformat().encode()),
        ],
    )
