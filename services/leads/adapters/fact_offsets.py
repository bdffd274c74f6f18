"""How far `call-events` is read, by this instance and by the others: what a call may be decided on.

`KafkaFactOffsets` asks Kafka; tests have a fake of their own.
"""

from collections.abc import Collection, Mapping
from typing import Final, Protocol

import structlog
from aiokafka import TopicPartition

from schemas.calls import CallFact
from services.runtime.consumer import ConsumerLoop
from services.runtime.errors import TransientError
from services.runtime.offsets import Ends
from services.runtime.partitions import partition_of
from services.runtime.service import Resource

log = structlog.get_logger(__name__)

TOPIC: Final = CallFact.TOPIC


class FactOffsets(Protocol):
    """Offsets of `call-events`; None means not known now, and what is not known counts as unread.

    Attributes:
        partitions: how many there are.
    """

    partitions: int

    def mine(self) -> frozenset[int]:
        """Return the partitions that this instance owns."""

    def partition_of(self, key: bytes) -> int:
        """Return the partition that a key's records lie in."""

    async def ends(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the offset after the last record of each partition."""

    async def finished(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the offset up to which each partition is finished: ours as we know it, others' as their owners committed."""


class KafkaFactOffsets(Resource):
    """The real one.

    Args:
        loop: reads the topic.
        ends: asks Kafka, on connections of its own.
        group: the loop's, whose other members commit.
        partitions: how many the topic has; the service has checked that at start.
    """

    def __init__(self, *, loop: ConsumerLoop, ends: Ends, group: str, partitions: int) -> None:
        self._loop, self._ends, self._group, self.partitions = loop, ends, group, partitions

    async def stop(self) -> None:
        """Disconnect."""
        await self._ends.stop()

    def mine(self) -> frozenset[int]:
        """Return the partitions that this instance owns."""
        return self._loop.owned(TOPIC)

    def partition_of(self, key: bytes) -> int:
        """Return the partition that a key's records lie in."""
        return partition_of(key, self.partitions)

    async def ends(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the offset after the last record of each partition."""
        found = await self._ends.of([TopicPartition(TOPIC, n) for n in partitions])
        return {partition.partition: end for partition, end in found.items()}

    async def finished(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the offset up to which each partition is finished."""
        mine = self.mine()
        found: dict[int, int | None] = {n: await self._loop.finished(TOPIC, n) for n in partitions if n in mine}
        others = [TopicPartition(TOPIC, n) for n in partitions if n not in mine]
        if not others:
            return found
        try:
            committed = await self._ends.committed(self._group, others)
        except TransientError as error:
            log.info("others_unknown", why=str(error))
            return {**dict.fromkeys(partitions), **found}
        # Of a partition in which nothing was ever finished, everything is unread from its first record on.
        begins = await self._ends.begins([partition for partition, at in committed.items() if at is None])
        found |= {
            partition.partition: at if at is not None else begins[partition] for partition, at in committed.items()
        }
        return found
