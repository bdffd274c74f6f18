"""The clock that all tests share keeps the promises of the protocol it stands in for."""

import asyncio
from datetime import timedelta

from services.runtime.clock import Clock
from tests.infra.clock import FakeClock


def test_standing_clock_moved_by_a_minute_shows_it_on_all_three_clocks() -> None:
    fake = FakeClock()
    clock: Clock = fake
    before = clock.now(), clock.real_now(), clock.monotonic_s()
    fake.move(60)
    minute = timedelta(minutes=1)
    assert (clock.now(), clock.real_now(), clock.monotonic_s()) == (
        before[0] + minute,
        before[1] + minute,
        before[2] + 60,
    )


def test_standing_clock_whose_machine_time_moves_keeps_virtual_time() -> None:
    clock = FakeClock()
    virtual, real = clock.now(), clock.real_now()
    clock.move_real(30)
    assert clock.now() == virtual
    assert clock.real_now() == real + timedelta(seconds=30)


async def test_sleeper_stays_until_the_clock_is_moved_to_its_time() -> None:
    clock = FakeClock()
    sleeper = asyncio.create_task(clock.sleep_until(clock.now() + timedelta(hours=1)))
    await asyncio.sleep(0)
    clock.move(3599)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.move(1)
    await asyncio.wait_for(sleeper, 5)


async def test_sleeper_whose_time_is_past_returns_at_once() -> None:
    clock = FakeClock()
    await asyncio.wait_for(clock.sleep_until(clock.now()), 5)


async def test_several_sleepers_wake_each_at_its_own_time() -> None:
    clock = FakeClock()
    woken: list[int] = []

    async def sleep(minutes: int) -> None:
        await clock.sleep_until(start + timedelta(minutes=minutes))
        woken.append(minutes)

    start = clock.now()
    async with asyncio.TaskGroup() as group:
        for minutes in (3, 1, 2):
            group.create_task(sleep(minutes))
        for minutes in (1, 2, 3):
            await asyncio.sleep(0)
            clock.virtual = start + timedelta(minutes=minutes)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert woken == [1, 2, 3]
