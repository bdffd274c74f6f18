"""The timekeeper with a fake store, producer and clock."""

import asyncio
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from schemas.base import LocalTime
from schemas.envelope import Event
from schemas.touches import TimerDue, TimerSet
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, ignored
from services.runtime.health import Health
from services.runtime.mongo_errors import StoreRefused
from services.runtime.producer import FakeProducer
from services.sequencer.adapters.memory import MemoryTimers
from services.sequencer.timekeeper import keeper
from services.sequencer.timekeeper.keeper import Keeper, timer_of
from tests.infra.clock import FakeClock
from tests.infra.polling import eventually
from tests.unit.sequencer.build import KEY, T0, envelope


class Rig:
    """A timekeeper and what is around it."""

    def __init__(self) -> None:
        self.clock, self.health, self.producer = FakeClock(T0), Health(), FakeProducer()
        self.store = MemoryTimers(self.clock.real_now)
        self.keeper = Keeper(store=self.store, producer=self.producer, clock=self.clock, health=self.health)

    async def ticks(self, count: int) -> list[Event[Any]]:
        """Return the ticks once so many have been sent."""
        await eventually(lambda: len(self.producer.sent) >= count, 5, f"{count} ticks")
        return list(self.producer.sent)


def asked(n: int, due: datetime, local: LocalTime | None = None) -> Event[Any]:
    return envelope(TimerSet(timer_id=f"t{n}", due_at=due, due_local=local, step="text-10min"), f"t{n}", T0)


def failures() -> float:
    return REGISTRY.get_sample_value("ringback_round_failures_total", {"round": "timers"}) or 0.0


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_timer_fires_when_due_with_the_callers_envelope_and_never_before(rig: Rig) -> None:
    assert await rig.keeper.take(asked(1, T0 + timedelta(minutes=10))) == APPLIED
    assert await rig.keeper.fire_due() == 0
    rig.clock.virtual = T0 + timedelta(minutes=10, seconds=7)
    assert await rig.keeper.fire_due() == 1
    (tick,) = rig.producer.sent
    assert tick.data == TimerDue(timer_id="t1", due_at=T0 + timedelta(minutes=10), step="text-10min")
    assert (tick.id, tick.key, tick.lender_id, tick.branch_id) == ("t1", KEY, "acme", "nyc")
    assert tick.traceparent == asked(1, T0).traceparent
    assert tick.received_at is None


async def test_pending_timer_that_is_asked_for_again_is_known_and_fires_once(rig: Rig) -> None:
    await rig.keeper.take(asked(1, T0))
    assert await rig.keeper.take(asked(1, T0)) == ignored("known")
    await rig.keeper.fire_due()
    assert await rig.keeper.fire_due() == 0


async def test_fired_timer_that_is_asked_for_again_fires_again_alike(rig: Rig) -> None:
    """The sequencer asks again where it may not have seen the tick; a tick that it has seen changes nothing there."""
    await rig.keeper.take(asked(1, T0))
    await rig.keeper.fire_due()
    assert await rig.keeper.take(asked(1, T0)) == APPLIED
    assert await rig.keeper.fire_due() == 1
    first, second = rig.producer.sent
    assert first == second


async def test_tick_that_kafka_did_not_take_is_sent_again_alike_once_its_lease_is_over(rig: Rig) -> None:
    await rig.keeper.take(asked(1, T0))
    rig.producer.fail = 1
    with pytest.raises(TransientError):
        await rig.keeper.round()
    await rig.keeper.round()
    assert rig.producer.sent == []
    rig.clock.move_real(keeper.LEASE_S)
    await rig.keeper.round()
    assert rig.producer.sent[0].time == T0


async def test_local_time_that_zone_data_moved_later_is_armed_again_and_does_not_fire(rig: Rig) -> None:
    morning = LocalTime(on=date(2026, 7, 2), at=time(8, 30), zone="America/New_York")
    early = morning.utc() - timedelta(hours=1)
    await rig.keeper.take(asked(1, early, morning))
    rig.clock.virtual = early
    await rig.keeper.fire_due()
    assert rig.producer.sent == []
    assert await rig.store.next_due() == morning.utc()
    rig.clock.virtual = morning.utc()
    await rig.keeper.fire_due()
    assert len(rig.producer.sent) == 1


async def test_local_time_whose_zone_has_vanished_fires_at_its_first_instant(rig: Rig) -> None:
    gone = LocalTime.model_construct(on=date(2026, 7, 2), at=time(8, 30), zone="Atlantis/Capital")
    data = TimerSet.model_construct(timer_id="t1", due_at=T0, due_local=gone, step="call-morning")
    await rig.keeper.take(envelope(data, "t1", T0))
    await rig.keeper.fire_due()
    assert len(rig.producer.sent) == 1


async def test_timers_that_come_together_are_written_together(rig: Rig) -> None:
    outcomes = await asyncio.gather(*(rig.keeper.take(asked(n, T0)) for n in range(1000)))
    assert set(outcomes) == {APPLIED}
    assert await rig.store.overdue(T0) == 1000
    assert rig.store.asked.count("put") == 1000 / keeper.BATCH


async def test_timer_that_could_not_be_kept_must_come_again(rig: Rig) -> None:
    rig.store.fail = 1
    with pytest.raises(TransientError):
        await rig.keeper.take(asked(1, T0))
    assert await rig.keeper.take(asked(1, T0)) == APPLIED


async def test_timer_that_can_never_be_written_fails_alone_and_the_others_of_its_batch_are_kept(rig: Rig) -> None:
    rig.store.refused = {"t2"}
    found = await asyncio.gather(*(rig.keeper.take(asked(n, T0)) for n in range(5)), return_exceptions=True)
    assert isinstance(found[2], StoreRefused)
    assert [one for one in found if one == APPLIED] == [APPLIED] * 4
    assert await rig.store.overdue(T0) == 4


async def test_document_that_is_no_timer_does_not_keep_the_others_from_firing(rig: Rig) -> None:
    await asyncio.gather(*(rig.keeper.take(asked(n, T0)) for n in range(3)))
    rig.store.unreadable = {"t0"}
    before = failures()
    await rig.keeper.round()
    assert failures() == before + 1
    assert {tick.id for tick in rig.producer.sent} == {"t1", "t2"}
    assert await rig.health.busy_with() == []
    await rig.keeper.start()
    assert await rig.health.busy_with() == ["1 timers due"]


async def test_tick_that_can_never_be_sent_does_not_keep_the_others_from_firing(rig: Rig) -> None:
    nameless = timer_of(asked(9, T0), TimerSet(timer_id="t9", due_at=T0, step="text-10min"))
    await rig.store.put([replace(nameless, key="")])
    await asyncio.gather(*(rig.keeper.take(asked(n, T0)) for n in range(3)))
    await rig.keeper.round()
    assert {tick.id for tick in rig.producer.sent} == {"t0", "t1", "t2"}


async def test_running_keeper_fires_new_timers_moved_clocks_and_a_thousand_at_once(rig: Rig) -> None:
    await rig.keeper.start()
    running = asyncio.create_task(rig.keeper.run())
    await rig.keeper.take(asked(0, T0))
    await rig.ticks(1)
    await asyncio.gather(*(rig.keeper.take(asked(n, T0 + timedelta(minutes=10))) for n in range(1, 1001)))
    assert await rig.health.busy_with() == []
    rig.clock.virtual += timedelta(minutes=10)
    assert "1000 timers due" in await rig.health.busy_with()
    assert len({tick.id for tick in await rig.ticks(1001)}) == 1001
    assert await rig.health.busy_with() == []
    await rig.keeper.stop()
    await running


class DeafPartition(FakeProducer):
    """A broker of which one caller's partition has no leader."""

    deaf = b""
    tries = 0

    async def send(self, *events: Event[Any]) -> None:
        if any(event.key == self.deaf for event in events):
            self.tries += 1
            raise TransientError("Kafka did not acknowledge within 5 s: sequencer-ticks")
        await super().send(*events)


async def test_partition_that_takes_no_ticks_keeps_no_other_from_firing_and_is_named(rig: Rig) -> None:
    """What was acknowledged is marked; the deaf partition costs one time-out a round, not one a batch."""
    producer = DeafPartition()
    rig.keeper = Keeper(store=rig.store, producer=producer, clock=rig.clock, health=rig.health)
    callers = [f"acme:+1212555{n:04}" for n in range(2 * keeper.BATCH)]
    producer.deaf = callers[0].encode()
    timers = [
        timer_of(asked(n, T0), TimerSet(timer_id=f"t{n}", due_at=T0, step="text-10min")) for n in range(len(callers))
    ]
    await rig.store.put([replace(timer, key=key) for timer, key in zip(timers, callers, strict=True)])
    with pytest.raises(TransientError, match=r"no acknowledgement from sequencer-ticks\[\d+\]$"):
        await rig.keeper.round()
    assert producer.tries == 1
    left = await rig.store.overdue(T0)
    assert 0 < left < 2 * len(callers) / 12
    assert len(producer.sent) == len(callers) - left
    producer.deaf = b""
    rig.clock.move_real(keeper.LEASE_S)
    await rig.keeper.round()
    assert len({tick.key for tick in producer.sent}) == len(producer.sent) == len(callers)


async def test_running_keeper_without_mongodb_is_not_ready_and_fires_once_it_is_back(rig: Rig) -> None:
    await rig.keeper.take(asked(1, T0))
    rig.store.fail = 1
    running = asyncio.create_task(rig.keeper.run())
    await eventually(lambda: "timers" in rig.health.not_ready, 5, "not ready")
    await rig.ticks(1)
    await rig.keeper.stop()
    await running


def test_part_of_a_millisecond_is_rounded_up_so_that_no_timer_fires_early() -> None:
    event = asked(1, T0 + timedelta(microseconds=1001))
    assert timer_of(event, event.data).due == T0 + timedelta(milliseconds=2)
