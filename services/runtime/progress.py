"""How far a consumer has got in its partitions: finished, not committed; for lag, idleness and catching up."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.runtime.metrics import LAG
from services.runtime.offsets import Ends

LOOK_S: Final = 0.005
"""How often whoever waits for the end looks again; a call waits for it before it is settled."""


class Progress:
    """Knows the offset after the last finished event of each partition, and asks the broker for the rest."""

    def __init__(self, consumer: AIOKafkaConsumer, ends: Ends, topics: Sequence[str], group: str) -> None:
        self._consumer, self._ends, self._topics, self._group = consumer, ends, topics, group
        self._positions: dict[TopicPartition, int] = {}

    def finished(self, partition: TopicPartition, next_offset: int) -> None:
        """Note that everything before an offset is finished."""
        self._positions[partition] = next_offset

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Note that partitions are not ours any more."""
        for partition in partitions:
            self._positions.pop(partition, None)

    def report_lag(self) -> None:
        """Set the lag of every topic from what the last fetches said."""
        behind = dict.fromkeys(self._topics, 0)
        for partition in self._consumer.assignment():
            high = self._consumer.highwater(partition)
            at = self._positions.get(partition)
            if high is not None and at is not None:
                behind[partition.topic] += max(0, high - at)
        for topic, records in behind.items():
            LAG.labels(topic, self._group).set(records)

    async def behind(self) -> str | None:
        """Say whether any assigned partition holds an event that is not finished (committed or not)."""
        assigned = self._consumer.assignment()
        if not assigned:
            return "no partitions yet"
        for partition, end in (await self._ends.of(assigned)).items():
            if (at := await self._reached(partition)) < end:
                return f"{end - at} events in {partition.topic}[{partition.partition}]"
        return None

    async def caught_up(self, topic: str, limit_s: float) -> bool:
        """Return whether all that stood in this instance's partitions of a topic when asked is finished.

        Waits for it, but not longer than `limit_s` real seconds. False also when the partitions have moved meanwhile.
        """
        mine = {partition for partition in self._consumer.assignment() if partition.topic == topic}
        if not mine:
            return False
        try:
            async with asyncio.timeout(limit_s):
                ends: Mapping[TopicPartition, int] = await self._ends.of(mine)
                for partition, end in ends.items():
                    while await self._reached(partition) < end:
                        await asyncio.sleep(LOOK_S)
        except (TimeoutError, KafkaError):
            return False
        return bool(mine <= self._consumer.assignment())

    async def _reached(self, partition: TopicPartition) -> int:
        """Return the offset of the first event that is not finished."""
        if partition not in self._positions:
            at = await self._consumer.committed(partition)
            if at is None:
                at = (await self._ends.begins([partition]))[partition]
            self._positions.setdefault(partition, at)  # a worker may have got on meanwhile
        return self._positions[partition]
