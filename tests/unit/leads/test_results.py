"""What results of touches make of a lead, in whatever order and however often they come."""

from datetime import timedelta

import pytest

from schemas.base import EventData
from schemas.envelope import Event
from schemas.ids import sequence_id
from schemas.touches import TouchDelivered, TouchFailed, TouchResult, TouchSent, TouchTaskRequested
from services.leads.domain.model import SEEN_LIMIT
from services.policy.suppression import suppression_id
from services.runtime.handled import ignored
from tests.unit.leads.events import AT, CALLER, LENDER, InboundCall, at, event, text
from tests.unit.leads.rig import NUMBER_KEY, Rig

NUMBER = suppression_id(NUMBER_KEY, LENDER, CALLER)
DAY_S = 86_400.0


def _result(
    model: type[TouchResult], rig: Rig, sequence: str, step: str, seconds: float, *, attempt: int = 1, **more: object
) -> Event[EventData]:
    touch = f"{sequence}-{step}-{attempt}"
    values = {"touch_id": touch, "caller": CALLER, "sequence_id": sequence, "step": step, "attempt": attempt, **more}
    data = model.model_validate({"lead_id": rig.lead()["_id"], **values})
    return event(f"{touch}:{model.TYPE}", data, seconds)


def _sent(rig: Rig, sequence: str, step: str, seconds: float, attempt: int = 1) -> Event[EventData]:
    more = {"sid": "SMx", "body": "x", "template": "t", "template_version": 1, "variant": "v"}
    return _result(
        TouchSent,
        rig,
        sequence,
        step,
        seconds,
        attempt=attempt,
        sent_at=at(seconds),
        from_number="+12125550100",
        **more,
    )


def _refused(rig: Rig, seconds: float) -> Event[EventData]:
    return _result(TouchFailed, rig, "S1", "text-now", seconds, error_code=21610)


def _text_not_sent(rig: Rig) -> Event[EventData]:
    return _result(
        TouchTaskRequested,
        rig,
        "S1",
        "text-now",
        300,
        kind="text_not_sent",
        due_at=at(300),
        urgent=True,
        reason="expired",
    )


async def _two_sequences(rig: Rig) -> tuple[str, str]:
    """Return the ids of yesterday's sequence and of today's, of a lead that was missed on both days."""
    await rig.give(*InboundCall("CA0", offset_s=-DAY_S).missed(), *InboundCall("CA1").missed())
    lead = rig.lead()["_id"]
    yesterday, today = (AT - timedelta(days=1)).date(), AT.date()
    return sequence_id(lead, "missed-call", yesterday), sequence_id(lead, "missed-call", today)


async def test_late_result_of_an_old_sequence_leaves_the_new_ones_touches(rig: Rig) -> None:
    old, new = await _two_sequences(rig)
    await rig.give(_sent(rig, new, "text-now", 60))
    await rig.give(_result(TouchDelivered, rig, old, "text-now", 61, sid="SM1", delivered_at=at(61)))
    lead = rig.lead()
    assert (lead["sequence_id"], lead["touches"]["text-now"]["state"]) == (new, "sent")


async def test_result_of_the_next_sequence_begins_the_touches_anew(rig: Rig) -> None:
    old, new = await _two_sequences(rig)
    await rig.give(_sent(rig, old, "text-10min", -DAY_S + 60), _sent(rig, new, "text-now", 60))
    assert (rig.lead()["sequence_id"], list(rig.lead()["touches"])) == (new, ["text-now"])


async def test_repeated_result_that_seen_has_forgotten_changes_nothing(rig: Rig) -> None:
    """After a restart the notifier repeats results with their first ids and times; `seen` keeps only the newest ids."""
    _, new = await _two_sequences(rig)
    first, second = _sent(rig, new, "text-now", 60), _sent(rig, new, "text-10min", 660)
    await rig.give(first, second)
    await rig.give(*(text("ok", f"SM{n}", 700 + n) for n in range(SEEN_LIMIT)))
    assert first.id not in rig.lead()["seen"]
    before = rig.lead()
    await rig.give(first, second, first)
    after = rig.lead()
    for name in ("texts", "first_text_at", "last_text_at", "touches"):
        assert after[name] == before[name], name
    assert (after["texts"], after["first_text_at"], after["last_text_at"]) == (2, at(60), at(660))


async def test_text_whose_delivery_is_read_first_is_counted_once_and_stays_delivered(rig: Rig) -> None:
    _, new = await _two_sequences(rig)
    await rig.give(_result(TouchDelivered, rig, new, "text-now", 61, sid="SM1", delivered_at=at(61)))
    await rig.give(_sent(rig, new, "text-now", 60))
    assert (rig.lead()["texts"], rig.lead()["touches"]["text-now"]["state"]) == (1, "delivered")


async def test_carriers_opt_out_from_before_the_last_opt_in_changes_nothing(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("STOP", "SM1", 100), text("START", "SM2", 200))
    await rig.give(_refused(rig, 150))
    assert not await rig.store.is_suppressed(NUMBER)
    assert (rig.lead()["texting"], rig.types[-1]) == ("open", "lead.opted_in")


async def test_carriers_opt_out_after_the_last_opt_in_counts(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("STOP", "SM1", 100), text("START", "SM2", 200))
    await rig.give(_refused(rig, 250))
    assert await rig.store.is_suppressed(NUMBER)
    assert (rig.lead()["texting"], rig.types[-1]) == ("stopped", "lead.opted_out")


async def test_text_not_sent_makes_no_task_for_a_borrower_whom_a_person_has_reached(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    talk = InboundCall("CA2", offset_s=60, legs=1)
    await rig.give(talk.started(), talk.leg_answered())
    assert await rig.give(_text_not_sent(rig)) == [ignored("task_done")]
    assert "task" not in rig.lead()


@pytest.mark.parametrize("has_task", [True, False])
async def test_text_not_sent_changes_no_task_of_a_closed_lead(rig: Rig, has_task: bool) -> None:
    await rig.give(*InboundCall().missed())
    rig.lead()["status"] = "closed"
    if not has_task:
        del rig.lead()["task"]
    before = rig.lead().get("task")
    assert await rig.give(_text_not_sent(rig)) == [ignored("task_done")]
    assert rig.lead().get("task") == before


async def test_text_not_sent_does_not_raise_the_task_of_a_borrower_who_opted_out(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("STOP"))
    assert await rig.give(_text_not_sent(rig)) == [ignored("texting_stopped")]
    assert rig.lead()["task"]["urgency"] == "normal"


@pytest.mark.parametrize("status", ["attempted_contact", "conversing"])
async def test_text_not_sent_is_an_urgent_task_for_every_other_lead(rig: Rig, status: str) -> None:
    await rig.give(*InboundCall().missed())
    rig.lead()["status"] = status
    await rig.give(_text_not_sent(rig))
    assert rig.lead()["task"]["urgency"] == "urgent"
