"""Where events become safe: Kafka, or the spool while Kafka does not take them; or else the sender is told to try again."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka.errors import KafkaError

from schemas.base import EventData
from schemas.envelope import Event, encode
from schemas.topics import Topic
from services.ingest import metrics
from services.ingest.adapters.spool import Lane, Spool
from services.ingest.errors import NotAcknowledged, SpoolRefuses
from services.runtime import logs
from services.runtime.errors import ProcessMustEnd, RingbackError, TransientError
from services.runtime.health import Health
from services.runtime.producer import KafkaProducer, Producer
from services.runtime.rounds import Rounds
from services.runtime.topics_admin import check_topics

log = logs.get(__name__)

NO_SPOOL: Final = (
    "RINGBACK_SPOOL_DIR is not set: while Kafka is away webhooks are refused, and calls go through unrecorded"
)
WRITES = ("call-events", "replies", "receipts")
SPOOL_LIMIT_S: Final = 3.0
"""How long a webhook waits for the disk."""
CONNECT_LIMIT_S: Final = 10.0
STOP_LIMIT_S: Final = 5.0
"""How long the producer may take to send what it has; what it leaves was never answered as safe, or is in the spool."""


@dataclass(eq=False, slots=True)
class _Sending:
    event: Event[EventData]
    limit: asyncio.Timeout | None = None
    safe: asyncio.Future[None] | None = None


class Outlet:
    """Makes events safe within a limit, in order per topic and partition, and says in readiness whether it can.

    While a lane of the spool has entries, new events of it go behind them. When one event of a partition is not
    acknowledged in time, all that were sent after it go to the spool too, in the order in which they came.

    Args:
        producer: Kafka.
        health: told when neither Kafka nor the spool takes an event.
        limit_s: the longest wait for Kafka.
        spool: None: without one, what Kafka does not acknowledge is not safe.
    """

    def __init__(self, *, producer: Producer, health: Health, limit_s: float, spool: Spool | None = None) -> None:
        self._producer, self._health, self._limit_s, self._spool = producer, health, limit_s, spool
        self._under_way: dict[Lane | None, dict[_Sending, None]] = {}
        self.is_connected = True
        self.away: str | None = None
        """Why Kafka did not take the last event that it was sent; None: it did."""

    async def emit(self, *events: Event[EventData]) -> None:
        """Return once all are safe.

        Raises:
            NotAcknowledged: at least one is not. Any of them may still arrive: a repetition has the same id.
        """
        if len(events) == 1:
            await self._emit(events[0])
        else:
            await asyncio.gather(*(self._emit(event) for event in events))

    async def _emit(self, event: Event[EventData]) -> None:
        if self._spool is None:
            return await self._send_only(event)
        lane = self._spool.lane(event.topic, event.key)
        if lane.has_entries or not self.is_connected:
            return await self._is_safe(self._spool.put(encode(event)))
        sending, group = _Sending(event), self._under_way.setdefault(lane, {})
        group[sending] = None
        try:
            async with asyncio.timeout(self._limit_s) as sending.limit:
                await self._producer.send(event)
        except (TimeoutError, TransientError) as error:
            sending.limit = None
            self._is_away(self._why(error))
            self._divert(self._spool, group)
            if sending.safe is None:  # it never is; the type says it might be
                sending.safe = self._spool.put(encode(event))
            await self._is_safe(sending.safe)
        else:
            self._is_back()
        finally:
            group.pop(sending, None)

    def _divert(self, spool: Spool, group: dict[_Sending, None]) -> None:
        """Put every event under way to a partition into the spool, in order, and end its wait for Kafka."""
        now = asyncio.get_running_loop().time()
        for sending in group:
            if sending.safe is None:
                sending.safe = spool.put(encode(sending.event))
            if sending.limit is not None and not sending.limit.expired():
                sending.limit.reschedule(now)

    async def _is_safe(self, safe: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(SPOOL_LIMIT_S):
                await asyncio.shield(safe)
        except SpoolRefuses as error:
            metrics.SPOOL_REFUSED.labels(error.reason).inc()
            self._health.unready("spool", f"Kafka does not take events, and {error}")
            raise NotAcknowledged(str(error)) from error
        except TimeoutError as error:
            metrics.SPOOL_REFUSED.labels("slow").inc()
            self._health.unready(
                "spool", f"Kafka does not take events, and the disk took longer than {SPOOL_LIMIT_S} s"
            )
            raise NotAcknowledged("neither Kafka nor the disk has taken the event in time") from error
        self._health.ready("spool")

    async def _send_only(self, event: Event[EventData]) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                await self._producer.send(event)
        except (TimeoutError, TransientError) as error:
            why = self._why(error)
            self._health.unready("kafka", why)
            self._is_away(why)
            raise NotAcknowledged(why) from error
        self._health.ready("kafka")
        self._is_back()

    def _why(self, error: Exception) -> str:
        return str(error) or f"no acknowledgement within {self._limit_s} s"

    def _is_away(self, why: str) -> None:
        if self.away is None:
            log.warning("kafka_away", why=why)
        self.away = why

    def _is_back(self) -> None:
        if self.away is not None:
            log.info("kafka_back")
            self.away = None


class KafkaPart(Rounds):
    """The producer's start and stop, and whether Kafka is there.

    With a spool the service starts without Kafka, since calls must go through; it connects once Kafka answers.
    """

    name = "kafka"
    period_s = 1.0

    def __init__(
        self,
        *,
        producer: KafkaProducer,
        bootstrap_servers: str,
        health: Health,
        topics: Sequence[Topic],
        outlet: Outlet,
        spool: Spool | None,
    ) -> None:
        super().__init__(health)
        self._producer, self._servers, self._topics = producer, bootstrap_servers, topics
        self._outlet, self._spool = outlet, spool
        self._connecting: asyncio.Task[None] | None = None
        self._said: str | None = None

    async def start(self) -> None:
        """Check the topics and connect; without a spool, or with wrong topics, that must succeed."""
        metrics.SPOOL_IS_SET.set(self._spool is not None)
        if self._spool is None:
            log.warning("no_spool", why=NO_SPOOL)
            self._health.warnings["spool"] = NO_SPOOL
        self._outlet.is_connected = False
        try:
            await self._connect()
        except TransientError as error:
            if self._spool is None:
                raise
            log.warning("starts_without_kafka", why=str(error))

    async def _connect(self) -> None:
        """Connect, or go on connecting.

        Raises:
            TransientError: Kafka does not answer in time.
            TopicsDiffer: it has not the topics that this version needs.
        """
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._check_and_start())
        done, _ = await asyncio.wait([self._connecting], timeout=CONNECT_LIMIT_S)
        if not done:
            raise TransientError(f"Kafka does not answer within {CONNECT_LIMIT_S} s")
        await self._connecting
        self._outlet.is_connected = True

    async def _check_and_start(self) -> None:
        await check_topics(self._servers, self._topics)
        try:
            await self._producer.start()
        except KafkaError as error:
            raise TransientError(f"Kafka does not answer: {error!r}") from error

    async def round(self) -> None:
        """Connect, or ask for Kafka where it was away; the producer's end is the service's.

        Without a spool a failure makes the service unready. With one, only the spool's own failure does.
        """
        try:
            if not self._outlet.is_connected:
                await self._connect()
            elif self._outlet.away is not None:
                await self._producer.check()
                self._outlet.away = None
        except ProcessMustEnd:
            raise
        except RingbackError as error:
            if self._spool is None:
                raise
            if str(error) != self._said:
                log.warning("kafka_away", why=str(error))
            self._said = str(error)
        else:
            self._said = None

    async def stop(self) -> None:
        """Flush and leave."""
        await super().stop()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._outlet.is_connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await self._producer.stop()
