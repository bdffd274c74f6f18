"""Which events are in Kafka already."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.topics import Topic
from services.runtime.clock import monotonic_s
from services.runtime.errors import TransientError
from services.runtime.partitions import partition_of

START_LIMIT_S: Final = 15.0
ANSWER_LIMIT_S: Final = 5.0
"""How long one partition may take to say where it begins and ends; one without a leader never does."""
STANDSTILL_S: Final = 10.0
STOP_LIMIT_S: Final = 5.0


@dataclass
class Known:
    """Ids of events, and the partitions whose events could not be read.

    Attributes:
        ids: what is there.
        partitions: of each topic.
        unread: where anything may be.
    """

    ids: set[str] = field(default_factory=set)
    partitions: int = 1
    unread: set[tuple[str, int]] = field(default_factory=set)

    def can_tell(self, topic: str, key: bytes) -> bool:
        """Return whether an event of this key would be in `ids` if it were in Kafka."""
        return (topic, partition_of(key, self.partitions)) not in self.unread


class KnownEvents(Protocol):
    """What tells them."""

    async def since(self, at: datetime | None) -> Known:
        """Return the events appended at `at` (real time) or later; None: all. Raises TransientError."""


class KafkaEvents:
    """Reads whole topics, without a group, a partition at a time."""

    def __init__(self, bootstrap_servers: str, topics: Sequence[Topic]) -> None:
        self._servers, self._topics = bootstrap_servers, topics

    async def since(self, at: datetime | None) -> Known:
        """Return the events appended at `at` or later."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await consumer.start()
            return await self._read(consumer, at)
        except (KafkaError, OSError, TimeoutError) as error:
            raise TransientError(f"Kafka does not answer: {error!r}") from error
        finally:
            await asyncio.wait([asyncio.create_task(consumer.stop())], timeout=STOP_LIMIT_S)

    async def _read(self, consumer: AIOKafkaConsumer, at: datetime | None) -> Known:
        known = Known(partitions=self._topics[0].partitions)
        asked = [TopicPartition(topic.name, n) for topic in self._topics for n in range(topic.partitions)]
        answers = await asyncio.gather(*(_bounds(consumer, one, at) for one in asked))
        left = {one: found for one, found in zip(asked, answers, strict=True) if found is not None}
        known.unread = {(one.topic, one.partition) for one in asked if one not in left}
        left = {one: bounds for one, bounds in left.items() if bounds[0] < bounds[1]}
        if not left:
            return known
        consumer.assign(list(left))
        for one, (begin, _) in left.items():
            consumer.seek(one, begin)
        moved_at = monotonic_s()
        while left and monotonic_s() - moved_at < STANDSTILL_S:
            for one, records in (await consumer.getmany(*left, timeout_ms=500)).items():
                moved_at = monotonic_s()
                for record in records:
                    known.ids.update(value.decode() for name, value in record.headers if name == "ce_id")
                if records and records[-1].offset + 1 >= left[one][1]:
                    del left[one]
        known.unread |= {(one.topic, one.partition) for one in left}
        return known


async def _bounds(consumer: AIOKafkaConsumer, one: TopicPartition, at: datetime | None) -> tuple[int, int] | None:
    """Return where to begin and to end, or None where the partition does not say."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            end = (await consumer.end_offsets([one]))[one]
            if at is None:
                return (await consumer.beginning_offsets([one]))[one], end
            found = (await consumer.offsets_for_times({one: int(at.timestamp() * 1000)}))[one]
            return (end if found is None else found.offset), end
    except (KafkaError, TimeoutError):
        return None
