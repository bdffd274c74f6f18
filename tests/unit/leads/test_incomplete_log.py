"""A call that the provider's list tells of, where a phone was picked up: nobody knows whether a person of ours talked."""

from datetime import datetime

import pytest
from prometheus_client import REGISTRY

from schemas.calls import CallFact, CallLegEnded, LegStatus
from schemas.envelope import Event
from services.leads.domain.model import Lead
from services.runtime.mongo_errors import StoreAway
from tests.unit.leads.events import InboundCall, at, event, text
from tests.unit.leads.rig import Rig

CALL = InboundCall(legs=2)


def _listed(call: InboundCall, leg: int, status: LegStatus) -> Event[CallFact]:
    """Return the end of a leg as the reconciler tells it: what was pressed is in no list."""
    ended = CallLegEnded(
        provider="twilio",
        call_id=call.call_id,
        caller=call.caller,
        leg_id=f"{call.call_id}L{leg}",
        officer_id="dana-whitfield",
        status=status,
        ended_at=call.at(20),
        listed=True,
    )
    return event(f"twilio:{call.call_id}:L{leg}:ended", ended, call.offset_s + 20, call.caller)


def _facts(call: InboundCall = CALL) -> list[Event[CallFact]]:
    return [call.started(), _listed(call, 1, "no-answer"), _listed(call, 2, "completed"), call.ended()]


async def test_listed_call_in_which_a_phone_was_picked_up_is_missed_with_a_task_and_no_text(rig: Rig) -> None:
    """No `lead.opened`, so no sequence: the key press may have been lost, and the caller served."""
    await rig.give(*_facts())
    call, lead = rig.call(), rig.lead()
    assert (call["outcome"], call["decided_by"], call["applied"]) == ("missed", "reconciler", True)
    assert lead["task"]["reasons"] == ["call_log_incomplete"]
    assert [(one.TYPE, one.lead_seq) for one in rig.told] == [("lead.assigned", 1)]
    assert (lead["source"], lead["owner_id"]) == ("Inbound call", rig.told[0].lead.owner_id)
    await rig.give(*_facts())
    assert (len(rig.told), rig.lead()["tasks_made"]) == (1, 1)


async def test_listed_call_that_no_phone_took_is_missed_like_any_other(rig: Rig) -> None:
    await rig.give(CALL.started(), _listed(CALL, 1, "no-answer"), _listed(CALL, 2, "busy"), CALL.ended())
    assert (rig.call()["decided_by"], rig.types) == ("facts", ["lead.opened", "lead.assigned"])


async def test_one_lost_leg_end_is_enough_to_doubt_the_leg_that_was_picked_up(rig: Rig) -> None:
    await rig.give(CALL.started(), CALL.leg_ended(1, "completed"), _listed(CALL, 2, "canceled"), CALL.ended())
    assert (rig.call()["decided_by"], rig.types) == ("reconciler", ["lead.assigned"])


async def test_listed_call_with_the_proof_of_an_answer_is_answered(rig: Rig) -> None:
    await rig.give(CALL.leg_answered(), *_facts())
    assert (rig.call()["outcome"], rig.call()["decided_by"], rig.store.leads) == ("answered", "facts", {})


async def test_listed_call_whose_end_never_comes_is_settled_without_a_text_too(rig: Rig) -> None:
    await rig.give(CALL.started(), _listed(CALL, 2, "completed"))
    await rig.settle(181)
    assert (rig.call()["decided_by"], rig.types) == ("reconciler", ["lead.assigned"])


async def test_listed_end_that_comes_late_is_waited_for(rig: Rig) -> None:
    """Three seconds after the call's end are enough for webhooks, not for the reconciler whose Kafka stutters."""
    await rig.give(CALL.started(), _listed(CALL, 1, "no-answer"), CALL.ended())
    await rig.settle(100)
    await rig.give(_listed(CALL, 2, "completed"))
    assert (rig.call()["decided_by"], rig.types) == ("reconciler", ["lead.assigned"])


async def test_proof_that_comes_after_the_reconcilers_decision_contacts_the_lead(rig: Rig) -> None:
    await rig.give(*_facts(), CALL.leg_answered())
    assert rig.types == ["lead.assigned", "lead.contacted"]
    assert (rig.lead()["status"], "task" in rig.lead(), rig.call()["late_answer"]) == ("contacted", False, True)


async def test_lead_that_is_there_gets_the_reason_and_no_event(rig: Rig) -> None:
    await rig.give(*InboundCall("CA0", offset_s=-9000).missed())
    told = len(rig.told)
    await rig.give(*_facts())
    assert (rig.lead()["task"]["reasons"], len(rig.told)) == (["missed_call", "call_log_incomplete"], told)


async def test_caller_who_was_served_since_gets_no_task(rig: Rig) -> None:
    later = InboundCall("CA2", offset_s=60, legs=1)
    await rig.give(later.started(), later.leg_answered())
    await rig.give(*_facts())
    assert (rig.call()["decided_by"], rig.store.leads) == ("reconciler", {})


async def test_contacted_lead_gets_no_task_for_a_listed_call_from_before_the_talk(rig: Rig) -> None:
    later = InboundCall("CA2", offset_s=60, legs=1)
    await rig.give(*InboundCall("CA0", offset_s=-9000).missed())
    await rig.give(later.started(), later.leg_answered(), *_facts())
    assert (rig.lead()["status"], rig.lead()["contacted_at"], "task" in rig.lead()) == ("contacted", at(66), False)


async def test_opted_out_caller_of_a_listed_call_gets_a_task_and_no_texts(rig: Rig) -> None:
    await rig.give(text("STOP", "SM1", -10), *_facts())
    assert (rig.lead()["texting"], rig.lead()["task"]["reasons"]) == ("stopped", ["call_log_incomplete"])


async def test_next_missed_call_after_a_listed_one_begins_a_recovery(rig: Rig) -> None:
    await rig.give(*_facts(), *InboundCall("CA3", offset_s=600).missed())
    assert rig.types == ["lead.assigned", "lead.called_again"]


async def test_listed_call_is_counted_apart_from_missed_ones(rig: Rig) -> None:
    """Nobody knows what it was, so it is in no rate."""
    before = _counted()
    await rig.give(*_facts())
    assert [now - then for now, then in zip(_counted(), before, strict=True)] == [0, 0, 1]


def _counted() -> list[float]:
    names = [
        ("ringback_calls_total", {"outcome": "missed"}),
        ("ringback_missed_calls_total", {"source": "caller"}),
        ("ringback_calls_decided_total", {"by": "reconciler"}),
    ]
    return [REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in names]


async def test_settler_finishes_the_listed_call_of_an_instance_that_died_in_between(rig: Rig) -> None:
    """The store is away at each step in turn; the next instance's settler does the rest, once."""
    for step in range(40):
        one = Rig()
        await one.seed()
        await one.give(*_facts()[:-1])
        one.store.away_after = step
        try:
            await one.give(CALL.ended())
        except StoreAway:
            one.restart()
            await one.settle(11)
            await one.give(CALL.ended())
        else:
            assert step > 5
            one.store.away_after = None
            break
        assert (one.call()["applied"], one.types) == (True, ["lead.assigned"])
        assert one.lead()["task"]["reasons"] == ["call_log_incomplete"]


async def test_stop_that_comes_while_the_lead_of_a_listed_call_is_made_is_applied_by_the_retry(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, pull, failed = rig.store.insert_lead, rig.store.pull_outbox, False
    await rig.give(*_facts()[:-1])

    async def insert_late(lead: Lead, now: datetime) -> bool:
        await rig.give(text("STOP", "SM1", 20))
        return await insert(lead, now)

    async def pull_later(lead_id: str, upto_seq: int) -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise StoreAway("a failover")
        await pull(lead_id, upto_seq)

    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "insert_lead", insert_late)
        patch.setattr(rig.store, "pull_outbox", pull_later)
        with pytest.raises(StoreAway):
            await rig.give(CALL.ended())
    await rig.give(CALL.ended())
    assert (rig.types, rig.lead()["texting"]) == (["lead.assigned", "lead.opted_out"], "stopped")
