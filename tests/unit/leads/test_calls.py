"""What a call was, whatever order its facts come in (A1-A5, A8, A10, Q1)."""

from itertools import permutations

import pytest

from schemas.calls import CallFact
from schemas.envelope import Event
from services.leads.domain.calls import add_fact, new_call, outcome_of, waits_s
from services.leads.domain.model import Call
from tests.unit.leads.build import Desk, Ring

MISSED = Ring().missed()
ANSWERED = [
    Ring().started(), Ring().leg_answered(), Ring().leg_ended(2, "canceled"), Ring().leg_ended(1, "completed"),
    Ring().ended(),
]  # fmt: skip
HUNG_UP = [Ring().started(), Ring().leg_ended(1, "canceled"), Ring().leg_ended(2, "canceled"), Ring().ended(4)]
BOX_PICKED_UP = [Ring().started(), Ring().leg_ended(1, "completed"), Ring().leg_ended(2), Ring().ended()]
VOICEMAIL = [*HUNG_UP[:3], Ring().recorded(), Ring().ended(60)]


def _call(facts: list[Event[CallFact]]) -> Call:
    call = new_call(facts[0])
    for fact in facts:
        call = add_fact(call, fact) or call
    return call


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        pytest.param(MISSED, "missed", id="nobody took it (A3, A8)"),
        pytest.param(ANSWERED, "answered", id="an officer pressed the key"),
        pytest.param(HUNG_UP, "abandoned", id="the caller hung up while it rang (A4)"),
        pytest.param(BOX_PICKED_UP, "missed", id="a carrier's voicemail box picked up: proves nothing"),
        pytest.param(VOICEMAIL, "missed", id="left a voicemail: missed, not abandoned (Q1)"),
        pytest.param([Ring(legs=0).started(), Ring().ended()], "missed", id="nobody to ring"),
        pytest.param([Ring().completed(answered=False)], "missed", id="report: not answered (A3)"),
        pytest.param([Ring().completed(answered=True, duration_s=40)], "abandoned", id="report: no talk time (A4)"),
        pytest.param([Ring().completed(answered=True, talk_time_s=9, duration_s=40)], "answered", id="report: talked"),
    ],
)
def test_call_with_all_facts_is_decided_alike_in_any_order(facts: list[Event[CallFact]], outcome: str) -> None:
    for order in permutations(facts):
        call = _call(list(order))
        assert waits_s(call) == 0.0
        assert outcome_of(call) == outcome


@pytest.mark.parametrize(
    ("facts", "wait_s"),
    [
        pytest.param([Ring().started()], 180.0, id="no end"),
        pytest.param([Ring().ended(), Ring().leg_ended(1)], 180.0, id="no start"),
        pytest.param([Ring().recorded()], 180.0, id="a recording alone"),
        pytest.param([Ring().started(), Ring().leg_ended(1), Ring().ended()], 3.0, id="one leg's end is missing"),
        pytest.param([Ring().started(), Ring().leg_answered(), Ring().ended()], 0.0, id="a proof needs no leg ends"),
    ],
)
def test_call_with_facts_missing_waits_as_long_as_they_may_take(facts: list[Event[CallFact]], wait_s: float) -> None:
    assert waits_s(_call(facts)) == wait_s


def test_fact_that_is_there_already_adds_nothing() -> None:
    assert add_fact(_call(MISSED), MISSED[1]) is None


async def test_call_that_was_hung_up_while_ringing_settles_three_seconds_after_its_end(desk: Desk) -> None:
    await desk.give(Ring().started(), Ring().ended(4))
    await desk.settle(2.9)
    assert "outcome" not in desk.call()
    await desk.settle(0.2)
    assert (desk.call()["outcome"], desk.call()["decided_by"]) == ("missed", "after_end")
    assert desk.types == ["lead.opened", "lead.assigned"]


async def test_call_without_end_settles_after_three_minutes_from_its_newest_fact(desk: Desk) -> None:
    await desk.give(Ring().started())
    await desk.settle(170)
    await desk.give(Ring().leg_ended(1))
    await desk.settle(170)
    assert "outcome" not in desk.call()
    await desk.settle(11)
    assert desk.call()["decided_by"] == "incomplete"
    assert desk.types == ["lead.opened", "lead.assigned"]


async def test_withheld_caller_is_counted_and_makes_no_lead(desk: Desk) -> None:
    """A10."""
    await desk.give(*Ring(caller=None, withheld=True).missed())
    assert (desk.call()["outcome"], desk.call()["withheld"], desk.call()["applied"]) == ("missed", True, True)
    assert (desk.store.leads, desk.types, await desk.store.calls_settling()) == ({}, [], 0)


async def test_answered_first_call_is_kept_and_makes_no_lead(desk: Desk) -> None:
    """A1: every call is kept, for the rates need the answered ones too."""
    await desk.give(*ANSWERED)
    assert (desk.call()["outcome"], desk.store.leads, desk.types) == ("answered", {}, [])


async def test_call_whose_caller_is_named_only_after_the_decision_makes_its_lead_then(desk: Desk) -> None:
    await desk.give(Ring().recorded())
    await desk.settle(181)
    assert (desk.call()["outcome"], desk.store.leads) == ("missed", {})
    await desk.give(Ring().started())
    assert desk.types == ["lead.opened", "lead.assigned"]
    assert desk.lead()["voicemail"] is True


async def test_proof_of_an_answer_after_the_decision_tells_that_the_lead_was_contacted(desk: Desk) -> None:
    await desk.give(*MISSED)
    await desk.give(Ring().leg_answered(named=False), Ring().leg_answered(named=False))
    assert desk.types == ["lead.opened", "lead.assigned", "lead.contacted"]
    assert (desk.call()["outcome"], desk.call()["late_answer"]) == ("missed", True)
    assert desk.lead()["halt_seq"] == 3


async def test_lead_whose_second_call_is_taken_is_contacted_at_once_and_once(desk: Desk) -> None:
    await desk.give(*MISSED)
    again = Ring("CA2", offset_s=300)
    await desk.give(again.started(), again.leg_answered())
    assert desk.types[2:] == ["lead.contacted"]
    await desk.give(again.leg_ended(2, "canceled"), again.leg_ended(1, "completed"), again.ended())
    assert desk.types[2:] == ["lead.contacted"]
    assert "task" not in desk.lead()
    assert [one["outcome"] for one in desk.store.task_log.values()] == ["contacted"]


async def test_leg_answered_before_the_caller_is_known_contacts_once_a_fact_names_the_caller(desk: Desk) -> None:
    await desk.give(*MISSED)
    again = Ring("CA2", offset_s=300)
    await desk.give(again.leg_answered(named=False))
    assert desk.types[2:] == []
    await desk.give(again.started())
    assert desk.types[2:] == ["lead.contacted"]
