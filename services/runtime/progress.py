"""How far a consumer has got in its partitions: finished, not committed; for lag, idleness and catching up."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.runtime.clock import monotonic_s
from services.runtime.metrics import LAG
from services.runtime.offsets import Ends

LOOK_S: Final = 0.005
"""How often whoever waits for the end looks again; a call waits for it before it is settled."""
COMMITTED_LIMIT_S: Final = 2.0
"""How long the group's coordinator may take to say what is committed."""


class Progress:
    """Knows the offset after the last finished event of each partition, and asks the broker for the rest."""

    def __init__(self, *, consumer: AIOKafkaConsumer, ends: Ends, topics: Sequence[str], group: str) -> None:
        self._consumer, self._ends, self._topics, self._group = consumer, ends, topics, group
        self._positions: dict[TopicPartition, int] = {}

    def delivered(self, partition: TopicPartition, offset: int) -> None:
        """Note the first record that came of a partition: everything before it is finished."""
        self._positions.setdefault(partition, offset)

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
            name = f"{partition.topic}[{partition.partition}]"
            at = await self.reached(partition)
            if end is None or at is None:
                return f"not known where {name} ends" if end is None else f"not known how far {name} is read"
            if at < end:
                return f"{end - at} events in {name}"
        return None

    async def caught_up(self, topic: str, limit_s: float) -> bool:
        """Return whether all that stood in this instance's partitions of a topic when asked is finished.

        Waits for it, but not longer than `limit_s` real seconds. False also when the partitions have moved meanwhile.
        """
        mine = {partition for partition in self._consumer.assignment() if partition.topic == topic}
        return bool(mine) and mine == await self.caught_up_in(topic, limit_s)

    async def caught_up_in(self, topic: str, limit_s: float) -> frozenset[TopicPartition]:
        """Return this instance's partitions of a topic in which all that stood there when asked is finished.

        Waits for it, but not longer than `limit_s` real seconds. A partition that does not say where it ends, or whose
        events wait, is not among them and keeps no other one out; nor is one that has moved meanwhile.
        """
        mine = {partition for partition in self._consumer.assignment() if partition.topic == topic}
        began_s = monotonic_s()
        ends = await self._ends.of(mine, limit_s)
        left_s = max(LOOK_S, limit_s - (monotonic_s() - began_s))
        waits = {
            partition: asyncio.create_task(self._gets_to(partition, end))
            for partition, end in ends.items()
            if end is not None
        }
        if waits:
            _, late = await asyncio.wait(waits.values(), timeout=left_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*waits.values(), return_exceptions=True)
        still = self._consumer.assignment()
        return frozenset(
            partition
            for partition, task in waits.items()
            if partition in still and not task.cancelled() and task.exception() is None
        )

    async def _gets_to(self, partition: TopicPartition, end: int) -> None:
        while (at := await self.reached(partition)) is None or at < end:
            await asyncio.sleep(LOOK_S)

    async def reached(self, partition: TopicPartition) -> int | None:
        """Return the offset of the first event that is not finished; None where Kafka does not say."""
        if partition not in self._positions:
            try:
                async with asyncio.timeout(COMMITTED_LIMIT_S):
                    at = await self._consumer.committed(partition)
            except (KafkaError, TimeoutError):
                return None
            if at is None:
                at = (await self._ends.begins([partition]))[partition]
            if at is None:
                return None
            self._positions.setdefault(partition, at)  # a worker may have got on meanwhile
        return self._positions[partition]
