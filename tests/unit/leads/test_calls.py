"""What a call was, whatever order its facts come in.

Facts A1-A5, A8, A10, Q1: every call is told of, answered or not; a person of ours who talked makes it answered; missed and
abandoned calls are recovered alike; a caller who hangs up after one ring counts; a withheld number makes no lead; a
voicemail is a miss.
"""

from itertools import permutations

import pytest

from schemas.calls import CallFact
from schemas.envelope import Event
from services.leads.domain.call_outcome import add_fact, new_call, outcome_of, waits_s
from services.leads.domain.model import Call
from tests.unit.leads.events import InboundCall
from tests.unit.leads.rig import Rig

MISSED = InboundCall().missed()
ANSWERED = [
    InboundCall().started(),
    InboundCall().leg_answered(),
    InboundCall().leg_ended(2, "canceled"),
    InboundCall().leg_ended(1, "completed"),
    InboundCall().ended(),
]
HUNG_UP = [
    InboundCall().started(),
    InboundCall().leg_ended(1, "canceled"),
    InboundCall().leg_ended(2, "canceled"),
    InboundCall().ended(4),
]
BOX_PICKED_UP = [
    InboundCall().started(),
    InboundCall().leg_ended(1, "completed"),
    InboundCall().leg_ended(2),
    InboundCall().ended(),
]
VOICEMAIL = [*HUNG_UP[:3], InboundCall().recorded(), InboundCall().ended(60)]


def _call(facts: list[Event[CallFact]]) -> Call:
    call = new_call(facts[0])
    for fact in facts:
        call = add_fact(call, fact) or call
    return call


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        pytest.param(MISSED, "missed", id="nobody took it"),
        pytest.param(ANSWERED, "answered", id="an officer pressed the key"),
        pytest.param(HUNG_UP, "abandoned", id="the caller hung up while it rang"),
        pytest.param(BOX_PICKED_UP, "missed", id="a carrier's voicemail box picked up: proves nothing"),
        pytest.param(VOICEMAIL, "missed", id="left a voicemail: missed, not abandoned"),
        pytest.param([InboundCall(legs=0).started(), InboundCall().ended()], "missed", id="nobody to dial"),
        pytest.param([InboundCall().completed(answered=False)], "missed", id="report: not answered"),
        pytest.param([InboundCall().completed(answered=True, duration_s=40)], "abandoned", id="report: no talk time"),
        pytest.param(
            [InboundCall().completed(answered=True, talk_time_s=9, duration_s=40)], "answered", id="report: talked"
        ),
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
        pytest.param([InboundCall().started()], 180.0, id="no end"),
        pytest.param([InboundCall().ended(), InboundCall().leg_ended(1)], 180.0, id="no start"),
        pytest.param([InboundCall().recorded()], 180.0, id="a recording alone"),
        pytest.param(
            [InboundCall().started(), InboundCall().leg_ended(1), InboundCall().ended()],
            3.0,
            id="one leg's end is missing",
        ),
        pytest.param(
            [InboundCall().started(), InboundCall().leg_answered(), InboundCall().ended()],
            0.0,
            id="a proof needs no leg ends",
        ),
    ],
)
def test_call_with_facts_missing_waits_as_long_as_they_may_take(facts: list[Event[CallFact]], wait_s: float) -> None:
    assert waits_s(_call(facts)) == wait_s


def test_fact_that_is_there_already_adds_nothing() -> None:
    assert add_fact(_call(MISSED), MISSED[1]) is None


async def test_call_without_leg_ends_settles_three_seconds_after_its_end(rig: Rig) -> None:
    await rig.give(InboundCall().started(), InboundCall().ended(4))
    await rig.settle(2.9)
    assert "outcome" not in rig.call()
    await rig.settle(0.2)
    assert (rig.call()["outcome"], rig.call()["decided_by"]) == ("missed", "after_end")
    assert rig.types == ["lead.opened", "lead.assigned"]


async def test_call_without_end_settles_after_three_minutes_from_its_newest_fact(rig: Rig) -> None:
    await rig.give(InboundCall().started())
    await rig.settle(170)
    await rig.give(InboundCall().leg_ended(1))
    await rig.settle(170)
    assert "outcome" not in rig.call()
    await rig.settle(11)
    assert rig.call()["decided_by"] == "incomplete"
    assert rig.types == ["lead.opened", "lead.assigned"]


async def test_withheld_caller_is_counted_and_makes_no_lead(rig: Rig) -> None:
    """Fact A10: a withheld number makes no lead and no text."""
    await rig.give(*InboundCall(caller=None, withheld=True).missed())
    assert (rig.call()["outcome"], rig.call()["withheld"], rig.call()["applied"]) == ("missed", True, True)
    assert (rig.store.leads, rig.types, await rig.store.calls_settling()) == ({}, [], 0)


async def test_answered_first_call_is_kept_and_makes_no_lead(rig: Rig) -> None:
    """Fact A1: every call is kept; the rates need the answered ones too."""
    await rig.give(*ANSWERED)
    assert (rig.call()["outcome"], rig.store.leads, rig.types) == ("answered", {}, [])


async def test_call_whose_caller_is_named_only_after_the_decision_makes_its_lead_then(rig: Rig) -> None:
    await rig.give(InboundCall().recorded())
    await rig.settle(181)
    assert (rig.call()["outcome"], rig.store.leads) == ("missed", {})
    await rig.give(InboundCall().started())
    assert rig.types == ["lead.opened", "lead.assigned"]
    assert rig.lead()["voicemail"] is True


async def test_proof_of_an_answer_after_the_decision_tells_that_the_lead_was_contacted(rig: Rig) -> None:
    await rig.give(*MISSED)
    await rig.give(InboundCall().leg_answered(named=False), InboundCall().leg_answered(named=False))
    assert rig.types == ["lead.opened", "lead.assigned", "lead.contacted"]
    assert (rig.call()["outcome"], rig.call()["late_answer"]) == ("missed", True)
    assert rig.lead()["halt_seq"] == 3


async def test_lead_whose_second_call_is_taken_is_contacted_at_once_and_once(rig: Rig) -> None:
    await rig.give(*MISSED)
    again = InboundCall("CA2", offset_s=300)
    await rig.give(again.started(), again.leg_answered())
    assert rig.types[2:] == ["lead.contacted"]
    await rig.give(again.leg_ended(2, "canceled"), again.leg_ended(1, "completed"), again.ended())
    assert rig.types[2:] == ["lead.contacted"]
    assert "task" not in rig.lead()
    assert [one["outcome"] for one in rig.store.task_log.values()] == ["contacted"]


async def test_answer_before_the_caller_is_known_counts_as_contact_once_a_fact_names_the_caller(rig: Rig) -> None:
    await rig.give(*MISSED)
    again = InboundCall("CA2", offset_s=300)
    await rig.give(again.leg_answered(named=False))
    assert rig.types[2:] == []
    await rig.give(again.started())
    assert rig.types[2:] == ["lead.contacted"]


async def test_call_is_not_settled_while_facts_in_kafka_are_unread(rig: Rig) -> None:
    await rig.give(InboundCall().started(), InboundCall().ended(4))
    rig.reading.unread = {rig.call()["partition"]: 1}
    await rig.settle(60)
    assert "outcome" not in rig.call()
    rig.reading.unread = {}
    await rig.settle(0)
    assert rig.call()["outcome"] == "missed"
