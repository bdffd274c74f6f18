"""Faust's Kafka driver, fixed: it fetches what was asked for, and all replicas acknowledge what it sends."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import faust
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import OffsetResetStrategy
from faust.sensors import Monitor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from services.runtime.clock import monotonic_s
from services.runtime.idempotent_client import abandon, never_expire

from .lease import Lease, watch_membership, watch_writes

NOTHING_TO_FETCH_S = 0.05
FETCH_MAX_WAIT_MS = 250
FETCH_TURN_S = 0.25
DELIVERIES_A_TURN = 100


class QuietMonitor(Monitor):  # type: ignore[misc]
    """Keeps what Faust's own checks read and nothing else: our figures come from the fence."""

    def on_message_in(self, tp: TP, offset: int, message: Any) -> None:
        """Keep nothing."""

    def on_message_out(self, tp: TP, offset: int, message: Any) -> None:
        """Keep nothing."""

    def on_stream_event_in(self, tp: TP, offset: int, stream: Any, event: Any) -> None:
        """Keep when the partition was last active, for the check that finds a stream standing still."""
        self.stream_inbound_time[tp] = monotonic_s()

    def on_stream_event_out(self, tp: TP, offset: int, stream: Any, event: Any, state: Any = None) -> None:
        """Keep nothing."""

    def track_tp_end_offset(self, tp: TP, offset: int) -> None:
        """Keep nothing."""


class FencedConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Tells the lease what the group says."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # After each recovery, events wait behind a fetch that asks for the changelog only: 1.5 s by Faust's default.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        """Start the consumer; it joins nothing before Faust subscribes."""
        await super().on_start()
        watch_membership(self._consumer._coordinator, self.app.lease)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Look whether a partition stands still, unless its position is not known yet: that would end the worker."""
        assignment = self._ensure_consumer()._fetcher._subscriptions.subscription.assignment
        state = assignment and assignment.state_value(driver.ensure_aiokafka_TP(tp))
        if state and state.has_valid_position:
            super().verify_event_path(now, tp)

    async def read_from_beginning(self, partitions: Collection[TopicPartition]) -> None:
        """Have partitions read from their beginning, and do not wait until it is known where that is.

        aiokafka's `seek_to_beginning` does: one partition without a leader would keep all others back.
        """
        await self.call_thread(self._reset, partitions)

    async def _reset(self, partitions: Collection[TopicPartition]) -> None:
        consumer = self._ensure_consumer()
        if mine := consumer.assignment() & set(partitions):
            consumer._fetcher.request_offset_reset(mine, OffsetResetStrategy.EARLIEST)


class FencedConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer with a snapshot of the partitions it asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fetching = asyncio.Lock()
        """Held while a fetch is under way, and while somebody seeks, which no fetch may overlap."""

    def _new_consumer_thread(self) -> FencedConsumerThread:
        return FencedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        # Faust hands its live set to aiokafka's thread. Between changelog and source partitions the set is empty for a
        # moment; aiokafka reads that as "all", and Faust then throws away what it did not ask for: events are lost.
        async with self.fetching:
            wanted = frozenset(active_partitions or ())
            if wanted:
                return await self._thread.getmany(wanted, timeout)
        await asyncio.sleep(NOTHING_TO_FETCH_S)
        return {}

    async def perform_seek(self) -> None:
        """Seek every source partition to where its next event is.

        aiokafka's `seek_to_committed` skips a partition without a committed offset. What was fetched from it before its
        first commit, and dropped at a rebalance, would never come again.
        """
        await super().perform_seek()
        fresh = [tp for tp in self.assignment() if not self._is_changelog_tp(tp) and not self._committed_offset.get(tp)]
        if fresh:
            await self._thread.read_from_beginning([driver.ensure_aiokafka_TP(tp) for tp in fresh])
            for tp in fresh:
                self._read_offset[tp] = None

    def resume_flow(self) -> None:
        """Let events flow, unless the next rebalance has begun meanwhile.

        A recovery that is overtaken goes on for a few steps. If it let events flow, they would be handled before the next
        recovery has read their rows.
        """
        if not self.app.tables.recovery.is_overtaken():
            super().resume_flow()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let nothing flow before the rows are there."""
        self.stop_flow()
        self.app.flow_control.suspend()
        await super().on_partitions_assigned(assigned, generation_id)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Deliver what is fetched, as Faust does, but without four tasks for each record.

        Faust waits for each delivery together with three events, in case the delivery blocks while the flow is stopped. A
        delivery blocks only when a queue is full; only then it is done Faust's way.
        """
        read, deliver, topics, suspended = self._read_offset, self.callback, self.app.topics, self.suspend_flow
        while not (self._stopped.is_set() or fetcher._stopped.is_set()):
            batch = self.getmany(timeout=FETCH_TURN_S)
            await asyncio.sleep(0)
            if self.should_stop:
                continue
            since_yield = 0
            async for tp, message in batch:
                since_yield += 1
                if since_yield > DELIVERIES_A_TURN:
                    since_yield = 0
                    await asyncio.sleep(0)
                offset, expected = message.offset, read[tp]
                if expected is not None and offset < expected:
                    continue
                if expected and offset - expected > 1 and topics.acks_enabled_for(message.topic):
                    await self._add_gap(tp, expected + 1, offset)
                if any(channel.queue.full() for channel in topics._tp_index[tp]):
                    await self.wait_first(deliver(message), suspended.wait())
                elif self.flow_active:
                    await deliver(message)
                if not self.flow_active:
                    # Nobody got it. Faust would note it as read all the same, and drop it when it comes again: rows of
                    # a recovery that a rebalance interrupted would be missing from the next one.
                    break
                read[tp] = offset

    async def wait_empty(self) -> None:
        """Wait for the events in flight; those that only stand in line are not waited for, they come again."""
        self.app.drop_waiting()
        await self.app.settle()
        await super().wait_empty()

    def leave_out(self, message: Any) -> None:
        """Forget an event that nobody has begun: whoever has the partition next reads it again."""
        self._unacked_messages.discard(message)

    def hold(self, tp: TP) -> None:
        """Fetch no more of a partition for now; what has been fetched still comes."""
        self.on_buffer_full(tp)

    def release(self, tp: TP) -> None:
        """Fetch a partition again."""
        self.on_buffer_drop(tp)

    def forget_held(self) -> None:
        """Hold nothing any more: the next assignment begins with every partition."""
        self._buffered_partitions.clear()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is finished before Faust forgets it, so that the next owner repeats less."""
        if not self.app.should_stop:
            await self.commit()
        await super().on_partitions_revoked(revoked)


class FencedProducer(driver.Producer):  # type: ignore[misc]
    """Idempotent, all replicas, and no write without the lease."""

    _producer: Any

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def flush(self) -> None:
        """Wait for nothing."""
        # What may be committed has been acknowledged; one partition without a leader must not hold up the others' commit.

    async def on_start(self) -> None:
        """Start the producer and watch its writes."""
        await super().on_start()
        if self._producer is not None:  # None when it was told to stop while it started
            self._fit(self._producer)

    def _fit(self, client: Any) -> None:
        watch_writes(client, self.app.lease)
        never_expire(client)

    def is_sending(self) -> bool:
        """Say whether a request with records is under way, from the wait for its connection to the pause after a failure.

        False does not say that no broker has the records that wait: the last try may have timed out and yet have arrived.
        """
        return self._producer is not None and bool(self._producer._sender._muted_partitions)

    async def renew(self, *, again: bool) -> None:
        """Give up what waits in the client, for good, and go on with another one, or with none."""
        old, self._producer = self._producer, None
        if old is not None:
            await abandon(old)
        if again:
            client = self._new_producer()
            async with asyncio.timeout(self.request_timeout):
                await client.start()
            self._fit(client)
            self._producer = client


class FencedTransport(driver.Transport):  # type: ignore[misc]
    """Makes the consumer and the producer above."""

    Consumer = FencedConsumer
    Producer = FencedProducer


class FencedApp(faust.App):  # type: ignore[misc]
    """A Faust app on the fixed driver."""

    lease: Lease
    drop_waiting: Callable[[], None]
    settle: Callable[[], Awaitable[None]]
    Transport: type[FencedTransport] = FencedTransport

    def _new_transport(self) -> FencedTransport:
        return self.Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> FencedTransport:
        return self.Transport(self.conf.broker_producer, self)
