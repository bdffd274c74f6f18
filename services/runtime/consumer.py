"""The consumer loop: each partition in order, several side by side; commits only what is finished."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from schemas.base import EventData
from schemas.envelope import Event, UndecodableEvent, decode
from services.runtime.clock import monotonic_s, real_now
from services.runtime.dead_letters import (
    DEAD_LETTER_FREE,
    DEAD_LETTER_SHARE,
    DEAD_LETTER_WINDOW,
    TooManyDeadLetters,
    dead_letter,
)
from services.runtime.errors import PermanentError, TransientError
from services.runtime.handled import DEAD_LETTERED, OUTCOMES, Handled, count
from services.runtime.health import Health
from services.runtime.metrics import DEAD_LETTERS, EVENT_SECONDS, EVENTS_CONSUMED, LAG
from services.runtime.offsets import Ends
from services.runtime.producer import Producer

log = structlog.get_logger(__name__)

BACKOFF_S = (0.1, 5.0)
"""First and longest pause between tries at an event whose dependency is away; the wait is our back-pressure."""
QUEUE_LIMIT = 500
"""Records of one partition that wait in memory before it is paused. A partition is not paused over a record or two: a
paused one is left out of the fetch under way, and its next record would wait for that fetch to end."""
COMMIT_EVERY_S = 0.2
"""Finished events are committed this often, all partitions in one request; what a crash repeats changes nothing."""

Handler = Callable[[Event[EventData]], Awaitable[Handled]]
"""Handles one event. May raise PermanentError (a dead letter) or TransientError (tried again, in place)."""


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
                handled = await self._handler(event)
                break
            except (PermanentError, UndecodableEvent) as error:
                await self._dead_letter(partition, record, error, tries, first)
                handled = DEAD_LETTERED
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
                handled = DEAD_LETTERED
                break
        if tries > 1:
            self._health.ready("dependency")
        count(partition.topic, handled)
        EVENT_SECONDS.labels(partition.topic).observe(monotonic_s() - began)
        self._count(partition, failed=handled.outcome == "dead_lettered")

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
