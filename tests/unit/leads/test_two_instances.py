"""Two instances that handle one caller's events in turn: nothing is ignored because one of them remembers an older lead."""

from schemas.touches import TouchTaskRequested
from services.policy.suppression import suppression_id
from services.runtime.handled import APPLIED
from tests.unit.leads.events import CALLER, LENDER, InboundCall, at, result, text
from tests.unit.leads.rig import NUMBER_KEY, Rig

NUMBER = suppression_id(NUMBER_KEY, LENDER, CALLER)


async def test_voicemail_of_a_call_that_another_instance_decided_goes_into_the_task(rig: Rig) -> None:
    """The lead that this instance remembered did not know the call yet, and the recording was dropped."""
    await rig.give(*InboundCall().missed())
    again = InboundCall("CA2", offset_s=600)
    rig.clock.move(600)
    await rig.give(again.started(), again.leg_ended(1), again.ended())
    rig.clock.move(4)
    claimed = await rig.store.claim_call(rig.call("CA2")["_id"], rig.clock.real_now(), rig.clock.real_now())
    assert claimed is not None
    await rig.instance().settle(claimed)
    assert await rig.give(again.recorded(), again.transcribed()) == [APPLIED, APPLIED]
    assert [one["recording_id"] for one in rig.lead()["task"]["voicemails"]] == ["CA2RE"]
    assert rig.lead()["voicemail"] is True


async def test_urgent_request_for_a_lead_that_another_instance_began_anew_raises_its_task(rig: Rig) -> None:
    """The lead that this instance remembered was contacted and had no task, so the request counted as done."""
    await rig.give(*InboundCall().missed())
    talk = InboundCall("CA2", offset_s=600, legs=1)
    await rig.give(talk.started(), talk.leg_answered())
    rig.clock.move(4000)
    other = rig.instance()
    for fact in InboundCall("CA3", offset_s=4000, legs=1).missed():
        await other.handle(fact)
    urgent = result(TouchTaskRequested, rig.lead()["_id"], "task", due_at=at(4100), urgent=True, reason="second_call")
    assert await rig.give(urgent) == [APPLIED]
    assert (rig.lead()["task"]["urgency"], "second_call" in rig.lead()["task"]["reasons"]) == ("urgent", True)


async def test_repeated_start_does_not_undo_a_later_stop_that_another_instance_took(rig: Rig) -> None:
    """`suppressions` is the truth about opt-outs: a copy of a word it has taken changes nothing."""
    await rig.give(*InboundCall().missed())
    start, stop = text("START", "SM1"), text("STOP", "SM2", 130)
    other = rig.instance()
    await other.handle(start)
    await other.handle(stop)
    await rig.give(start)
    assert await rig.store.is_suppressed(NUMBER)
    assert rig.lead()["texting"] == "stopped"


async def test_repeated_start_of_someone_without_a_lead_does_not_undo_a_later_stop(rig: Rig) -> None:
    await rig.give(text("START", "SM1"), text("STOP", "SM2", 130), text("START", "SM1"))
    assert await rig.store.is_suppressed(NUMBER)
