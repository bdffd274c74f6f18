"""When a task is due, by what the lender's directory says of texts after hours."""

from datetime import UTC, datetime, timedelta

import pytest

from services.policy.directory import Directory, Policies, StatePolicy
from tests.unit.leads.events import AT, CALLER, InboundCall, text
from tests.unit.leads.rig import Rig, directory

HOUR_S = 3600.0
EVENING_S = 9 * HOUR_S
"""From noon on Tuesday to nine in the evening: the branch is closed."""
NEXT_MORNING = datetime(2026, 3, 4, 13, 30, tzinfo=UTC)
"""Wednesday 8:30 in New York."""
CALIFORNIAN = "+14155550134"


def _lender(*, after_hours_text: bool, **states: StatePolicy) -> Directory:
    return directory().model_copy(update={"policies": Policies(after_hours_text=after_hours_text, states=states)})


async def _called(lender: Directory, at_s: float, *calls: InboundCall) -> Rig:
    """Return a leads service after these calls have been missed, the first one that long after Tuesday noon."""
    rig = Rig(lender=lender)
    await rig.seed()
    rig.clock.move(at_s + 21)
    for call in calls:
        await rig.give(*call.missed())
    return rig


async def test_lead_of_a_closed_branch_without_texts_after_hours_gets_its_task_on_the_next_business_morning() -> None:
    rig = await _called(_lender(after_hours_text=False), EVENING_S, InboundCall(offset_s=EVENING_S))
    task = rig.lead()["task"]
    assert (task["due_at"], task["reasons"]) == (NEXT_MORNING, ["missed_call"])
    assert rig.told[0].lead.task_due == NEXT_MORNING


@pytest.mark.parametrize(
    ("after_hours_text", "at_s"),
    [pytest.param(False, 0.0, id="branch open"), pytest.param(True, EVENING_S, id="texts after hours")],
)
async def test_lead_of_an_open_branch_or_with_texts_after_hours_gets_its_task_at_once(
    after_hours_text: bool, at_s: float
) -> None:
    rig = await _called(_lender(after_hours_text=after_hours_text), at_s, InboundCall(offset_s=at_s))
    assert rig.lead()["task"]["due_at"] == AT + timedelta(seconds=at_s + 21)


@pytest.mark.parametrize(
    ("caller", "in_the_morning"), [(CALLER, False), (CALIFORNIAN, True)], ids=["New York", "California"]
)
async def test_state_of_the_caller_overrides_the_lenders_rule(caller: str, in_the_morning: bool) -> None:
    lender = _lender(after_hours_text=True, CA=StatePolicy(after_hours_text=False))
    rig = await _called(lender, EVENING_S, InboundCall(caller=caller, offset_s=EVENING_S))
    assert (rig.lead(caller)["task"]["due_at"] == NEXT_MORNING) is in_the_morning


async def test_second_call_at_night_leaves_the_task_in_the_morning_and_one_by_day_makes_it_due_at_once() -> None:
    night = [InboundCall(offset_s=EVENING_S), InboundCall("CA2", offset_s=EVENING_S + 60)]
    rig = await _called(_lender(after_hours_text=False), EVENING_S, *night)
    task = rig.lead()["task"]
    assert (task["due_at"], task["urgency"], task["reasons"]) == (NEXT_MORNING, "high", ["missed_call", "called_again"])
    early_s = 20.25 * HOUR_S  # Wednesday 8:15, before the task is due
    rig.clock.virtual = AT + timedelta(seconds=early_s)
    await rig.give(*InboundCall("CA3", offset_s=early_s - 60).missed())
    assert rig.lead()["task"]["due_at"] <= NEXT_MORNING


def _without(lender: Directory, gone: str) -> Directory:
    """Return the lender after an officer has left."""
    branches = tuple(
        one.model_copy(update={"officers": tuple(who for who in one.officers if who != gone)})
        for one in lender.branches
    )
    officers = tuple(one for one in lender.officers if one.id != gone)
    return lender.model_copy(update={"officers": officers, "branches": branches})


async def test_lead_of_an_officer_who_has_left_goes_to_another_with_the_next_missed_call(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    gone = rig.lead()["owner_id"]
    rig.lender = _without(rig.lender, gone)
    rig.restart()
    rig.clock.move(3600)
    await rig.give(*InboundCall("CA2", offset_s=3600).missed())
    owner = rig.lead()["owner_id"]
    assert rig.lender.officer(owner) is not None
    assert rig.types == ["lead.opened", "lead.assigned", "lead.assigned", "lead.called_again"]
    assert rig.told[-1].lead.owner_id == owner


async def test_lead_of_an_officer_who_has_left_goes_to_another_with_the_borrowers_next_text(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    rig.lender = _without(rig.lender, rig.lead()["owner_id"])
    rig.restart()
    await rig.give(text("Hello?"))
    assert rig.lender.officer(rig.lead()["owner_id"]) is not None
    assert rig.types[2:] == ["lead.replied", "lead.assigned"]


async def test_officer_who_is_missing_from_mongodb_is_stored_and_gets_leads(rig: Rig) -> None:
    """A restored backup may lack an officer whom the directory names; the call must not become a dead letter."""
    rig.store.officers_.clear()
    await rig.give(*InboundCall().missed())
    owner = rig.lead()["owner_id"]
    assert rig.store.officers_[owner]["assigned_today"] == 1
