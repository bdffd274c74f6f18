"""One suite for both stores of leads: what the fake promises, MongoDB keeps."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from schemas.envelope import Wire
from services.leads.adapters.mongo import MongoLeads
from services.leads.adapters.store import LeadStore
from services.leads.domain.messages import Message, Reply, TouchRecord
from services.leads.domain.model import (
    Call,
    Lead,
    LeftOutbox,
    Leg,
    OfficerState,
    OutboxEntry,
    ReportedTalk,
    StepStanding,
    Task,
    Voicemail,
)
from services.policy.optout import Keyword
from services.runtime.mongo_errors import StoreAway, StoreRefused
from tests.contract.leads.conftest import Documents
from tests.infra import providers
from tests.infra.profile import profiled

NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
CALLER = "+17185550134"
LATER = NOW + timedelta(seconds=5)


def _call(key: str = "larkspur:twilio:CA1", **more: Any) -> Call:
    return Call(
        key=key,
        lender_id="larkspur",
        provider="twilio",
        call_id=key.rsplit(":", 1)[1],
        **{"newest_fact_at": NOW, **more},
    )


def _entry(seq: int) -> OutboxEntry:
    return OutboxEntry(
        seq, Wire(topic="leads", key=b"larkspur:+1", value=b'{"n": 1}', headers=[("ce_id", f"L1:{seq}".encode())])
    )


def _lead(lead_id: str = "L1", caller: str = CALLER, **more: Any) -> Lead:
    return Lead(
        lead_id=lead_id,
        lender_id="larkspur",
        caller=caller,
        branch_id="new-york",
        first_contact_at=NOW,
        opened_by_call="larkspur:twilio:CA1",
        **more,
    )


FULL_CALL = _call(
    caller=CALLER,
    branch_id="new-york",
    dialled="+12125550100",
    legs_dialled=2,
    started_at=NOW,
    ended_at=LATER,
    legs=(Leg(leg_id="CA2", officer_id="dana", answered_at=NOW, status="completed", ended_at=LATER), Leg(leg_id="CA3")),
    voicemail=True,
    report=ReportedTalk(True, 3.5),
    voicemails=(
        Voicemail(recording_id="RE1", call_id="CA1", url="https://example.test", duration_s=3.0, transcript="Hello"),
    ),
    facts=("a", "b"),
    outcome="missed",
    decided_at=LATER,
    decided_by="facts",
    newest_fact_at=LATER,
    settle_at=LATER,
    received_at=NOW,
    partition=3,
)
TASK = Task(
    task_id="L1:task:1",
    kind="callback",
    due_at=NOW,
    created_at=NOW,
    urgency="high",
    reasons=("missed_call",),
    voicemails=FULL_CALL.voicemails,
)
FULL_LEAD = _lead(
    owner_id="dana",
    lead_seq=2,
    halt_seq=1,
    seen=("x", "y"),
    first_reply_at=NOW,
    local_day=date(2026, 3, 3),
    purpose="refinance",
    touches={"text-now": StepStanding(touch_id="T1", attempt=1, state="sent", at=NOW, sent_at=NOW)},
    task=TASK,
    task_closed=replace(TASK, state="done", closed_at=LATER, outcome="contacted"),
    sequence_days=("2026-03-02", "2026-03-03"),
    opted_in_at=NOW,
    last_text_at=LATER,
)


def _reply(event_id: str, at: datetime, **more: Any) -> Reply:
    return Reply(
        event_id=event_id,
        lender_id="larkspur",
        at=at,
        message_id=event_id,
        to="+12125550100",
        event_at=at,
        **{"caller": CALLER, "body": "Hello", "keyword": Keyword.NONE, **more},
    )


def _sent(touch_id: str, at: datetime) -> TouchRecord:
    return TouchRecord(
        event_id=f"{touch_id}:sent",
        lender_id="larkspur",
        caller=CALLER,
        lead_id="L1",
        touch_id=touch_id,
        sequence_id="S1",
        step="text-now",
        attempt=1,
        state="sent",
        at=at,
        body="We missed you",
        from_number="+12125550100",
    )


async def test_call_comes_back_as_it_was_stored_and_is_stored_once(store: LeadStore) -> None:
    assert await store.find_call(FULL_CALL.key) is None
    assert await store.insert_call(FULL_CALL)
    assert not await store.insert_call(replace(FULL_CALL, caller=None))
    assert await store.find_call(FULL_CALL.key) == FULL_CALL


async def test_call_that_another_changed_is_not_saved(store: LeadStore) -> None:
    await store.insert_call(FULL_CALL)
    saved = await store.save_call(FULL_CALL, replace(FULL_CALL, facts=("a", "b", "c"), settle_at=None))
    assert saved is not None
    assert await store.save_call(FULL_CALL, replace(FULL_CALL, outcome="answered")) is None
    assert await store.find_call(FULL_CALL.key) == saved
    assert (saved.rev, saved.settle_at) == (1, None)
    assert await store.save_call(_call("larkspur:twilio:CA9"), FULL_CALL) is None


async def test_due_call_is_claimed_by_one_and_again_when_its_lease_is_over(store: LeadStore) -> None:
    lease_over = LATER + timedelta(days=1)
    await store.insert_call(_call(settle_at=LATER, ended_at=NOW))
    await store.insert_call(_call("larkspur:twilio:CA2", settle_at=NOW, ended_at=NOW))
    await store.insert_call(_call("larkspur:twilio:CA3"))
    await store.insert_call(_call("larkspur:twilio:CA4", settle_at=lease_over))  # still going on
    assert await store.calls_due(NOW - timedelta(seconds=1), [], 10) == []
    assert [call.key for call in await store.calls_due(LATER, [], 1)] == ["larkspur:twilio:CA2"]
    due = [call.key for call in await store.calls_due(LATER, [], 10)]
    assert due == ["larkspur:twilio:CA2", "larkspur:twilio:CA1"]
    lease = LATER + timedelta(seconds=10)
    claims = await asyncio.gather(*(store.claim_call(key, LATER, lease) for key in [*due, *due]))
    assert sorted(one.call_id for one in claims if one) == ["CA1", "CA2"]
    assert await store.calls_settling() == 2
    assert await store.calls_due(LATER, [], 10) == []
    again = await store.claim_call("larkspur:twilio:CA1", lease, lease)
    assert again is not None


async def test_undecided_calls_are_due_to_the_owner_of_their_partition_and_decided_ones_to_anyone(
    store: LeadStore,
) -> None:
    for call in (
        _call("larkspur:twilio:CA1", settle_at=NOW, partition=3, caller=CALLER),
        _call("larkspur:twilio:CA2", settle_at=NOW, partition=4),
        _call("larkspur:twilio:CA3", settle_at=NOW, partition=4, outcome="missed", decided_at=NOW),
        _call("larkspur:twilio:CA4", settle_at=NOW),  # of an older version
    ):
        await store.insert_call(call)
    due = {one.call_id: one for one in await store.calls_due(NOW, [3, 5], 10)}
    assert due.keys() == {"CA1", "CA3", "CA4"}
    assert (due["CA1"].caller, due["CA1"].is_decided, due["CA3"].is_decided) == (CALLER, False, True)
    undecided = await store.calls_undecided(NOW, 10)
    assert {one.call_id for one in undecided} == {"CA1", "CA2", "CA4"}
    assert await store.calls_undecided(NOW - timedelta(seconds=1), 10) == []


async def test_call_that_was_said_to_be_undecided_stays_as_it_is_and_says_so(store: LeadStore) -> None:
    call = _call(settle_at=NOW, caller=CALLER)
    await store.insert_call(call)
    await store.note_undecided(call.key)
    saved = await store.save_call(call, replace(call, facts=("a",)))
    assert saved is not None
    assert await store.calls_undecided(NOW, 10, untold=True) == []
    (found,) = await store.calls_undecided(NOW, 10)
    assert found.said_undecided
    stored = await store.find_call(call.key)
    assert stored is not None
    assert (stored.said_undecided, stored.facts) == (True, ("a",))


async def test_claim_makes_a_fact_decided_before_it_be_read_again(store: LeadStore) -> None:
    call = _call(settle_at=NOW)
    await store.insert_call(call)
    await store.claim_call(call.key, NOW, LATER)
    assert await store.save_call(call, replace(call, facts=("a",))) is None


async def test_finished_call_settles_no_more_and_says_what_was_done(store: LeadStore) -> None:
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


async def test_lead_comes_back_as_it_was_stored_and_a_caller_has_one(store: LeadStore) -> None:
    """Fact B4: an existing record of the phone number is found before one is made."""
    assert await store.find_lead("larkspur", CALLER) is None
    assert await store.insert_lead(FULL_LEAD, NOW)
    assert not await store.insert_lead(_lead("L2"), NOW)
    assert not await store.insert_lead(_lead(caller="+17185550199"), NOW)
    assert await store.find_lead("larkspur", CALLER) == FULL_LEAD


async def test_outbox_keeps_order_and_age_until_every_entry_is_pulled(store: LeadStore) -> None:
    lead = replace(FULL_LEAD, lead_seq=1, outbox=(_entry(1),))
    assert await store.insert_lead(lead, NOW)
    saved = await store.save_lead(lead, replace(lead, lead_seq=2, outbox=(_entry(1), _entry(2)), task=None), LATER)
    assert saved is not None
    assert (saved.outbox, saved.outbox_since, saved.task) == ((_entry(1), _entry(2)), NOW, None)
    assert await store.outboxes_pending() == 1
    assert await store.outboxes_left(NOW - timedelta(seconds=1), 10) == []
    assert await store.outboxes_left(NOW, 10) == [LeftOutbox("L1", f"larkspur:{CALLER}".encode(), NOW)]
    assert await store.lead_by_id("L1") == saved
    await store.pull_outbox("L1", 1)
    left = await store.find_lead("larkspur", CALLER)
    assert left is not None
    assert (left.outbox, left.outbox_since, left.rev) == ((_entry(2),), NOW, 1)
    await store.pull_outbox("L1", 2)
    assert await store.outboxes_pending() == 0


async def test_entry_that_was_pulled_does_not_come_back_with_an_older_copy_of_the_lead(store: LeadStore) -> None:
    lead = replace(FULL_LEAD, lead_seq=1, outbox=(_entry(1),))
    await store.insert_lead(lead, NOW)
    await store.pull_outbox("L1", 1)
    saved = await store.save_lead(lead, replace(lead, lead_seq=2, outbox=(_entry(1), _entry(2))), LATER)
    assert saved is not None
    assert (saved.outbox, saved.outbox_since) == ((_entry(2),), LATER)


async def test_lead_that_another_changed_is_not_saved(store: LeadStore) -> None:
    await store.insert_lead(FULL_LEAD, NOW)
    assert await store.save_lead(FULL_LEAD, replace(FULL_LEAD, owner_id="june"), NOW)
    assert await store.save_lead(FULL_LEAD, replace(FULL_LEAD, lead_seq=3, outbox=(_entry(3),)), NOW) is None
    assert await store.outboxes_pending() == 0


async def test_officer_is_taken_by_one_of_two(store: LeadStore) -> None:
    await store.add_officers([OfficerState(officer_id="dana", status="busy"), OfficerState(officer_id="june")])
    await store.add_officers([OfficerState(officer_id="dana", status="off")])
    found = await store.officers(["dana", "june", "nobody"])
    assert found == {"dana": OfficerState(officer_id="dana", status="busy"), "june": OfficerState(officer_id="june")}
    dana = found["dana"]
    taken = replace(dana, day=date(2026, 3, 3), assigned_today=1, last_assigned_at=NOW, taken=("e1",))
    assert await store.save_officer(dana, taken)
    assert not await store.save_officer(dana, taken)
    assert await store.officers(["dana"]) == {"dana": replace(taken, rev=1)}


async def test_reply_is_stored_once_as_it_was_read(store: LeadStore) -> None:
    reply = _reply("m1", NOW, keyword=Keyword.STOP, intents=("callback",), ringback_received=LATER, traceparent="00-1")
    assert await store.put_message(reply)
    assert not await store.put_message(replace(reply, body="another"))
    assert await store.replies_of("larkspur", CALLER, 10) == [reply]


async def test_replies_are_the_callers_own_newest_texts_oldest_first(store: LeadStore) -> None:
    replies = [_reply(f"m{n}", NOW + timedelta(seconds=n)) for n in (2, 0, 1)]
    messages: list[Message] = [*replies, _sent("T1", LATER), _reply("other", LATER, caller="+17185550199")]
    for message in messages:
        assert await store.put_message(message)
    assert [one.event_id for one in await store.replies_of("larkspur", CALLER, 2)] == ["m1", "m2"]


async def test_sent_text_that_reached_the_handset_says_so(store: LeadStore, documents: Documents) -> None:
    await store.put_message(_sent("T1", NOW))
    await store.put_message(_sent("T2", NOW))
    await store.mark_delivered("T1", LATER)
    first, second = await documents("messages", "T1:sent"), await documents("messages", "T2:sent")
    assert (first["state"], first["at"], first["from"], first["delivered_at"]) == ("sent", NOW, "+12125550100", LATER)
    assert "delivered_at" not in second


async def test_delivery_of_a_text_that_is_not_stored_makes_no_message(store: LeadStore, documents: Documents) -> None:
    await store.mark_delivered("T1", LATER)
    assert await documents("messages", "T1:sent") == {}


async def test_closed_task_is_logged_once_with_whose_it_was(store: LeadStore, documents: Documents) -> None:
    await store.log_task(FULL_LEAD, replace(TASK, state="done", closed_at=NOW, outcome="contacted"))
    await store.log_task(
        replace(FULL_LEAD, owner_id="june"), replace(TASK, state="done", closed_at=LATER, outcome="closed")
    )
    logged = await documents("task_log", "L1:task:1")
    assert (logged["outcome"], logged["closed_at"], logged["reasons"]) == ("contacted", NOW, ["missed_call"])
    assert (logged["lead_id"], logged["lender_id"], logged["owner_id"]) == ("L1", "larkspur", "dana")


async def test_text_is_found_by_its_event(store: LeadStore) -> None:
    assert await store.find_reply("m1") is None
    await store.put_message(_reply("m1", NOW))
    assert await store.find_reply("m1") == _reply("m1", NOW)


async def test_talks_of_a_caller_are_those_that_began_since(store: LeadStore) -> None:
    talked = _call("larkspur:twilio:CA1", caller=CALLER, legs=(Leg(leg_id="L1", answered_at=NOW),))
    for call in (
        talked,
        _call("larkspur:twilio:CA2", caller=CALLER, legs=(Leg(leg_id="L1", status="no-answer"),), ended_at=LATER),
        _call("larkspur:twilio:CA3", caller=CALLER, report=ReportedTalk(True, 0.0), ended_at=LATER),
        _call("larkspur:twilio:CA4", caller="+17185550199", legs=(Leg(leg_id="L1", answered_at=LATER),)),
        _call("larkspur:twilio:CA5", caller=CALLER, report=ReportedTalk(True, 9.0), ended_at=LATER),
    ):
        await store.insert_call(call)
    assert {one.call_id for one in await store.talks_since("larkspur", CALLER, NOW)} == {"CA1", "CA5"}
    assert [one.call_id for one in await store.talks_since("larkspur", CALLER, LATER)] == ["CA5"]


async def test_store_that_is_away_is_a_transient_error_of_ours() -> None:
    nobody = MongoLeads("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50", "x")
    with pytest.raises(StoreAway, match="ServerSelectionTimeoutError"):
        await nobody.find_lead("larkspur", CALLER)
    await nobody.stop()


async def test_document_that_can_never_be_stored_is_a_permanent_error_of_ours(store: LeadStore) -> None:
    with pytest.raises(StoreRefused):
        await store.put_message(_reply("m1", NOW, body="x" * 16 * 1024 * 1024))


async def test_lead_with_a_task_whose_owner_has_left_is_found_and_no_other(store: LeadStore) -> None:
    left = [_lead(f"L{n}", f"+1718555{n:04}", owner_id="left", task=TASK) for n in range(2)]
    claimed = _lead("L2", "+17185550002", owner_id="left too", task=replace(TASK, state="claimed"))
    others = [
        _lead("L3", "+17185550003", owner_id="dana", task=TASK),
        _lead("L4", "+17185550004", owner_id="left"),
        _lead("L5", "+17185550005", task=TASK),
        replace(_lead("L6", "+17185550006", owner_id="left", task=TASK), lender_id="another"),
    ]
    for lead in (*left, claimed, *others):
        assert await store.insert_lead(lead, NOW)
    found = await store.leads_of_others("larkspur", ["dana", "june"], 10)
    assert (set(found), len(found)) == ({"L0", "L1", "L2"}, 3)
    pages = [await store.leads_of_others("larkspur", ["dana", "june"], 2, skip) for skip in (0, 2)]
    assert [*pages[0], *pages[1]] == found


async def test_leads_of_who_has_left_are_found_without_a_look_at_others(mongo: providers.Mongo, database: Any) -> None:
    real = MongoLeads(mongo.url, database.name)
    await real.start()
    for n in range(50):
        await real.insert_lead(_lead(f"L{n}", f"+1718555{n:04}", owner_id="dana" if n else "left", task=TASK), NOW)
    async with profiled(database, "leads") as profile:
        assert await real.leads_of_others("larkspur", ["dana", "june"], 10) == ["L0"]
        assert await profile.examined() == 1
    await real.stop()


async def test_settling_and_sweeping_are_found_by_index(mongo: providers.Mongo, database: Any) -> None:
    """Neither costs more with the calls and leads stored."""
    real = MongoLeads(mongo.url, database.name)
    await real.start()
    for collection, name in (("calls", "settle_at"), ("leads", "outbox_since")):
        plan = await database[collection].find({name: {"$lte": NOW}}).sort(name, 1).explain()
        assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])
    await real.stop()
