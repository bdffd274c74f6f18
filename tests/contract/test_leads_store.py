"""One suite for both stores of leads: what the fake promises, MongoDB keeps."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import bson.errors
import pymongo.errors
import pytest

from schemas.envelope import Wire
from services.leads.adapters.memory import Memory
from services.leads.adapters.mongo import ERRORS, Mongo, kind_of, translated
from services.leads.adapters.store import Store
from services.leads.domain.model import Call, Entry, Lead, Leg, OfficerState, Report, Task, Touch, Voicemail
from services.leads.errors import StoreAway, StoreRefused
from tests.infra import providers

NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
CALLER = "+17185550134"
LATER = NOW + timedelta(seconds=5)


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest, mongo: providers.Mongo, database: Any) -> AsyncIterator[Store]:
    """Each of the stores, empty."""
    if request.param == "memory":
        yield Memory()
        return
    real = Mongo(mongo.url, database.name)
    await real.start()
    await real.start()  # the second start finds its indexes
    yield real
    await real.stop()


def _call(key: str = "larkspur:twilio:CA1", **more: Any) -> Call:
    return Call(key, "larkspur", "twilio", key.rsplit(":", 1)[1], **more)


def _entry(seq: int) -> Entry:
    return Entry(seq, Wire("leads", b"larkspur:+1", b'{"n": 1}', [("ce_id", f"L1:{seq}".encode())]))


def _lead(lead_id: str = "L1", caller: str = CALLER, **more: Any) -> Lead:
    return Lead(lead_id, "larkspur", caller, "new-york", **more)


FULL_CALL = _call(
    caller=CALLER, branch_id="new-york", dialled="+12125550100", legs_dialled=2, started_at=NOW, ended_at=LATER,
    legs=(Leg("CA2", "dana", NOW, "completed", LATER), Leg("CA3")), voicemail=True, report=Report(True, 3.5),
    voicemails=(Voicemail("RE1", "CA1", "https://example.test", 3.0, "Hello"),), facts=("a", "b"), outcome="missed",
    decided_at=LATER, decided_by="facts", newest_fact_at=LATER, settle_at=LATER, received_at=NOW,
)  # fmt: skip
FULL_LEAD = _lead(
    owner_id="dana", lead_seq=2, halt_seq=1, seen=("x", "y"), opened_by_call="larkspur:twilio:CA1", first_contact_at=NOW,
    local_day=date(2026, 3, 3), purpose="refinance", touches={"text-now": Touch("T1", 1, "sent", NOW)},
    task=Task("L1:task:1", "callback", NOW, NOW, "high", ("missed_call",), voicemails=FULL_CALL.voicemails),
)  # fmt: skip


async def test_call_comes_back_as_it_was_stored_and_is_stored_once(store: Store) -> None:
    assert await store.find_call(FULL_CALL.key) is None
    assert await store.insert_call(FULL_CALL)
    assert not await store.insert_call(replace(FULL_CALL, caller=None))
    assert await store.find_call(FULL_CALL.key) == FULL_CALL


async def test_call_that_another_changed_is_not_saved(store: Store) -> None:
    await store.insert_call(FULL_CALL)
    saved = await store.save_call(FULL_CALL, replace(FULL_CALL, facts=("a", "b", "c"), settle_at=None))
    assert saved is not None
    assert await store.save_call(FULL_CALL, replace(FULL_CALL, outcome="answered")) is None
    assert await store.find_call(FULL_CALL.key) == saved
    assert (saved.rev, saved.settle_at) == (1, None)
    assert await store.save_call(_call("larkspur:twilio:CA9"), FULL_CALL) is None


async def test_due_call_is_claimed_by_one_and_again_when_its_lease_is_over(store: Store) -> None:
    lease_over = LATER + timedelta(days=1)
    await store.insert_call(_call(settle_at=LATER, ended_at=NOW))
    await store.insert_call(_call("larkspur:twilio:CA2", settle_at=NOW, ended_at=NOW))
    await store.insert_call(_call("larkspur:twilio:CA3"))
    await store.insert_call(_call("larkspur:twilio:CA4", settle_at=lease_over))  # still going on
    assert not await store.call_due(NOW - timedelta(seconds=1))
    assert await store.call_due(NOW)
    lease = LATER + timedelta(seconds=10)
    claims = await asyncio.gather(*(store.claim_call(LATER, lease) for _ in range(4)))
    assert sorted(one.call_id for one in claims if one) == ["CA1", "CA2"]
    assert await store.calls_settling() == 2
    again = await store.claim_call(lease, lease)
    assert again is not None


async def test_claim_makes_a_fact_decided_before_it_be_read_again(store: Store) -> None:
    call = _call(settle_at=NOW)
    await store.insert_call(call)
    await store.claim_call(NOW, LATER)
    assert await store.save_call(call, replace(call, facts=("a",))) is None


async def test_finished_call_settles_no_more_and_says_what_was_done(store: Store) -> None:
    await store.insert_call(FULL_CALL)
    await store.finish_call(FULL_CALL.key, applied=False)
    waiting = await store.find_call(FULL_CALL.key)
    await store.finish_call(FULL_CALL.key, applied=True)
    await store.finish_call(FULL_CALL.key, applied=False)
    done = await store.find_call(FULL_CALL.key)
    assert waiting is not None
    assert done is not None
    assert (waiting.applied, waiting.settle_at, done.applied) == (False, None, True)
    assert await store.calls_settling() == 0


async def test_lead_comes_back_as_it_was_stored_and_a_caller_has_one(store: Store) -> None:
    """B4."""
    assert await store.find_lead("larkspur", CALLER) is None
    assert await store.insert_lead(FULL_LEAD, NOW)
    assert not await store.insert_lead(_lead("L2"), NOW)
    assert not await store.insert_lead(_lead(caller="+17185550199"), NOW)
    assert await store.find_lead("larkspur", CALLER) == FULL_LEAD


async def test_outbox_keeps_order_and_age_until_every_entry_is_pulled(store: Store) -> None:
    lead = replace(FULL_LEAD, lead_seq=1, outbox=(_entry(1),))
    assert await store.insert_lead(lead, NOW)
    saved = await store.save_lead(lead, replace(lead, lead_seq=2, outbox=(_entry(1), _entry(2)), task=None), LATER)
    assert saved is not None
    assert (saved.outbox, saved.outbox_since, saved.task) == ((_entry(1), _entry(2)), NOW, None)
    assert await store.outboxes_pending() == 1
    assert await store.leads_to_emit(NOW - timedelta(seconds=1), 10) == []
    assert await store.leads_to_emit(NOW, 10) == [saved]
    await store.pull_outbox("L1", 1)
    left = await store.find_lead("larkspur", CALLER)
    assert left is not None
    assert (left.outbox, left.outbox_since, left.rev) == ((_entry(2),), NOW, 1)
    await store.pull_outbox("L1", 2)
    assert await store.outboxes_pending() == 0


async def test_entry_that_was_pulled_does_not_come_back_with_an_older_copy_of_the_lead(store: Store) -> None:
    lead = replace(FULL_LEAD, lead_seq=1, outbox=(_entry(1),))
    await store.insert_lead(lead, NOW)
    await store.pull_outbox("L1", 1)
    saved = await store.save_lead(lead, replace(lead, lead_seq=2, outbox=(_entry(1), _entry(2))), LATER)
    assert saved is not None
    assert (saved.outbox, saved.outbox_since) == ((_entry(2),), LATER)


async def test_lead_that_another_changed_is_not_saved(store: Store) -> None:
    await store.insert_lead(FULL_LEAD, NOW)
    assert await store.save_lead(FULL_LEAD, replace(FULL_LEAD, owner_id="june"), NOW)
    assert await store.save_lead(FULL_LEAD, replace(FULL_LEAD, lead_seq=3, outbox=(_entry(3),)), NOW) is None
    assert await store.outboxes_pending() == 0


async def test_officer_is_taken_by_one_of_two(store: Store) -> None:
    await store.add_officers([OfficerState("dana", status="busy"), OfficerState("june")])
    await store.add_officers([OfficerState("dana", status="off")])
    found = await store.officers(["dana", "june", "nobody"])
    assert found == {"dana": OfficerState("dana", status="busy"), "june": OfficerState("june")}
    dana = found["dana"]
    taken = replace(dana, day=date(2026, 3, 3), assigned_today=1, last_assigned_at=NOW, taken=("e1",))
    assert await store.save_officer(dana, taken)
    assert not await store.save_officer(dana, taken)
    assert await store.officers(["dana"]) == {"dana": replace(taken, rev=1)}


async def test_messages_are_stored_once_and_found_by_caller_oldest_first(store: Store) -> None:
    for n, direction in enumerate(("in", "in", "out", "in")):
        message = {
            "_id": f"m{n}" if direction == "in" else "T1:sent", "lender_id": "larkspur", "caller": CALLER,
            "direction": direction, "at": NOW + timedelta(seconds=n), "body": "x",
        }  # fmt: skip
        assert await store.put_message(message)
        assert not await store.put_message({**message, "body": "y"})
    assert [one["_id"] for one in await store.messages_in("larkspur", CALLER, 2)] == ["m1", "m3"]
    await store.mark_delivered("T1", NOW)
    await store.mark_delivered("T2", NOW)


async def test_closed_task_is_logged_once(store: Store) -> None:
    assert FULL_LEAD.task is not None
    for _ in range(2):
        await store.log_task(FULL_LEAD, replace(FULL_LEAD.task, state="done", outcome="contacted"))


async def test_number_is_suppressed_until_it_is_taken_back_and_again(store: Store) -> None:
    assert not await store.is_suppressed("h")
    await store.unsuppress("h", "larkspur", NOW, "e0")
    assert not await store.is_suppressed("h")
    for _ in range(2):
        await store.suppress("h", "larkspur", NOW, "keyword", "e1")
    assert await store.is_suppressed("h")
    await store.unsuppress("h", "larkspur", NOW, "e2")
    assert not await store.is_suppressed("h")
    await store.suppress("h", "larkspur", LATER, "carrier", "e3")
    assert await store.is_suppressed("h")


async def test_key_check_is_made_by_the_first_and_compared_by_all(store: Store) -> None:
    assert await store.check_key("k1")
    assert await store.check_key("k1")
    assert not await store.check_key("k2")


async def test_store_that_is_away_is_a_transient_error_of_ours() -> None:
    nobody = Mongo("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50", "x")
    with pytest.raises(StoreAway, match="ServerSelectionTimeoutError"):
        await nobody.find_lead("larkspur", CALLER)
    await nobody.stop()


async def test_document_that_can_never_be_stored_is_a_permanent_error_of_ours(
    request: pytest.FixtureRequest, mongo: providers.Mongo, database: Any
) -> None:
    real = Mongo(mongo.url, database.name)
    with pytest.raises(StoreRefused):
        await real.put_message({"_id": "m", "odd": object()})
    await real.stop()


async def test_settling_and_sweeping_are_found_by_index(mongo: providers.Mongo, database: Any) -> None:
    """Neither costs more with the calls and leads stored."""
    real = Mongo(mongo.url, database.name)
    await real.start()
    for collection, name in (("calls", "settle_at"), ("leads", "outbox_since")):
        plan = await database[collection].find({name: {"$lte": NOW}}).sort(name, 1).explain()
        assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])
    await real.stop()


def _family(error: type[Exception]) -> list[type[Exception]]:
    return [error, *(one for child in error.__subclasses__() for one in _family(child))]


@pytest.mark.parametrize("error", [*_family(pymongo.errors.PyMongoError), *_family(bson.errors.BSONError)])
def test_every_error_of_the_driver_is_mapped_and_a_new_kind_is_noticed(error: type[Exception]) -> None:
    assert issubclass(kind_of(error), StoreAway | StoreRefused)
    near = [model for model in error.__mro__ if model in ERRORS]
    # Falling back on the root is allowed only for what has been looked at.
    assert near[0] is not pymongo.errors.PyMongoError or error.__name__ in {
        "PyMongoError", "_PoolClosedError", "GridFSError", "CorruptGridFile", "NoFile", "FileExists",
    }  # fmt: skip


def test_wrong_command_is_refused_and_a_lost_primary_is_waited_for() -> None:
    assert isinstance(translated(pymongo.errors.OperationFailure("x", 121)), StoreRefused)
    assert isinstance(translated(pymongo.errors.OperationFailure("x", 11602)), StoreAway)
