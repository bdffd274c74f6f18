"""One caller's story: causes before effects, in words of people."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.system import EXAMPLE_DIRECTORY
from services.cli.explaining.story import FAR, Records, head_of, story_of
from services.policy.directory import load_directory

LENDER = load_directory(EXAMPLE_DIRECTORY)
AT = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
CALLER = "+12055550101"
ENDED = AT + timedelta(seconds=20)
DECIDED = ENDED + timedelta(seconds=3)


def call(**more: Any) -> dict[str, Any]:
    return {
        "_id": "larkspur:twilio:CA1",
        "dialled": "+12125550100",
        "legs_dialled": 2,
        "started_at": AT,
        "ended_at": ENDED,
        "end_status": "completed",
        "outcome": "missed",
        "decided_at": DECIDED,
        "decided_by": "after_end",
        **more,
    }


def lead(**more: Any) -> dict[str, Any]:
    return {
        "_id": "lead-1",
        "branch_id": "new-york",
        "status": "attempted_contact",
        "texting": "open",
        "owner_id": "dana-whitfield",
        "source": "Inbound missed call",
        "first_contact_at": AT,
        "opened_by_call": "larkspur:twilio:CA1",
        "task": {"kind": "callback", "urgency": "normal", "created_at": DECIDED, "reasons": ["missed_call"]},
        **more,
    }


def delivery(**more: Any) -> dict[str, Any]:
    return {
        "step": "text-now",
        "attempt": 1,
        "template": "missed_call_first",
        "due_at": ENDED,
        "at": DECIDED,
        "expires_at": ENDED + timedelta(minutes=5),
        "state": "delivered",
        "sent_at": DECIDED,
        "body": "Hi",
        "variant": "free",
        "template_version": 1,
        "rule": "first-text-variant",
        **more,
    }


def kinds(records: Records) -> list[str]:
    return [line.kind for line in story_of(records, LENDER)]


def test_lead_is_opened_when_its_call_is_decided_and_not_when_it_began() -> None:
    lines = story_of(Records(lead=lead(), calls=[call()]), LENDER)
    decision = next(n for n, line in enumerate(lines) if line.kind == "decision")
    opened = next(n for n, line in enumerate(lines) if line.what.startswith("opened"))
    assert opened > decision
    assert lines[opened].at == lines[decision].at == DECIDED


def test_missed_call_is_told_from_cause_to_effect_although_all_of_it_is_one_instant() -> None:
    records = Records(lead=lead(), calls=[call(ended_at=DECIDED)], deliveries=[delivery(due_at=DECIDED)])
    assert kinds(records) == ["call", "call", "decision", "lead", "task", "touch", "text", "receipt"]


def test_touch_that_is_due_since_the_calls_end_comes_after_the_decision_that_caused_it() -> None:
    records = Records(lead=lead(), calls=[call()], deliveries=[delivery()])
    assert kinds(records) == ["call", "call", "decision", "lead", "task", "touch", "text", "receipt"]


def test_lead_of_a_second_call_keeps_the_date_of_the_call_that_opened_it() -> None:
    later = timedelta(hours=1)
    second = call(_id="larkspur:twilio:CA2", started_at=AT + later, ended_at=ENDED + later, decided_at=DECIDED + later)
    lines = story_of(Records(lead=lead(), calls=[second, call()]), LENDER)
    assert next(line.at for line in lines if line.what.startswith("opened")) == DECIDED


def test_lead_that_a_text_opened_is_dated_by_that_text() -> None:
    text = {"direction": "in", "at": AT, "body": "refinance?", "intents": ["interest"]}
    records = Records(lead=lead(opened_by_call=None, task=None), messages=[text])
    lines = story_of(records, LENDER)
    assert {line.kind: line.at for line in lines} == {"reply": AT, "lead": AT}


def test_call_that_is_not_decided_yet_has_no_decision_and_no_time_of_its_own_is_needed() -> None:
    lines = story_of(Records(calls=[{"_id": "c", "newest_fact_at": AT}, {"_id": "d"}]), LENDER)
    assert [(line.kind, line.at) for line in lines] == [("call", AT), ("call", FAR)]


def test_held_text_says_why() -> None:
    held = delivery(state="suppressed", reason="opted_out", sent_at=None, ended_at=DECIDED)
    lines = story_of(Records(deliveries=[held]), LENDER)
    assert [(line.kind, line.why) for line in lines][1:] == [("held", "opted_out")]


def test_words_are_calls_and_not_rings() -> None:
    lines = story_of(Records(calls=[call(), call(_id="2", legs_dialled=0), call(_id="3", legs_dialled=1)]), LENDER)
    told = [(line.what, line.why) for line in lines if line.what.startswith("called")]
    assert {what for what, _ in told} == {"called +12125550100"}
    assert {why for _, why in told} == {"2 phones called", "no phone of ours called", "1 phone called"}


def test_head_says_where_the_lead_stands() -> None:
    head = head_of(lead(), LENDER)
    assert "New York, attempted contact, texting open, owner Dana Whitfield" in head
    assert head_of(None, LENDER) == "no lead"


def without(document: dict[str, Any], field: str) -> dict[str, Any]:
    return {"_id": "odd", **{name: value for name, value in document.items() if name not in (field, "_id")}}


@pytest.mark.parametrize(
    "odd",
    [
        Records(lead=without(lead(opened_by_call="gone"), "first_contact_at")),
        Records(lead={"_id": "odd"}),
        Records(deliveries=[without(delivery(), "step")]),
        Records(timers=[{"_id": "odd"}]),
        Records(timers=[{"_id": "odd", "due": "soon"}]),
        Records(messages=[{"_id": "odd", "direction": "in"}]),
        Records(calls=[call(_id="odd", started_at="2026-03-10")]),
    ],
    ids=["lead", "empty lead", "delivery", "timer", "due is no time", "message", "call"],
)
def test_record_that_lacks_a_field_is_one_line_and_the_rest_is_told(odd: Records) -> None:
    lines = story_of(replace(odd, task_log=[{"kind": "callback", "closed_at": AT}]), LENDER)
    assert [(line.kind, line.what) for line in lines] == [
        ("task", "callback closed"),
        ("unreadable", "unreadable record odd"),
    ]
    assert head_of(odd.lead, LENDER)
