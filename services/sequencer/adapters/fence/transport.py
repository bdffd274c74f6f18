"""Faust's Kafka driver, mended: what is fetched is what was asked for, what is sent is acknowledged by all replicas."""

import asyncio
from collections.abc import Mapping
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from .lease import Lease, watch_membership, watch_writes

NOTHING_TO_FETCH_S = 0.05
FETCH_MAX_WAIT_MS = 250


class FencedConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Tells the lease what the group says."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust's 1.5 s is how long events wait after each recovery, behind a fetch that asks for the changelog only.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        """Start the consumer; it joins nothing before Faust subscribes."""
        await super().on_start()
        watch_membership(self._consumer._coordinator, self.app.lease)


class FencedConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer with a snapshot of the partitions it asks for."""

    def _new_consumer_thread(self) -> FencedConsumerThread:
        return FencedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        # Faust hands its live set to aiokafka's thread. On the way from changelog to source partitions it becomes
        # empty, aiokafka reads that as "all", and Faust then throws away what it did not want: events are lost.
        wanted = frozenset(active_partitions or ())
        if not wanted:
            await asyncio.sleep(NOTHING_TO_FETCH_S)
            return {}
        return await self._thread.getmany(wanted, timeout)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is finished before Faust forgets it, so that the next owner repeats less."""
        if not self.app.should_stop:
            await self.commit()
        await super().on_partitions_revoked(revoked)


class FencedProducer(driver.Producer):  # type: ignore[misc]
    """Idempotent, all replicas, and no write without the lease."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def on_start(self) -> None:
        """Start the producer and watch its writes."""
        await super().on_start()
        watch_writes(self._producer, self.app.lease)


class FencedTransport(driver.Transport):  # type: ignore[misc]
    """The two above."""

    Consumer = FencedConsumer
    Producer = FencedProducer


class FencedApp(faust.App):  # type: ignore[misc]
    """A Faust app on the mended driver."""

    lease: Lease
    Transport: type[FencedTransport] = FencedTransport

    def _new_transport(self) -> FencedTransport:
        return self.Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> FencedTransport:
        return self.Transport(self.conf.broker_producer, self)
