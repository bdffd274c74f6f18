"""The tail of `replies`: every partition of the last hour, so that no opt-out that the leads service has not read is missed.

Five times a second it notes the time, *then* asks the broker where each partition ends. Once it has read up to there, it
is complete as of the noted time. So neither a slow answer nor a paused process makes it look fresher than it is.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.inbound import ReplyReceived
from services.notifier import metrics
from services.notifier.domain.gate import Tail
from services.runtime.clock import Clock, boottime_s
from services.runtime.errors import TransientError
from services.runtime.health import Health

log = structlog.get_logger(__name__)

WINDOW_S: Final = 3600.0
FRESH_S: Final = 1.0
"""A text goes only if the tail was at the end within the last real second (design 3)."""
CHECK_EVERY_S: Final = 0.2
ASK_LIMIT_S: Final = 3.0


class RepliesTail(Protocol):
    """What the last gate asks."""

    def of(self, key: str) -> Tail:
        """Return what is known of one caller (`lender:number`), now."""

    def is_away(self) -> bool:
        """Return whether no borrower's text can pass now, whoever the borrower is."""


@dataclass
class FakeTail:
    """A tail that says what it is told."""

    complete: bool = True
    replies: dict[str, set[str]] = field(default_factory=dict)
    away_for: set[str] = field(default_factory=set)

    def of(self, key: str) -> Tail:
        """Return what it was told."""
        return Tail(self.complete and key not in self.away_for, frozenset(self.replies.get(key, ())))

    def is_away(self) -> bool:
        """Return what it was told."""
        return not self.complete


def replies_consumer(bootstrap_servers: str) -> AIOKafkaConsumer:
    """Return a consumer of every partition of `replies`, in no group, that starts where the tail puts it."""
    return AIOKafkaConsumer(
        ReplyReceived.TOPIC,
        bootstrap_servers=bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # if our position is gone, reading too much is the safe side
        # The broker answers one request a connection at a time: a long poll would delay the question for the end.
        fetch_max_wait_ms=100,
    )


class KafkaTail:
    """The tail of the real topic."""

    def __init__(self, consumer: AIOKafkaConsumer, clock: Clock, health: Health) -> None:
        self._consumer, self._clock, self._health = consumer, clock, health
        self._replies: dict[str, dict[str, float]] = defaultdict(dict)
        self._positions: dict[TopicPartition, int] = {}
        self._read = asyncio.Event()
        self._complete_s: float | None = None

    def of(self, key: str) -> Tail:
        """Return what is known of one caller; replies older than an hour no longer count."""
        age = self.age_s()
        oldest_ms = (self._clock.real_now().timestamp() - WINDOW_S) * 1000
        found = self._replies.get(key, {})
        return Tail(age is not None and age <= FRESH_S, frozenset(i for i, at in found.items() if at >= oldest_ms))

    def is_away(self) -> bool:
        """Return whether it cannot vouch for any caller."""
        age = self.age_s()
        return age is None or age > FRESH_S

    def age_s(self) -> float | None:
        """Return how many seconds ago the tail was known to be complete; None when it never was."""
        return None if self._complete_s is None else boottime_s() - self._complete_s

    async def start(self) -> None:
        """Begin an hour back in every partition."""
        self._health.unready("tail", "reading replies from an hour back")
        await self._consumer.start()
        partitions = sorted(self._consumer.assignment())
        if not partitions:
            raise TransientError(f"topic {ReplyReceived.TOPIC} is not there")
        since_ms = int((self._clock.real_now().timestamp() - WINDOW_S) * 1000)
        ends = await self._consumer.end_offsets(partitions)
        times = await self._consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for partition in partitions:
            at = times.get(partition)
            self._positions[partition] = at.offset if at is not None else ends[partition]
            self._consumer.seek(partition, self._positions[partition])

    async def run(self) -> None:
        """Read, and keep asking where the end is, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_reading())
            tasks.create_task(self._keep_checking())

    async def stop(self) -> None:
        """Close the consumer."""
        await self._consumer.stop()

    async def _keep_reading(self) -> None:
        while True:
            self._health.beat("tail of replies")
            try:
                batches: Mapping[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = await self._consumer.getmany(
                    timeout_ms=200
                )
            except KafkaError as error:
                log.warning("tail_cannot_read", why=repr(error))
                await asyncio.sleep(0.2)
                continue
            for partition, records in batches.items():
                for record in records:
                    self._keep(record)
                self._positions[partition] = records[-1].offset + 1
            if batches:
                self._read.set()

    def _keep(self, record: ConsumerRecord[bytes, bytes]) -> None:
        # Headers only: a reply that cannot be decoded may still be a STOP, and the leads service will never have seen it.
        ids = [value for name, value in record.headers if name == "ce_id"]
        name = ids[0].decode(errors="replace") if ids else f"{record.partition}:{record.offset}"
        self._replies[(record.key or b"").decode(errors="replace")][name] = float(record.timestamp)

    async def _keep_checking(self) -> None:
        rounds = 0
        while True:
            began = boottime_s()
            try:
                async with asyncio.timeout(ASK_LIMIT_S):
                    ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
                    while any(self._positions.get(partition, 0) < end for partition, end in ends.items()):
                        self._read.clear()
                        await self._read.wait()
                self._complete_s = began
            except (KafkaError, TimeoutError) as error:
                log.warning("tail_not_at_end", why=repr(error))
            age = self.age_s()
            if age is None or age > FRESH_S:
                self._health.unready("tail", "replies cannot be read to their end: nothing is sent")
            else:
                self._health.ready("tail")
            metrics.TAIL_AGE_SECONDS.set(age if age is not None else -1)
            rounds += 1
            if rounds % 300 == 0:
                self._forget()
            await asyncio.sleep(CHECK_EVERY_S)

    def _forget(self) -> None:
        oldest_ms = (self._clock.real_now().timestamp() - WINDOW_S) * 1000
        for key in list(self._replies):
            kept = {name: at for name, at in self._replies[key].items() if at >= oldest_ms}
            if kept:
                self._replies[key] = kept
            else:
                del self._replies[key]
