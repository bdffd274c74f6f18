"""Periodic work: one item that fails keeps nobody from the others, is counted each time and logged once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.runtime.errors import PermanentError, ProcessMustEnd, TransientError
from services.runtime.health import Health
from services.runtime.rounds import AWAY_AFTER, Rounds
from tests.infra.polling import eventually

Work = Callable[[str], Exception | None]


class Sweep(Rounds):
    """Works on the same items round after round, as its test says."""

    name = "sweep"
    period_s = 0.001

    def __init__(self, health: Health, items: Sequence[str] = (), work: Work = lambda item: None) -> None:
        super().__init__(health)
        self.items, self.work = items, work
        self.began: list[str] = []
        self.rounds = 0
        self.broken: Exception | None = None

    async def round(self) -> None:
        """Work on every item."""
        self.rounds += 1
        if self.broken is not None:
            raise self.broken
        await self.each(self.items, self.one, key=str)

    async def one(self, item: str) -> None:
        self.began.append(item)
        if (error := self.work(item)) is not None:
            raise error


@asynccontextmanager
async def running(sweep: Rounds) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(sweep.run())
    try:
        yield task
    finally:
        await sweep.stop()
        async with asyncio.timeout(5):
            await asyncio.gather(task, return_exceptions=True)


def failures(name: str = "sweep") -> float:
    return REGISTRY.get_sample_value("ringback_round_failures_total", {"round": name}) or 0.0


def fails(*names: str, error: Exception) -> Work:
    return lambda item: error if item in names else None


@pytest.mark.parametrize("error", [ValueError("a defect"), PermanentError("never"), TransientError("not now")])
async def test_item_fails_the_others_are_worked_on_and_the_service_stays_ready(error: Exception) -> None:
    health = Health(not_ready={})
    sweep, before = Sweep(health, ["bad", "a", "b"], fails("bad", error=error)), failures()
    await sweep.round()
    assert set(sweep.began) == {"bad", "a", "b"}
    assert failures() == before + 1
    async with running(sweep):
        await eventually(lambda: sweep.rounds >= 3)
    assert health.not_ready == {}


async def test_item_that_goes_on_failing_is_counted_each_time_and_logged_once() -> None:
    sweep, before = Sweep(Health(), ["bad", "good"], fails("bad", error=ValueError("a defect"))), failures()
    with capture_logs() as logs:
        for _ in range(3):
            await sweep.round()
    assert [line["item"] for line in logs] == ["bad"]
    assert failures() == before + 3


async def test_item_that_worked_meanwhile_is_logged_again_when_it_fails_again() -> None:
    sweep = Sweep(Health(), ["one", "good"], fails("one", error=ValueError("a defect")))
    with capture_logs() as logs:
        await sweep.round()
        sweep.work = lambda item: None
        await sweep.round()
        sweep.work = fails("one", error=ValueError("another"))
        await sweep.round()
    assert [line["item"] for line in logs] == ["one", "one"]


async def test_items_that_failed_before_come_last() -> None:
    sweep = Sweep(Health(), ["bad", "a", "b"], fails("bad", error=ValueError("a defect")))
    await sweep.round()
    sweep.began.clear()
    await sweep.round()
    assert sweep.began == ["a", "b", "bad"]


async def test_dependency_that_fails_several_items_in_a_row_ends_the_round() -> None:
    """Each may have waited for its time-out; a hundred of them would outlast the beat that says we are alive."""
    items = [f"i{n}" for n in range(100)]
    sweep = Sweep(Health(), items, fails(*items, error=TransientError("away")))
    with pytest.raises(TransientError, match="away"):
        await sweep.round()
    assert len(sweep.began) == AWAY_AFTER


async def test_only_item_fails_for_a_dependency_the_service_says_so_until_it_works() -> None:
    health = Health(not_ready={})
    sweep = Sweep(health, ["one"], fails("one", error=TransientError("Kafka is away")))
    async with running(sweep):
        await eventually(lambda: health.not_ready == {"sweep": "Kafka is away"})
        sweep.work = lambda item: None
        await eventually(lambda: health.not_ready == {})


async def test_round_that_raises_is_counted_logged_once_and_done_again() -> None:
    health = Health(not_ready={})
    sweep, before = Sweep(health), failures()
    sweep.broken = ValueError("a defect")
    with capture_logs() as logs:
        async with running(sweep) as task:
            await eventually(lambda: sweep.rounds >= 2)
            assert not task.done()
            assert "a defect" in health.not_ready["sweep"]
            sweep.broken = None
            await eventually(lambda: health.not_ready == {})
    assert [line["event"] for line in logs] == ["round_failed"]
    assert failures() >= before + 2


async def test_item_says_that_only_another_process_can_go_on_the_service_ends() -> None:
    sweep = Sweep(Health(), ["one"], fails("one", error=ProcessMustEnd("the producer has ended")))
    async with running(sweep) as task:
        with pytest.raises(ProcessMustEnd):
            await asyncio.wait_for(task, 5)


async def test_woken_rounds_do_not_wait_for_their_period() -> None:
    sweep = Sweep(Health())
    sweep.period_s = 3600.0
    async with running(sweep):
        await eventually(lambda: sweep.rounds == 1)
        sweep.wake()
        await eventually(lambda: sweep.rounds == 2)


async def test_stopped_rounds_finish_the_one_in_hand_and_begin_no_other() -> None:
    class Slow(Sweep):
        def __init__(self) -> None:
            super().__init__(Health())
            self.may_end, self.ended = asyncio.Event(), 0

        async def round(self) -> None:
            self.rounds += 1
            await self.may_end.wait()
            self.ended += 1

    slow = Slow()
    task = asyncio.create_task(slow.run())
    await eventually(lambda: slow.rounds == 1)
    stopping = asyncio.create_task(slow.stop())
    await eventually(lambda: slow.stopping)
    slow.may_end.set()
    await asyncio.wait_for(asyncio.gather(stopping, task), 5)
    assert (slow.rounds, slow.ended) == (1, 1)


class Oldest(Sweep):
    """Asks for a batch of what is left, the oldest first, as the services' sweeps do."""

    BATCH = 5

    async def round(self) -> None:
        """Work on the oldest."""
        self.rounds += 1
        await self.each(self.items[: self.asks_for(self.BATCH)], self._and_take_away, key=str)

    async def _and_take_away(self, item: str) -> None:
        await self.one(item)
        self.items = [one for one in self.items if one != item]


async def until_left(sweep: Sweep, left: Sequence[str], rounds: int) -> None:
    for _ in range(rounds):
        with contextlib.suppress(TransientError):
            await sweep.round()
        if list(sweep.items) == list(left):
            return
    raise AssertionError(f"after {rounds} rounds these are left: {sweep.items}")


@pytest.mark.parametrize("error", [ValueError("a defect"), TransientError("not now")])
async def test_more_of_the_oldest_fail_than_a_batch_holds_the_newer_ones_are_reached(error: Exception) -> None:
    bad = [f"bad{n}" for n in range(3 * Oldest.BATCH)]
    sweep = Oldest(Health(), [*bad, *(f"new{n}" for n in range(20))], fails(*bad, error=error))
    await until_left(sweep, bad, rounds=30)


async def test_several_in_a_row_fail_for_one_partitions_sake_the_round_goes_on_at_the_other_end() -> None:
    """Three time-outs used to end the round, and the next, until all that wait for that partition had failed once."""
    bad = [f"bad{n}" for n in range(100)]
    sweep = Sweep(Health(), [*bad, "new1", "new2", "new3"], fails(*bad, error=TransientError("no leader")))
    with contextlib.suppress(TransientError):
        await sweep.round()
    assert {"new1", "new2", "new3"} <= set(sweep.began)
    assert len(sweep.began) < 3 + 2 * AWAY_AFTER  # each of the others may have cost a time-out


async def test_items_that_go_on_failing_keep_one_that_would_work_again_waiting_for_a_few_rounds_only() -> None:
    items = [f"i{n}" for n in range(10)]
    sweep = Sweep(Health(), items, fails(*items, error=TransientError("no leader")))
    for _ in range(5):
        with contextlib.suppress(TransientError):
            await sweep.round()
    sweep.work = fails(*items[:9], error=TransientError("no leader"))
    sweep.began.clear()
    for _ in range(4):
        with contextlib.suppress(TransientError):
            await sweep.round()
    assert "i9" in sweep.began


async def test_groups_are_worked_side_by_side_and_one_is_left_after_its_first_time_out() -> None:
    health, hangs, began = Health(not_ready={}), asyncio.Event(), list[str]()
    sweep = Sweep(health)

    async def work(item: str) -> None:
        began.append(item)
        if item.startswith("deaf"):
            await hangs.wait()
            raise TransientError("no acknowledgement")

    items = ["deaf 1", "deaf 2", "a 1", "a 2", "b 1"]
    round_ = asyncio.create_task(sweep.each_group(items, work, key=str, group=lambda item: item.split()[0]))
    await eventually(lambda: {"a 1", "a 2", "b 1"} <= set(began))
    hangs.set()
    left = await round_
    assert (list(left), "deaf 2" in began) == (["deaf"], False)
    assert sweep.name in health.beats, "each item beats: a round may take long"


async def test_item_that_fails_for_itself_keeps_its_group_going() -> None:
    sweep = Sweep(Health(not_ready={}), work=fails("bad", error=ValueError("a defect")))
    assert await sweep.each_group(["bad", "good"], sweep.one, key=str, group=lambda _: 0) == {}
    assert sweep.began == ["bad", "good"]
