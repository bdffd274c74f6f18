"""What the fence asks of its producer, the lease before each write to a broker, and of its consumer, where to read on."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import AsyncMock, MagicMock

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.consumer.subscription_state import SubscriptionState
from faust.types import TP

from services.runtime.idempotent_client import never_expire
from services.sequencer.adapters.fence.lease import Lease, watch_writes
from services.sequencer.adapters.fence.recovery import FencedRecovery
from services.sequencer.adapters.fence.transport import FencedConsumer, FencedConsumerThread, FencedProducer


class Ended(Exception):
    """The process would have ended."""


def _ends(why: str, code: int) -> NoReturn:
    raise Ended(why)


async def test_batch_whose_lease_ran_out_while_the_broker_was_connected_is_not_written() -> None:
    """Connecting may take long: what counts is the moment before the socket."""
    now, written = [0.0], []

    async def connects_slowly(node: int) -> None:
        await asyncio.sleep(0)
        now[0] += 9.0

    async def write(node: int, batches: object) -> None:
        written.append(batches)

    lease = Lease(10, 30, clock=lambda: now[0], end=_ends)
    lease.joined(sent=0.0)
    sender: Any = SimpleNamespace(client=SimpleNamespace(ready=connects_slowly), _send_produce_req=write)
    watch_writes(SimpleNamespace(_sender=sender), lease)
    with pytest.raises(Ended, match="write to the broker"):
        await sender._send_produce_req(1, "a batch")
    assert written == []
    lease.answered(sent=9.0, rebalancing=False)
    now[0] = 0.0
    await sender._send_produce_req(1, "a batch")
    assert written == ["a batch"]


def test_batches_of_the_fence_never_expire() -> None:
    """A numbered batch that expires leaves a gap, and its partition refuses all that follow."""
    accumulator = SimpleNamespace(_batch_ttl=40.0)
    never_expire(SimpleNamespace(_message_accumulator=accumulator))
    assert accumulator._batch_ttl == math.inf


def test_producer_of_the_fence_waits_for_all_replicas_and_repeats_nothing() -> None:
    asked = FencedProducer._settings_extra(SimpleNamespace())  # type: ignore[arg-type]  # needs nothing of itself
    assert asked == {"acks": "all", "enable_idempotence": True}


class Thread(FencedConsumerThread):
    """Calls at once; what it asks of aiokafka is in `client`."""

    def __init__(self, client: "Client") -> None:
        self.client, self.consumer, self.time_started = client, MagicMock(), 0.0
        self.tp_fetch_request_timeout_secs = self.tp_stream_timeout_secs = 60.0
        self.checked: list[int] = []
        self.consumer.app.topics.acks_enabled_for = lambda _topic: self.checked.append(0)

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        return await fun(*args, **kwargs)

    def _ensure_consumer(self) -> Any:
        return self.client


class Client:
    """What of aiokafka's consumer and its fetcher a seek asks; no partition of it has a leader."""

    def __init__(self, committed: dict[TopicPartition, int | None]) -> None:
        self._committed, self._fetcher = committed, self
        self.reset: set[TopicPartition] = set()
        self._subscriptions = SubscriptionState()

    def assignment(self) -> set[TopicPartition]:
        return set(self._committed)

    async def seek_to_committed(self) -> dict[TopicPartition, int | None]:
        return dict(self._committed)

    def request_offset_reset(self, partitions: set[TopicPartition], strategy: int) -> "asyncio.Future[None]":
        assert strategy == OffsetResetStrategy.EARLIEST
        self.reset |= partitions
        return asyncio.get_running_loop().create_future()

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        await self.request_offset_reset(set(partitions), OffsetResetStrategy.EARLIEST)


class Consumer(FencedConsumer):
    """Sought through a thread that is none."""

    def __init__(self, client: Client) -> None:
        self._thread = Thread(client)
        self._read_offset: dict[TP, int | None] = {}
        self._committed_offset: dict[TP, int | None] = {}

    def assignment(self) -> set[TP]:
        return {TP(one.topic, one.partition) for one in self._thread.client.assignment()}

    def _is_changelog_tp(self, tp: TP) -> bool:
        return str(tp.topic) == "changelog"


async def test_partitions_without_a_commit_are_read_from_their_beginning_and_no_leader_is_waited_for() -> None:
    """One without a leader stopped the whole worker for 65 s at each assignment, and its liveness ended it before."""
    client = Client(
        {
            TopicPartition("leads", 0): 7,
            TopicPartition("leads", 1): None,
            TopicPartition("leads", 2): 0,
            TopicPartition("changelog", 0): None,
        }
    )
    async with asyncio.timeout(1):
        await Consumer(client).perform_seek()
    assert client.reset == {TopicPartition("leads", 1), TopicPartition("leads", 2)}


async def test_recovery_lets_no_event_flow_before_every_partition_is_sought_however_long_that_takes() -> None:
    """After its time-out it went on: nothing counted as committed then, and effects weeks old were repeated."""
    answered, sought = asyncio.Event(), []
    app = MagicMock(consumer_generation_id=1, rebalancing_count=0)
    app.conf.broker_request_timeout = 0.01
    app.on_rebalance_complete.send = app._fetcher.maybe_start = AsyncMock()
    app.consumer.fetching, app.consumer.perform_seek = asyncio.Lock(), answered.wait
    app.consumer.assignment.return_value = {TP("leads", 0)}
    recovery = FencedRecovery(app, MagicMock())
    recovery.on_sought = lambda: sought.append("sought")
    recovering = asyncio.create_task(recovery.on_recovery_completed(1))
    await asyncio.wait([recovering], timeout=0.2)
    assert (sought, recovering.done()) == ([], False)
    answered.set()
    await asyncio.wait_for(recovering, 5)
    assert sought == ["sought"]


async def test_partition_whose_position_is_not_known_yet_is_left_out_of_the_search_for_one_that_stands() -> None:
    """Faust ends the worker there: between the seek and the leader's answer nobody knows the position."""
    where, client = TopicPartition("leads", 0), Client({})
    client._subscriptions.assign_from_user({where})
    partition = client._subscriptions.subscription.assignment.state_value(where)
    partition.timestamp = 1_000  # something of it was fetched already
    partition.await_reset(OffsetResetStrategy.EARLIEST)
    thread = Thread(client)
    thread.verify_event_path(2.0, TP("leads", 0))
    partition.reset_to(0)
    thread.verify_event_path(2.0, TP("leads", 0))
    assert thread.checked == [0]
