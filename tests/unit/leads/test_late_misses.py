"""A miss that is decided after a person of ours has talked to the caller causes nothing."""

from datetime import datetime

import pytest

from services.leads.domain.model import Lead
from tests.unit.leads.events import InboundCall, at
from tests.unit.leads.rig import Rig

ABANDONED = InboundCall("CA1")
REDIAL = InboundCall("CA2", offset_s=22, legs=1)


async def test_caller_who_redialled_and_was_served_while_the_first_call_settled_gets_no_lead(rig: Rig) -> None:
    await rig.give(ABANDONED.started(), ABANDONED.leg_ended(1), ABANDONED.ended())
    await rig.give(REDIAL.started(), REDIAL.leg_answered())
    await rig.settle(4)
    assert (rig.types, rig.store.leads) == ([], {})
    assert (rig.call("CA1")["outcome"], rig.call("CA1")["applied"]) == ("missed", True)
    await rig.give(ABANDONED.leg_ended(2), ABANDONED.recorded())
    assert (rig.types, rig.store.leads) == ([], {})


async def test_contacted_lead_is_not_taken_back_to_attempted_by_a_miss_from_before_the_talk(rig: Rig) -> None:
    await rig.give(*InboundCall("CA0", offset_s=-9000).missed())
    await rig.give(ABANDONED.started(), ABANDONED.leg_ended(1), ABANDONED.ended())
    await rig.give(REDIAL.started(), REDIAL.leg_answered())
    await rig.settle(4)
    assert rig.types == ["lead.opened", "lead.assigned", "lead.contacted"]
    assert (rig.lead()["status"], "task" in rig.lead(), rig.lead()["contacted_at"]) == ("contacted", False, at(28))


async def test_reported_miss_that_comes_after_the_report_of_a_later_talk_causes_nothing(rig: Rig) -> None:
    await rig.give(InboundCall("CA2", offset_s=40).completed(answered=True, talk_time_s=20, duration_s=30))
    await rig.give(ABANDONED.completed(answered=False))
    assert (rig.types, rig.store.leads) == ([], {})


async def test_missed_call_after_the_talk_begins_anew(rig: Rig) -> None:
    await rig.give(*InboundCall("CA0", offset_s=-9000).missed())
    await rig.give(REDIAL.started(), REDIAL.leg_answered())
    await rig.give(*InboundCall("CA3", offset_s=60).missed())
    assert rig.types[-1] == "lead.called_again"
    assert rig.lead()["status"] == "attempted_contact"


async def test_answer_that_comes_while_the_miss_makes_its_lead_contacts_that_lead(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each side writes before it reads: the answer finds the lead, or the miss finds the answer."""
    await rig.give(ABANDONED.started(), ABANDONED.leg_ended(1), ABANDONED.ended())
    insert = rig.store.insert_lead

    async def insert_late(lead: Lead, now: datetime) -> bool:
        await rig.give(REDIAL.started(), REDIAL.leg_answered())
        return await insert(lead, now)

    monkeypatch.setattr(rig.store, "insert_lead", insert_late)
    await rig.settle(4)
    assert rig.types == ["lead.opened", "lead.assigned", "lead.contacted"]
    assert (rig.lead()["status"], rig.lead()["halt_seq"]) == ("contacted", 3)
