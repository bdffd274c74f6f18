"""One suite for both homes of timers: what holds for the fake holds for MongoDB."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta

import pytest

from deploy.local.system import fresh_name
from schemas.base import LocalTime
from services.sequencer.adapters.timers import MemoryTimers, MongoTimers, Timer, TimerStore
from services.sequencer.errors import TimersUnavailable
from tests.infra.providers import Mongo

T0 = datetime(2026, 7, 1, 15, 0, tzinfo=UTC)
LONG_S, GONE_S = 60.0, 0.0


def timer(n: int, seconds: float = 0, local: LocalTime | None = None) -> Timer:
    return Timer(
        f"t{n}", T0 + timedelta(seconds=seconds), "text-10min", f"acme:+1212555{n:04}", "acme", "nyc", "00-x", local
    )


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest, mongo: Mongo) -> AsyncIterator[TimerStore]:
    if request.param == "memory":
        yield MemoryTimers()
        return
    real = MongoTimers(mongo.url, name := fresh_name())
    await real.start()
    try:
        yield real
    finally:
        await real._client.drop_database(name)
        await real.stop()


async def test_timer_that_was_put_is_claimed_whole_once_it_is_due(store: TimerStore) -> None:
    morning = timer(1, 30, LocalTime(on=date(2026, 7, 2), at=time(8, 30), zone="America/New_York"))
    assert await store.put([morning, timer(2, 60)]) == {"t1", "t2"}
    assert (await store.claim(T0 + timedelta(seconds=29), 10, LONG_S)).timers == ()
    assert (await store.claim(T0 + timedelta(seconds=30), 10, LONG_S)).timers == (morning,)


async def test_timer_known_already_stays_as_it_is_pending_and_fired(store: TimerStore) -> None:
    await store.put([timer(1)])
    assert await store.put([timer(1, 500), timer(2, 60)]) == {"t2"}
    claim = await store.claim(T0, 10, LONG_S)
    assert await store.fired(claim, ["t1"]) == 1
    assert await store.put([timer(1)]) == set()
    assert await store.overdue(T0) == 0


async def test_claim_takes_the_earliest_first_and_no_more_than_asked(store: TimerStore) -> None:
    await store.put([timer(n, -n) for n in range(10)])
    claim = await store.claim(T0, 3, LONG_S)
    assert [found.timer_id for found in claim.timers] == ["t9", "t8", "t7"]


async def test_claimed_timer_is_nobody_elses_while_the_lease_lasts(store: TimerStore) -> None:
    await store.put([timer(1), timer(2, 5)])
    await store.claim(T0, 10, LONG_S)
    assert (await store.claim(T0, 10, LONG_S)).timers == ()
    assert await store.next_due() == T0 + timedelta(seconds=5)
    assert await store.overdue(T0) == 1


async def test_claim_whose_lease_is_over_is_taken_by_another_and_marks_nothing_any_more(store: TimerStore) -> None:
    await store.put([timer(1)])
    late = await store.claim(T0, 10, GONE_S)
    second = await store.claim(T0, 10, LONG_S)
    assert second.timers == late.timers
    assert await store.fired(late, ["t1"]) == 0
    assert await store.fired(second, ["t1"]) == 1
    assert await store.fired(second, ["t1"]) == 0


async def test_rearmed_timer_is_free_and_due_at_its_new_time(store: TimerStore) -> None:
    await store.put([timer(1)])
    claim = await store.claim(T0, 10, LONG_S)
    await store.rearm(claim, "t1", T0 + timedelta(hours=1))
    assert await store.next_due() == T0 + timedelta(hours=1)
    assert (await store.claim(T0, 10, LONG_S)).timers == ()


async def test_empty_store_has_nothing_due(store: TimerStore) -> None:
    assert await store.put([]) == set()
    assert await store.next_due() is None
    assert await store.overdue(T0) == 0


async def test_mongodb_that_is_away_is_a_transient_error() -> None:
    away = MongoTimers("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50", "none")
    with pytest.raises(TimersUnavailable):
        await away.start()
    await away.stop()


async def test_timers_are_found_by_index(mongo: Mongo) -> None:
    """A million waiting timers: what is due is read from the index, not from the collection."""
    real = MongoTimers(mongo.url, name := fresh_name())
    await real.start()
    plan = await real._timers.find({"state": "pending", "due": {"$lte": T0}}).sort("due", 1).explain()
    await real._client.drop_database(name)
    await real.stop()
    assert "state_due" in str(plan["queryPlanner"]["winningPlan"])
