"""What the fence asks of its producer: the lease before each write to a broker, every replica, and no record that expires."""

import asyncio
import math
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from services.runtime.idempotent_client import never_expire
from services.sequencer.adapters.fence.lease import Lease, watch_writes
from services.sequencer.adapters.fence.transport import FencedProducer


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
