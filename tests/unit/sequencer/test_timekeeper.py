"""The timekeeper with a fake store, producer and clock."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

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
from tests.unit.sequencer.build import KEY, T0, envelope


class StillClock:
    """A clock that stands until it is moved."""

    is_file = True

    def __init__(self) -> None:
        self.at = T0

    def now(self) -> datetime:
        return self.at

    def real_now(self) -> datetime:
        return datetime(2026, 7, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0

    async def sleep_until(self, when: datetime) -> None:
        while self.at < when:
            await asyncio.sleep(0.001)


class World:
    """A timekeeper and what is around it."""

    def __init__(self) -> None:
        self.real = T0
        self.store, self.producer, self.clock, self.health = (
            MemoryTimers(lambda: self.real), FakeProducer(), StillClock(), Health(),
        )  # fmt: skip
        self.keeper = Keeper(self.store, self.producer, self.clock, self.health)

    async def ticks(self, count: int) -> list[Event[Any]]:
        async with asyncio.timeout(5):
            while len(self.producer.sent) < count:
                await asyncio.sleep(0.001)
        return list(self.producer.sent)


def asked(n: int, due: datetime, local: LocalTime | None = None) -> Event[Any]:
    return envelope(TimerSet(timer_id=f"t{n}", due_at=due, due_local=local, step="text-10min"), f"t{n}", T0)


@pytest.fixture
def world() -> World:
    return World()


async def test_timer_fires_when_due_with_the_callers_envelope_and_never_before(world: World) -> None:
    assert await world.keeper.take(asked(1, T0 + timedelta(minutes=10))) == APPLIED
    assert await world.keeper.fire_due() == 0
    world.clock.at = T0 + timedelta(minutes=10, seconds=7)
    assert await world.keeper.fire_due() == 1
    (tick,) = world.producer.sent
    assert tick.data == TimerDue(timer_id="t1", due_at=T0 + timedelta(minutes=10), step="text-10min")
    assert (tick.id, tick.key, tick.lender_id, tick.branch_id) == ("t1", KEY, "acme", "nyc")
    assert tick.traceparent == asked(1, T0).traceparent
    assert tick.received_at is None


async def test_timer_that_is_asked_for_again_is_known_and_fires_once(world: World) -> None:
    await world.keeper.take(asked(1, T0))
    await world.keeper.fire_due()
    assert await world.keeper.take(asked(1, T0)) == ignored("known")
    assert await world.keeper.fire_due() == 0


async def test_tick_that_kafka_did_not_take_is_sent_again_alike_once_its_lease_is_over(world: World) -> None:
    await world.keeper.take(asked(1, T0))
    world.producer.fail = 1
    with pytest.raises(TransientError):
        await world.keeper.fire_due()
    assert await world.keeper.fire_due() == 0
    world.real += timedelta(seconds=keeper.LEASE_S)
    assert await world.keeper.fire_due() == 1
    assert world.producer.sent[0].time == T0


async def test_local_time_that_zone_data_moved_later_is_armed_again_and_does_not_fire(world: World) -> None:
    morning = LocalTime(on=date(2026, 7, 2), at=time(8, 30), zone="America/New_York")
    early = morning.utc() - timedelta(hours=1)
    await world.keeper.take(asked(1, early, morning))
    world.clock.at = early
    await world.keeper.fire_due()
    assert world.producer.sent == []
    assert await world.store.next_due() == morning.utc()
    world.clock.at = morning.utc()
    await world.keeper.fire_due()
    assert len(world.producer.sent) == 1


async def test_local_time_whose_zone_has_vanished_fires_at_its_first_instant(world: World) -> None:
    gone = LocalTime.model_construct(on=date(2026, 7, 2), at=time(8, 30), zone="Atlantis/Capital")
    data = TimerSet.model_construct(timer_id="t1", due_at=T0, due_local=gone, step="call-morning")
    await world.keeper.take(envelope(data, "t1", T0))
    await world.keeper.fire_due()
    assert len(world.producer.sent) == 1


async def test_timers_that_come_together_are_written_together(world: World) -> None:
    outcomes = await asyncio.gather(*(world.keeper.take(asked(n, T0)) for n in range(1000)))
    assert set(outcomes) == {APPLIED}
    assert await world.store.overdue(T0) == 1000


async def test_timer_that_could_not_be_kept_must_come_again(world: World) -> None:
    world.store.fail = 1
    with pytest.raises(TransientError):
        await world.keeper.take(asked(1, T0))
    assert await world.keeper.take(asked(1, T0)) == APPLIED


async def test_timer_that_can_never_be_written_fails_alone_and_the_others_of_its_batch_are_kept(world: World) -> None:
    world.store.refused = {"t2"}
    found = await asyncio.gather(*(world.keeper.take(asked(n, T0)) for n in range(5)), return_exceptions=True)
    assert isinstance(found[2], StoreRefused)
    assert [one for one in found if one == APPLIED] == [APPLIED] * 4
    assert await world.store.overdue(T0) == 4


async def test_document_that_is_no_timer_does_not_keep_the_others_from_firing(world: World) -> None:
    await asyncio.gather(*(world.keeper.take(asked(n, T0)) for n in range(3)))
    world.store.unreadable = {"t0"}
    await world.keeper.round()
    assert {tick.id for tick in world.producer.sent} == {"t1", "t2"}
    assert await world.health.busy_with() == []
    await world.keeper.start()
    assert await world.health.busy_with() == ["1 timers due"]


async def test_tick_that_can_never_be_sent_does_not_keep_the_others_from_firing(world: World) -> None:
    nameless = timer_of(asked(9, T0), TimerSet(timer_id="t9", due_at=T0, step="text-10min"))
    await world.store.put([replace(nameless, key="")])
    await asyncio.gather(*(world.keeper.take(asked(n, T0)) for n in range(3)))
    await world.keeper.round()
    assert {tick.id for tick in world.producer.sent} == {"t0", "t1", "t2"}


async def test_running_keeper_fires_new_timers_moved_clocks_and_a_thousand_at_once(world: World) -> None:
    await world.keeper.start()
    running = asyncio.create_task(world.keeper.run())
    await world.keeper.take(asked(0, T0))
    await world.ticks(1)
    await asyncio.gather(*(world.keeper.take(asked(n, T0 + timedelta(minutes=10))) for n in range(1, 1001)))
    assert await world.health.busy_with() == []
    world.clock.at += timedelta(minutes=10)
    assert "1000 timers due" in await world.health.busy_with()
    assert len({tick.id for tick in await world.ticks(1001)}) == 1001
    assert await world.health.busy_with() == []
    await world.keeper.stop()
    await running


async def test_running_keeper_without_mongodb_is_not_ready_and_fires_once_it_is_back(world: World) -> None:
    await world.keeper.take(asked(1, T0))
    world.store.fail = 1
    running = asyncio.create_task(world.keeper.run())
    async with asyncio.timeout(5):
        while "timers" not in world.health.not_ready:
            await asyncio.sleep(0.001)
    await world.ticks(1)
    await world.keeper.stop()
    await running


def test_part_of_a_millisecond_is_rounded_up_so_that_no_timer_fires_early() -> None:
    event = asked(1, T0 + timedelta(microseconds=1001))
    assert timer_of(event, event.data).due == T0 + timedelta(milliseconds=2)
