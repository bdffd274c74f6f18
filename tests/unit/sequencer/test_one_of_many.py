"""One timer, partition or window of many goes wrong, or comes too late: nothing is done that must not, the others go on."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.leads import LeadOpened
from schemas.touches import TimerSet, TouchSuppressed
from services.runtime.errors import TransientError
from services.sequencer.domain.row import StepStatus
from services.sequencer.timekeeper import keeper
from services.sequencer.timekeeper.keeper import Keeper, timer_of
from tests.unit.sequencer.build import T0, lead, played, result, tick
from tests.unit.sequencer.test_timekeeper import DeafPartition, Rig, asked
from tests.unit.sequencer.test_window import TURNS
from tests.unit.sequencer.test_window import Rig as WindowRig

DEAF = "acme:+12125550000"


def test_tick_of_an_earlier_attempt_fires_nothing() -> None:
    """The step waits again, for another timer: the obsolete one comes late."""
    until = T0 + timedelta(minutes=1)
    held = result(TouchSuppressed, "text-now", T0 + timedelta(seconds=1), reason="reply_in_flight", until=until)
    row, _ = played(lead(LeadOpened, 1), held)
    row, (decision,) = played(tick("text-now", T0 + timedelta(seconds=30), attempt=1), row=row)
    assert (decision.ignored, decision.effects) == ("no_open_timer", ())
    assert row.sequence is not None
    step = row.sequence.step("text-now")
    assert step is not None
    assert (step.status, step.attempt) == (StepStatus.TIMED, 2)


async def test_tick_that_can_never_be_sent_keeps_none_of_its_own_partition_from_firing() -> None:
    rig = Rig()
    rig.keeper = Keeper(store=rig.store, producer=rig.producer, clock=rig.clock, health=rig.health, partitions=1)
    nameless = timer_of(asked(9, T0), TimerSet(timer_id="t9", due_at=T0, step="text-10min"))
    await rig.store.put([replace(nameless, key="")])
    await asyncio.gather(*(rig.keeper.take(asked(n, T0)) for n in range(3)))
    await rig.keeper.round()
    assert {one.id for one in rig.producer.sent} == {"t0", "t1", "t2"}


async def test_partition_that_did_not_answer_is_asked_no_more_in_the_same_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each batch of the round would wait for its time-out again."""
    monkeypatch.setattr(keeper, "BATCH", 2)
    rig, producer = Rig(), DeafPartition()
    producer.deaf = DEAF.encode()
    rig.keeper = Keeper(store=rig.store, producer=producer, clock=rig.clock, health=rig.health)
    others = [f"acme:+1212555{n:04}" for n in range(1, 4)]
    for n, key in enumerate((DEAF, others[0], DEAF, others[1], DEAF, others[2])):
        due = T0 + timedelta(milliseconds=n)
        timer = timer_of(asked(n, due), TimerSet(timer_id=f"t{n}", due_at=due, step="text-10min"))
        await rig.store.put([replace(timer, key=key)])
    rig.clock.move(1)
    with pytest.raises(TransientError):
        await rig.keeper.round()
    assert producer.tries == 1
    assert {one.key.decode() for one in producer.sent} == set(others)


async def test_window_that_was_closed_because_another_halted_takes_nothing() -> None:
    rig = WindowRig()
    rig.window.start()
    rig.window.closed = True
    rig.offer("a", "b")
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert rig.story == []
    assert len(rig.window.waiting) == 2
    await rig.window.stop()
