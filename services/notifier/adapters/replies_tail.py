"""The tail of `replies`: each reply that the leads service has not finished, so that no opt-out is missed.

It begins where the leads group has committed and asks again every few seconds: what is below is in the leads service's
documents, what is not is kept, whatever its age. Five times a second it notes the time, *then* asks where each partition
ends. A partition that is read up to there is complete as of the noted time, so that neither a slow answer nor a paused
process makes it look fresher than it is. Each partition stands for itself: one without a leader holds its own callers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.inbound import ReplyReceived
from services.notifier import metrics
from services.notifier.domain.gate import Tail
from services.runtime.clock import boottime_s
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.partitions import partition_of

log = structlog.get_logger(__name__)

FRESH_S: Final = 1.0
"""A text goes only if the tail was at the end within the last real second (design 3)."""
CHECK_EVERY_S: Final = 0.2
ASK_LIMIT_S: Final = 1.0
"""How long a partition may take to say where it ends: an answer that took longer is no longer fresh."""
APPLIED_EVERY_S: Final = 5.0
"""How often the leads group's offsets are asked for. A reply is forgotten at the next asking, not at the first that shows it
as applied: what a gate read of the lead just before it was applied may be `FRESH_S` old."""
APPLIED_RETRY_S: Final = 1.0
APPLIED_FRESH_S: Final = 10.0
"""Without the leads group's offsets for this long, the tail vouches for nobody."""


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


class Offsets(Protocol):
    """What the tail asks beside its consumer; `services.runtime.offsets.Ends` answers."""

    async def of(
        self, partitions: Collection[TopicPartition], limit_s: float = ...
    ) -> Mapping[TopicPartition, int | None]:
        """Return where partitions end; None where that is not known within the limit."""

    async def begins(
        self, partitions: Collection[TopicPartition], limit_s: float = ...
    ) -> Mapping[TopicPartition, int | None]:
        """Return where partitions begin; None where that is not known within the limit."""

    async def committed(
        self, group: str, partitions: Collection[TopicPartition], limit_s: float = ...
    ) -> Mapping[TopicPartition, int | None]:
        """Return a group's committed offsets; raises TransientError."""

    async def stop(self) -> None:
        """Disconnect."""


class RepliesReader(Protocol):
    """What the tail asks of its consumer."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read these, whatever the cluster says of the topic."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on reading there."""

    async def getmany(self, *, timeout_ms: int) -> Mapping[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        """Return what came."""


def replies_consumer(bootstrap_servers: str) -> AIOKafkaConsumer:
    """Return a consumer in no group, that reads what the tail assigns to it."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # if our position is gone, reading too much is the safe side
        fetch_max_wait_ms=100,
    )


@dataclass(slots=True, kw_only=True)
class _Partition:
    """How far one partition is read, and as of when it is known to be read to its end.

    Attributes:
        position: the offset after the last record read.
        end: where it ended when it last said so.
        read_s: when it last moved.
        asked: the ends still to be reached, each with the time before it was asked for; at most two, so that a partition
            that is written to all the time is still found complete.
        complete_s: as of when everything was read; None when it never was.
    """

    position: int = 0
    end: int = 0
    read_s: float = 0.0
    asked: list[tuple[float, int]] = field(default_factory=list)
    complete_s: float | None = None

    def ends_at(self, end: int, asked_s: float) -> None:
        del self.asked[1:]
        self.asked.append((asked_s, end))
        self.look()

    def reach(self, position: int) -> None:
        self.position, self.read_s = position, boottime_s()
        self.look()

    def look(self) -> None:
        while self.asked and self.position >= self.asked[0][1]:
            self.complete_s = self.asked.pop(0)[0]

    def age_s(self) -> float | None:
        return None if self.complete_s is None else boottime_s() - self.complete_s


class KafkaTail:
    """The tail of the real topic.

    Args:
        consumer: reads every partition.
        offsets: says where they end, and what the leads group has committed.
        group: the leads group.
        partitions: how many the topic must have; seeing fewer is not being complete.
        health: told what cannot be read.
    """

    def __init__(
        self, *, consumer: RepliesReader, offsets: Offsets, group: str, partitions: int, health: Health
    ) -> None:
        self._consumer, self._offsets, self._group, self._health = consumer, offsets, group, health
        self._parts = {TopicPartition(ReplyReceived.TOPIC, n): _Partition() for n in range(partitions)}
        self._replies: dict[str, dict[str, tuple[TopicPartition, int]]] = defaultdict(dict)
        self._applied: dict[TopicPartition, int] = {}
        self._applied_s: float | None = None

    def of(self, key: str) -> Tail:
        """Return what is known of one caller."""
        number = partition_of(key.encode(), len(self._parts))
        part = self._parts[TopicPartition(ReplyReceived.TOPIC, number)]
        return Tail(self._is_complete(part), frozenset(self._replies.get(key, ())))

    def is_away(self) -> bool:
        """Return whether it can vouch for no caller."""
        return not any(self._is_complete(part) for part in self._parts.values())

    def _is_complete(self, part: _Partition) -> bool:
        age_s = part.age_s()
        return age_s is not None and age_s <= FRESH_S and self._knows_applied()

    def _knows_applied(self) -> bool:
        return self._applied_s is not None and boottime_s() - self._applied_s <= APPLIED_FRESH_S

    def age_s(self) -> float | None:
        """Return how many seconds ago the last of the partitions was complete; None while one never was."""
        ages = [part.age_s() for part in self._parts.values()]
        known = [age for age in ages if age is not None]
        return max(known) if len(known) == len(ages) else None

    async def start(self) -> None:
        """Connect."""
        self._health.unready("tail", "reading replies that the leads service has not finished")
        await self._consumer.start()

    async def run(self) -> None:
        """Begin where the leads group has committed; read, and keep asking where the end is, until cancelled."""
        while not await self._ask_applied():
            self._health.beat("tail of replies")
            self._tell()
            await asyncio.sleep(APPLIED_RETRY_S)
        self._consumer.assign(list(self._parts))
        for partition, part in self._parts.items():
            part.position = self._applied[partition]
            self._consumer.seek(partition, part.position)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_reading())
            tasks.create_task(self._keep_checking())
            tasks.create_task(self._keep_forgetting())

    async def stop(self) -> None:
        """Close the connections."""
        await self._consumer.stop()
        await self._offsets.stop()

    async def _keep_reading(self) -> None:
        while True:
            self._health.beat("tail of replies")
            try:
                batches = await self._consumer.getmany(timeout_ms=200)
            except KafkaError as error:
                log.warning("tail_cannot_read", why=repr(error))
                await asyncio.sleep(0.2)
                continue
            for partition, records in batches.items():
                if records[0].offset < self._parts[partition].position:
                    self._applied[partition] = 0  # made anew: what leads had finished says nothing of these
                for record in records:
                    self._keep(partition, record)
                self._parts[partition].reach(records[-1].offset + 1)

    def _keep(self, partition: TopicPartition, record: ConsumerRecord[bytes, bytes]) -> None:
        # Headers only: a reply that cannot be decoded may still be a STOP, and the leads service will never have seen it.
        ids = [value for name, value in record.headers if name == "ce_id"]
        name = ids[0].decode(errors="replace") if ids else f"{record.partition}:{record.offset}"
        key = (record.key or b"").decode(errors="replace")
        self._replies[key].setdefault(name, (partition, record.offset))

    async def _keep_checking(self) -> None:
        while True:
            began = boottime_s()
            before = {partition: part.position for partition, part in self._parts.items()}
            ends = await self._offsets.of(self._parts, ASK_LIMIT_S)
            for partition, part in self._parts.items():
                end = ends.get(partition)
                if end is None:
                    continue
                if end < before[partition]:
                    self._read_again(partition, part, end)
                part.end = end
                part.ends_at(end, began)
            await self._skip_deleted()
            self._tell()
            await asyncio.sleep(CHECK_EVERY_S)

    def _read_again(self, partition: TopicPartition, part: _Partition, end: int) -> None:
        """Go back: it ends before what was read, so that it was made anew or has lost records."""
        if self._applied[partition] > end:
            self._applied[partition] = 0
        part.position = self._applied[partition]
        part.asked.clear()
        log.warning("tail_reads_again", partition=partition.partition, end=end, since=part.position)
        self._consumer.seek(partition, part.position)

    async def _skip_deleted(self) -> None:
        """Pass over what the topic no longer keeps: nobody can read it, and waiting for it would never end."""
        now_s = boottime_s()
        stuck = [name for name, part in self._parts.items() if part.asked and now_s - part.read_s > FRESH_S]
        if not stuck:
            return
        for partition, begin in (await self._offsets.begins(stuck, ASK_LIMIT_S)).items():
            if begin is not None and begin > self._parts[partition].position:
                self._parts[partition].reach(begin)

    def _tell(self) -> None:
        age_s = self.age_s()
        metrics.TAIL_AGE_SECONDS.set(age_s if age_s is not None else -1)
        away = [str(name.partition) for name, part in self._parts.items() if not self._is_complete(part)]
        if not away:
            self._health.ready("tail")
        elif not self._knows_applied():
            self._health.unready("tail", f"the offsets of {self._group} cannot be read: nothing is sent")
        elif len(away) == len(self._parts):
            self._health.unready("tail", "replies cannot be read to their end: nothing is sent")
        else:
            self._health.unready("tail", f"replies of partition {', '.join(away)} cannot be read: their texts wait")

    async def _keep_forgetting(self) -> None:
        while True:
            await asyncio.sleep(APPLIED_EVERY_S)
            while not await self._ask_applied():
                await asyncio.sleep(APPLIED_RETRY_S)

    async def _ask_applied(self) -> bool:
        """Ask what the leads service has finished, and forget what it had finished at the asking before."""
        began = boottime_s()
        try:
            found = await self._offsets.committed(self._group, self._parts)
        except TransientError as away:
            log.warning("applied_offsets_unknown", why=str(away))
            return False
        for key, replies in list(self._replies.items()):
            kept = {name: at for name, at in replies.items() if at[1] >= self._applied[at[0]]}
            if kept:
                self._replies[key] = kept
            else:
                del self._replies[key]
        self._applied = {name: self._credible(name, part, found.get(name) or 0) for name, part in self._parts.items()}
        self._applied_s = began
        return True

    def _credible(self, name: TopicPartition, part: _Partition, committed: int) -> int:
        """Return how far leads has finished; past the end, the offset may be of a topic that is gone: it waits.

        What was read shows a later end than the one that was told up to `CHECK_EVERY_S` ago: without it, no reply of a busy
        partition would ever be forgotten. Both fall when the topic is made anew.
        """
        return self._applied[name] if self._applied and committed > max(part.end, part.position) else committed
