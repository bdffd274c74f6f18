"""One suite for both homes of timers: what holds for the fake holds for MongoDB."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from pymongo.errors import BulkWriteError

from schemas.base import LocalTime
from services.runtime.mongo_errors import StoreAway
from services.sequencer.adapters.memory import MemoryTimers
from services.sequencer.adapters.mongo import COLLECTION, MongoTimers, only_duplicates
from services.sequencer.adapters.store import Timer, TimerStore
from tests.infra.providers import Mongo

T0 = datetime(2026, 7, 1, 15, 0, tzinfo=UTC)
LONG_S, GONE_S = 60.0, 0.0


def timer(n: int, seconds: float = 0, local: LocalTime | None = None) -> Timer:
    return Timer(
        timer_id=f"t{n}",
        due=T0 + timedelta(seconds=seconds),
        step="text-10min",
        key=f"acme:+1212555{n:04}",
        lender_id="acme",
        branch_id="nyc",
        traceparent="00-x",
        due_local=local,
    )


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest, mongo: Mongo, database: Any) -> AsyncIterator[TimerStore]:
    made: TimerStore = MemoryTimers() if request.param == "memory" else MongoTimers(mongo.url, database.name)
    await made.start()
    yield made
    await made.stop()


async def spoil(store: TimerStore, database: Any, timer_id: str) -> None:
    """Make a kept timer's document one that is no timer."""
    if isinstance(store, MemoryTimers):
        store.unreadable.add(timer_id)
    else:
        await database[COLLECTION].update_one({"_id": timer_id}, {"$unset": {"lender_id": ""}})


async def test_timer_that_was_put_is_claimed_whole_once_it_is_due(store: TimerStore) -> None:
    morning = timer(1, 30, LocalTime(on=date(2026, 7, 2), at=time(8, 30), zone="America/New_York"))
    assert await store.put([morning, timer(2, 60)]) == {"t1", "t2"}
    assert (await store.claim(T0 + timedelta(seconds=29), 10, LONG_S)).timers == ()
    assert (await store.claim(T0 + timedelta(seconds=30), 10, LONG_S)).timers == (morning,)


async def test_pending_timer_that_is_put_again_stays_as_it_is(store: TimerStore) -> None:
    await store.put([timer(1)])
    assert await store.put([timer(1, 500), timer(2, 60), timer(2, 60)]) == {"t2"}
    assert (await store.claim(T0, 10, LONG_S)).timers == (timer(1),)


async def test_fired_timer_that_is_put_again_is_pending_again_and_stays(store: TimerStore, database: Any) -> None:
    """Whoever asks again has no answer to act on: a tick too many changes nothing, a missing one stops a sequence."""
    await store.put([timer(1)])
    assert await store.fired(await store.claim(T0, 10, LONG_S), ["t1"]) == 1
    assert await store.put([timer(1, 60)]) == {"t1"}
    again = await store.claim(T0 + timedelta(seconds=60), 10, LONG_S)
    assert again.timers == (timer(1, 60),)
    assert await database[COLLECTION].count_documents({"fired_at": {"$exists": True}}) == 0, "expiry would take it away"
    assert await store.fired(again, ["t1"]) == 1


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


async def test_document_that_is_no_timer_is_claimed_beside_the_others_with_its_reason(
    store: TimerStore, database: Any
) -> None:
    await store.put([timer(1), timer(2)])
    await spoil(store, database, "t1")
    claim = await store.claim(T0, 10, LONG_S)
    assert [found.timer_id for found in claim.timers] == ["t2"]
    assert list(claim.unreadable) == ["t1"]
    assert len(claim) == 2
    assert len(await store.claim(T0, 10, LONG_S)) == 0


async def test_empty_store_has_nothing_due(store: TimerStore) -> None:
    assert await store.put([]) == set()
    assert await store.next_due() is None
    assert await store.overdue(T0) == 0


async def test_mongodb_that_is_away_is_a_transient_error() -> None:
    away = MongoTimers("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50", "none")
    with pytest.raises(StoreAway):
        await away.start()
    await away.stop()


async def test_timers_are_found_by_index(mongo: Mongo, database: Any) -> None:
    """A million waiting timers: what is due is read from the index, not from the collection."""
    real = MongoTimers(mongo.url, database.name)
    await real.start()
    plan = await database[COLLECTION].find({"state": "pending", "due": {"$lte": T0}}).sort("due", 1).explain()
    await real.stop()
    assert "state_due" in str(plan["queryPlanner"]["winningPlan"])


@pytest.mark.parametrize(
    ("codes", "write_concern", "kept"),
    [([11000], [], True), ([11000, 121], [], False), ([11000], [{"code": 64}], False), ([], [{"code": 64}], False)],
    ids=["another instance's", "a refused one too", "duplicate and no majority", "no majority"],
)
def test_bulk_write_that_failed_has_kept_the_timers_only_where_all_it_met_is_duplicates(
    codes: list[int], write_concern: list[dict[str, int]], kept: bool
) -> None:
    """A timer counts as kept once the majority has it: a fail-over may undo what only one server has."""
    errors = [{"code": code} for code in codes]
    error = BulkWriteError({"writeErrors": errors, "writeConcernErrors": write_concern, "upserted": []})
    assert only_duplicates(error) is kept
