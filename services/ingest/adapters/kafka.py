"""Kafka: an event is safe once every in-sync replica has it, or the sender is told to try again."""

import asyncio

from schemas.base import EventData
from schemas.envelope import Event
from schemas.topics import BY_NAME
from services.ingest.errors import NotAcknowledged
from services.runtime import logs
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.producer import KafkaProducer, Producer
from services.runtime.topics_admin import check_topics

log = logs.get(__name__)

PROBE_S = 1.0
WRITES = tuple(BY_NAME[name] for name in ("call-events", "replies", "receipts"))


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


class KafkaPart:
    """The producer's start and stop; while Kafka is away, asks for it every second, so that readiness returns by itself."""

    def __init__(self, producer: KafkaProducer, bootstrap_servers: str, health: Health) -> None:
        self._producer, self._servers, self._health = producer, bootstrap_servers, health

    async def start(self) -> None:
        """Check the topics and connect."""
        await check_topics(self._servers, WRITES)
        await self._producer.start()

    async def run(self) -> None:
        """Watch Kafka; ends with an error only when the producer can never send again."""
        while True:
            self._health.beat("kafka probe")
            await asyncio.sleep(PROBE_S)
            if "kafka" not in self._health.not_ready:
                continue
            try:
                await self._producer.check()
            except TransientError as error:
                self._health.unready("kafka", str(error))
                log.warning("kafka_away", why=str(error))
            else:
                self._health.ready("kafka")

    async def stop(self) -> None:
        """Flush and leave."""
        await self._producer.stop()
