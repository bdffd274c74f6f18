"""Where topics end, asked on a connection of its own.

On a consumer's own connection the answer waits for the long poll that is under way (up to half a second in Faust), and a
replay asks thousands of times.
"""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition


class Ends:
    """A reader of end offsets that joins no group; it connects when first asked."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._consumer: AIOKafkaConsumer | None = None
        self._connecting = asyncio.Lock()

    async def of(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offset after the last record of each partition."""
        found: Mapping[TopicPartition, int] = await (await self._connected()).end_offsets(list(partitions))
        return found

    async def begins(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offset of the first record of each partition."""
        found: Mapping[TopicPartition, int] = await (await self._connected()).beginning_offsets(list(partitions))
        return found

    async def _connected(self) -> AIOKafkaConsumer:
        async with self._connecting:
            if self._consumer is None:
                consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers)
                await consumer.start()
                self._consumer = consumer
            return self._consumer

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.stop()
