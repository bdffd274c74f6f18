"""The consumer loop: each partition in order, several side by side; commits only what is finished."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from services.runtime.clock import monotonic_s
from services.runtime.dead_letter_topics import DeadLetterTopics
from services.runtime.event_runner import BeforeDeadLetter, EventRunner, Handler
from services.runtime.handled import OUTCOMES
from services.runtime.health import Health
from services.runtime.metrics import DEAD_LETTERS, EVENTS_CONSUMED, LAG
from services.runtime.offsets import Ends
from services.runtime.pauses import Pauses
from services.runtime.producer import Producer
from services.runtime.progress import Progress
from services.runtime.stopping import CLOSE_LIMIT_S, EVENTS_LIMIT_S, REBALANCE_LIMIT_S

log = structlog.get_logger(__name__)

QUEUE_LIMIT: Final = 500
"""Records of one partition that wait in memory before it is paused. A partition is not paused over a record or two: a
paused one is left out of the fetch under way, and its next record would wait for that fetch to end."""
COMMIT_EVERY_S: Final = 0.2
"""Finished events are committed this often, all partitions in one request; what a crash repeats changes nothing."""
AWAY_S: Final = 0.5
"""Pause after a poll that failed for a reason that passes."""

RecordQueue = deque[ConsumerRecord[bytes, bytes]]


class ConsumerLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads topics as one group, each partition in order, several partitions side by side; commits what is finished.

    An event ends as applied, ignored or dead-lettered. While a dependency is away its partition waits (paused, polled
    on, unready) and nothing is committed past the event.

    Args:
        topics: what is read.
        group: the consumer group; readiness names it, because a service may run several loops.
        bootstrap_servers: the cluster.
        handler: handles one event.
        producer: sends dead letters.
        health: told of readiness, progress and idleness.
        instance: this replica's stable name.
        session_timeout_s: after this long without a heartbeat Kafka gives our partitions to others.
        before_dead_letter: done for a record, with the error, before it becomes a dead letter, and repeated until it
            succeeds; it must be harmless when it happens twice.
        make_consumer: another client; tests only.
        make_ends: another reader of end offsets; tests only.
        make_dead_letters: another reader of dead-letter topics; tests only.
    """

    def __init__(
        self,
        *,
        topics: Sequence[str],
        group: str,
        bootstrap_servers: str,
        handler: Handler,
        producer: Producer,
        health: Health,
        instance: str = "0",
        session_timeout_s: float = 10.0,
        before_dead_letter: BeforeDeadLetter | None = None,
        make_consumer: Callable[..., AIOKafkaConsumer] = AIOKafkaConsumer,
        make_ends: Callable[[str], Ends] = Ends,
        make_dead_letters: Callable[[str, Sequence[str]], DeadLetterTopics] = DeadLetterTopics,
    ) -> None:
        self._topics, self._group, self._health = topics, group, health
        self._kafka = f"kafka {group}"
        self._pauses = Pauses(group, make_dead_letters(bootstrap_servers, topics), health)
        self._runner = EventRunner(
            group=group,
            handler=handler,
            producer=producer,
            health=health,
            before_dead_letter=before_dead_letter,
            pauses=self._pauses,
        )
        self._consumer = make_consumer(
            bootstrap_servers=bootstrap_servers,
            group_id=group,
            client_id=f"{group}-{instance}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(session_timeout_s * 1000),
            heartbeat_interval_ms=int(session_timeout_s * 1000 / 5),
            rebalance_timeout_ms=int(REBALANCE_LIMIT_S * 1000),  # by default the session's time-out: too short
            max_poll_interval_ms=300_000,
            fetch_max_wait_ms=500,  # answered at once when there is something; less would be work for nothing
        )
        self._ends = make_ends(bootstrap_servers)
        self._progress = Progress(consumer=self._consumer, ends=self._ends, topics=topics, group=group)
        self._work: dict[TopicPartition, asyncio.Task[None]] = {}
        self._queues: dict[TopicPartition, RecordQueue] = {}
        self._done: dict[TopicPartition, int] = {}
        self._committing: asyncio.Task[None] | None = None
        self._committed_s = 0.0
        self._stopping = False

    # -- life --

    async def start(self) -> None:
        """Join the group."""
        self._consumer.subscribe(list(self._topics), listener=self)
        await self._consumer.start()
        for topic in self._topics:
            for outcome in OUTCOMES:
                EVENTS_CONSUMED.labels(topic, outcome).inc(0)
            DEAD_LETTERS.labels(topic).inc(0)
            LAG.labels(topic, self._group).set(0)
        self._health.idle_checks.append(self._busy_with)

    async def stop(self) -> None:
        """Finish the events in hand, commit them and leave the group."""
        self._stopping = True
        self._runner.stop()
        await self._pauses.stop()
        await self._settle(list(self._work.values()), limit_s=EVENTS_LIMIT_S)
        await self._commit()
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._consumer.stop()
        except TimeoutError:
            log.warning("group_not_left", group=self._group)  # its session ends by itself
        await self._ends.stop()

    async def run(self) -> None:
        """Poll until stopped, or until an event ends with ProcessMustEnd."""
        self._health.unready(self._kafka, "joining the group")
        while not self._stopping:
            self._health.beat(f"consume {self._group}")
            try:
                batches = await self._consumer.getmany(timeout_ms=100, max_records=QUEUE_LIMIT)
            except KafkaError as error:
                if not error.retriable:
                    raise
                self._health.unready(self._kafka, repr(error))
                await asyncio.sleep(AWAY_S)
                continue
            if self._consumer.assignment():
                self._health.ready(self._kafka)
            for partition, records in batches.items():
                self._progress.delivered(partition, records[0].offset)
                self._queues.setdefault(partition, deque()).extend(records)
            self._reap()
            self._give_work()
            self._progress.report_lag()
            if self._done and monotonic_s() - self._committed_s >= COMMIT_EVERY_S and not self._committing:
                self._committed_s = monotonic_s()
                self._committing = asyncio.create_task(self._commit())

    # -- events --

    def _reap(self) -> None:
        for partition, task in list(self._work.items()):
            if task.done():
                del self._work[partition]
                if not self._stopping:
                    task.result()
        if self._committing is not None and self._committing.done():
            self._committing.result()
            self._committing = None

    def _give_work(self) -> None:
        for partition, queue in self._queues.items():
            if queue and partition not in self._work and not self._stopping:
                self._work[partition] = asyncio.create_task(self._work_off(partition, queue))
            if len(queue) > QUEUE_LIMIT and partition in self._consumer.assignment():
                self._consumer.pause(partition)

    async def _work_off(self, partition: TopicPartition, queue: RecordQueue) -> None:
        while queue and not self._stopping:
            record = queue.popleft()
            await self._runner.finish(record)
            self._done[partition] = record.offset + 1
            self._progress.finished(partition, record.offset + 1)
            if len(queue) == QUEUE_LIMIT // 2 and partition in self._consumer.assignment():
                self._consumer.resume(partition)

    async def _commit(self) -> None:
        done, self._done = self._done, {}
        if not done:
            return
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):  # the client asks for its coordinator for good
                await self._consumer.commit(done)
        except (CommitFailedError, IllegalStateError) as error:
            # A partition has moved: its new owner repeats these events, which changes nothing. The others stay due.
            log.info("commit_refused", why=repr(error))
            mine = self._consumer.assignment()
            self._done = {**{partition: at for partition, at in done.items() if partition in mine}, **self._done}
        except (KafkaError, TimeoutError) as error:
            log.warning("commit_failed", why=repr(error))
            self._done = {**done, **self._done}

    # -- partitions --

    async def _settle(self, tasks: Sequence[asyncio.Task[None]], limit_s: float) -> None:
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=limit_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=CLOSE_LIMIT_S)
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.exception()  # seen: asyncio would complain

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish what is in hand before the partitions go."""
        revoked = list(revoked)
        for partition in revoked:
            if queue := self._queues.pop(partition, None):
                queue.clear()  # whoever gets the partition reads these again
        # Out of `_work` first: an event that waits is given up here, which must not look like a part that has ended.
        tasks = [self._work.pop(partition) for partition in revoked if partition in self._work]
        self._pauses.revoked((one.topic, one.partition) for one in revoked)
        await self._settle(tasks, limit_s=EVENTS_LIMIT_S)
        if self._committing is not None:
            await asyncio.wait([self._committing], timeout=CLOSE_LIMIT_S)
        await self._commit()
        for partition in revoked:
            self._done.pop(partition, None)
        self._progress.forget(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start reading; a paused partition that comes back must not stay paused."""
        assigned = list(assigned)
        for partition in assigned:
            self._consumer.resume(partition)
        self._pauses.assigned((one.topic, one.partition) for one in assigned)

    # -- for others --

    async def _busy_with(self) -> str | None:
        """Say what is not finished yet, for `/idle`."""
        if any(self._queues.values()) or not all(task.done() for task in self._work.values()):
            return "events in hand"
        return await self._progress.behind()

    async def caught_up(self, topic: str, limit_s: float = 2.0) -> bool:
        """Return whether all that stood in this instance's partitions of a topic when asked is finished.

        Waits for it, but not longer than `limit_s` real seconds. False also when the partitions have moved meanwhile.
        """
        return await self._progress.caught_up(topic, limit_s)

    async def caught_up_in(self, topic: str, limit_s: float = 2.0) -> frozenset[TopicPartition]:
        """Return this instance's partitions of a topic in which all that stood there when asked is finished.

        Waits for it, but not longer than `limit_s` real seconds; one partition's trouble keeps no other one out.
        """
        return await self._progress.caught_up_in(topic, limit_s)

    def owned(self, topic: str) -> frozenset[int]:
        """Return the partitions of a topic that are this instance's now."""
        return frozenset(one.partition for one in self._consumer.assignment() if one.topic == topic)

    async def finished(self, topic: str, partition: int) -> int | None:
        """Return the offset of the first event of our partition that is not finished; None where that is not known."""
        return await self._progress.reached(TopicPartition(topic, partition))
