"""An officer who is no longer in the directory keeps no task: fact Q22, every task has an owner."""

import asyncio

import pytest

from services.leads import departures
from services.leads.departures import LOOK_EVERY, Departures
from services.policy.directory import Directory
from services.runtime.mongo_errors import StoreAway
from tests.unit.leads.events import CALLER, LENDER, InboundCall
from tests.unit.leads.rig import Rig

OTHER = "+17185550135"


def without(lender: Directory, *gone: str) -> Directory:
    """Return the lender after officers have left."""
    branches = tuple(
        one.model_copy(update={"officers": tuple(who for who in one.officers if who not in gone)})
        for one in lender.branches
    )
    officers = tuple(one for one in lender.officers if one.id not in gone)
    return lender.model_copy(update={"officers": officers, "branches": branches})


def started(rig: Rig) -> Departures:
    """Return that part of an instance that has just started."""
    return Departures(
        store=rig.store,
        shell=rig.instance(),
        clock=rig.clock,
        health=rig.health,
        lender_id=LENDER,
        present=[one.id for one in rig.lender.officers],
    )


def left(rig: Rig, *callers: str) -> None:
    """Have the owners of these callers' leads leave."""
    rig.lender = without(rig.lender, *(rig.lead(caller)["owner_id"] for caller in callers))


async def test_open_task_of_an_officer_who_has_left_gets_an_owner_when_the_service_starts(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    task, told = rig.lead()["task"], len(rig.told)
    left(rig, CALLER)
    await started(rig).round()
    owner = rig.lead()["owner_id"]
    assert rig.lender.officer(owner) is not None
    assert rig.lead()["task"] == task
    [assigned] = rig.told[told:]
    assert (assigned.TYPE, assigned.lead.owner_id) == ("lead.assigned", owner)


async def test_lead_stays_with_its_owner_who_is_there_or_has_no_task_or_is_another_lenders(rig: Rig) -> None:
    calls = [InboundCall(f"CA{n}", f"+1718555020{n}", legs=1) for n in range(3)]
    for call in calls:
        await rig.give(*call.missed())
    done, other = rig.lead("+17185550201"), rig.lead("+17185550202")
    here = rig.lead("+17185550200")["owner_id"]
    done["owner_id"] = other["owner_id"] = "left-long-ago"
    del done["task"]
    other["lender_id"] = "another"
    told = len(rig.told)
    await started(rig).round()
    assert [rig.lead(call.caller or "")["owner_id"] for call in calls] == [here, "left-long-ago", "left-long-ago"]
    assert len(rig.told) == told


async def test_two_instances_that_start_together_give_a_lead_to_one_officer_once(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    before = sum(one["assigned_today"] for one in rig.store.officers_.values())
    left(rig, CALLER)
    await asyncio.gather(started(rig).round(), started(rig).round())
    assert rig.types == ["lead.opened", "lead.assigned", "lead.assigned"]
    assert sum(one["assigned_today"] for one in rig.store.officers_.values()) == before + 1


async def test_lead_of_a_branch_without_officers_keeps_no_other_from_getting_an_owner(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "BATCH", 1)
    for n, caller in enumerate((CALLER, OTHER)):
        await rig.give(*InboundCall(f"CA{n}", caller).missed())
    for lead in rig.store.leads.values():
        lead["owner_id"] = "left-long-ago"
    first = min(rig.store.leads)
    empty = next(one for one in rig.lender.branches if one.id != "new-york")
    rig.store.leads[first]["branch_id"] = empty.id
    rig.lender = without(rig.lender, *empty.officers)
    await started(rig).round()
    owners = {name: lead["owner_id"] for name, lead in rig.store.leads.items()}
    assert owners.pop(first) == "left-long-ago"
    assert "left-long-ago" not in owners.values()


@pytest.mark.parametrize("calls", range(4))
async def test_look_is_repeated_after_ten_minutes_and_at_once_where_mongodb_was_away(rig: Rig, calls: int) -> None:
    part = started(rig)
    await part.round()
    await rig.give(*InboundCall().missed())
    rig.lead()["owner_id"] = "left-long-ago"
    await part.round()
    assert rig.lead()["owner_id"] == "left-long-ago"
    rig.clock.move_real(LOOK_EVERY.total_seconds())
    rig.store.away_after = calls
    with pytest.raises(StoreAway):
        await part.round()
    await part.round()
    assert rig.lead()["owner_id"] != "left-long-ago"
