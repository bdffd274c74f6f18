"""Kafka: an event is safe once every in-sync replica has it, or the sender is told to try again."""

import asyncio
from collections.abc import Sequence

from schemas.base import EventData
from schemas.envelope import Event
from schemas.topics import Topic
from services.ingest.errors import NotAcknowledged
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.producer import KafkaProducer, Producer
from services.runtime.rounds import Rounds
from services.runtime.topics_admin import check_topics

WRITES = ("call-events", "replies", "receipts")


class Outlet:
    """Emits events within a limit, and says in readiness whether it works."""

    def __init__(self, producer: Producer, health: Health, limit_s: float) -> None:
        self._producer, self._health, self._limit_s = producer, health, limit_s

    async def emit(self, *events: Event[EventData]) -> None:
        """Return once all are acknowledged.

        Raises:
            NotAcknowledged: not in time. Any of them may still arrive: a repetition has the same id.
        """
        try:
            async with asyncio.timeout(self._limit_s):
                await self._producer.send(*events)
        except (TimeoutError, TransientError) as error:
            why = str(error) or f"no acknowledgement within {self._limit_s} s"
            self._health.unready("kafka", why)
            raise NotAcknowledged(why) from error
        self._health.ready("kafka")


class KafkaPart(Rounds):
    """The producer's start and stop; while Kafka is away, asks for it every second, so that readiness returns by itself."""

    name = "kafka"
    period_s = 1.0

    def __init__(
        self, producer: KafkaProducer, bootstrap_servers: str, health: Health, topics: Sequence[Topic]
    ) -> None:
        super().__init__(health)
        self._producer, self._servers, self._topics = producer, bootstrap_servers, topics

    async def start(self) -> None:
        """Check the topics and connect."""
        await check_topics(self._servers, self._topics)
        await self._producer.start()

    async def round(self) -> None:
        """Ask for Kafka where it was away; the producer's end is the service's."""
        if self.name in self._health.not_ready:
            await self._producer.check()

    async def stop(self) -> None:
        """Flush and leave."""
        await super().stop()
        await self._producer.stop()
