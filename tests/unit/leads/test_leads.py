"""What becomes of a lead: opened, called again, answered by text, opted out; and nothing twice."""

import asyncio
import itertools
from dataclasses import fields
from datetime import date, datetime, time

import pytest

from schemas.card import LeadCard
from schemas.envelope import Wire
from schemas.leads import LeadCalledAgain, LeadOpened, LeadOptedOut, LeadReplied
from schemas.touches import TouchDelivered, TouchFailed, TouchSent, TouchSuppressed, TouchTaskRequested
from services.leads.changes import SILENT_S
from services.leads.domain.model import Lead
from services.policy.suppression import suppression_id
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, ignored
from tests.unit.leads.events import AT, CALLER, LENDER, InboundCall, at, event, result, text
from tests.unit.leads.rig import NUMBER_KEY, Rig

NUMBER = suppression_id(NUMBER_KEY, LENDER, CALLER)


async def test_missed_call_opens_a_lead_owned_with_its_task_due_at_once(rig: Rig) -> None:
    """Facts B1, Q22: the lead exists at once, and with it one task that somebody owns; the three are one document."""
    await rig.give(*InboundCall().missed())
    lead, opened = rig.lead(), rig.told[0]
    assert isinstance(opened, LeadOpened)
    assert (lead["status"], lead["source"]) == ("attempted_contact", "Inbound missed call")
    assert lead["owner_id"] == "dana-whitfield"
    assert (lead["task"]["due_at"], lead["task"]["reasons"]) == (AT, ["missed_call"])
    assert (opened.local_day, opened.callback_morning.on, opened.callback_morning.at) == (
        date(2026, 3, 3),
        date(2026, 3, 4),
        time(8, 30),
    )
    assert opened.lead.task_due == AT
    assert [one.lead_seq for one in rig.told] == [1, 2]
    assert (lead["outbox"], "outbox_since" in lead) == ([], False)
    assert await rig.store.calls_settling() == 0


async def test_events_carry_the_real_time_of_the_deciding_webhook_and_its_trace(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    headers = dict(rig.producer.records[0].headers)
    assert headers["ce_ringbackreceived"] == at(21).isoformat().encode()
    assert headers["traceparent"] == b"00-trace-span-01"
    assert headers["ce_id"] == f"{rig.lead()['_id']}:1".encode()
    assert headers["ce_branchid"] == b"new-york"


async def test_lead_that_calls_again_keeps_one_document_and_raises_its_task(rig: Rig) -> None:
    """Facts B4, C11: the lead is found by its number; whether the day allows a sequence is the sequencer's decision."""
    await rig.give(*InboundCall().missed())
    rig.clock.move(600)
    await rig.give(*InboundCall("CA2", offset_s=600).missed())
    assert rig.types == ["lead.opened", "lead.assigned", "lead.called_again"]
    again = rig.told[2]
    assert isinstance(again, LeadCalledAgain)
    assert (again.call.call_id, len(rig.store.leads)) == ("CA2", 1)
    task = rig.lead()["task"]
    assert (task["due_at"], task["urgency"], task["reasons"]) == (AT, "high", ["missed_call", "called_again"])


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "after a restart"])
async def test_every_fact_delivered_three_times_changes_nothing_more(rig: Rig, restarted: bool) -> None:
    """Fact M8: a second copy of a text is the fastest way to be blocked, so a repeated event makes none."""
    facts = InboundCall().missed()
    await rig.give(*facts)
    told = len(rig.producer.records)
    if restarted:
        rig.restart()
    assert set(await rig.give(*facts, *reversed(facts))) == {ignored("duplicate")}
    assert len(rig.producer.records) == told
    assert [officer["assigned_today"] for officer in rig.store.officers_.values()].count(1) == 1


async def test_store_that_goes_away_at_any_moment_leaves_one_lead_after_the_retry() -> None:
    facts = InboundCall().missed()
    for moment in itertools.count():
        rig = Rig()
        await rig.seed()
        await rig.give(*facts[:-1])
        rig.store.away_after = moment
        try:
            await rig.give(facts[-1])
        except TransientError:
            rig.restart()
            await rig.give(facts[-1])
        assert rig.types == ["lead.opened", "lead.assigned"]
        assert len(rig.store.leads) == 1
        assert sum(len(officer.get("taken", [])) for officer in rig.store.officers_.values()) == 1
        assert (rig.lead()["outbox"], rig.call()["applied"]) == ([], True)
        if rig.store.away_after is not None:
            break  # the event needed the store less often than that
    assert moment >= 8, "reads and writes of call, officer and lead, each of which failed once"


async def test_events_that_kafka_did_not_take_leave_with_the_next_event_in_order(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = InboundCall().missed()
    await rig.give(*facts[:-1])

    async def away(*records: Wire) -> None:
        raise TransientError("Kafka is away")

    with monkeypatch.context() as patch:
        patch.setattr(rig.producer, "send_wire", away)
        await rig.give(facts[-1])
    assert len(rig.lead()["outbox"]) == 2
    rig.clock.move(SILENT_S)
    await rig.give(text("hello"))
    assert (rig.types, rig.lead()["outbox"]) == (["lead.opened", "lead.assigned", "lead.replied"], [])


@pytest.mark.parametrize(("instances", "writes"), [(1, 2), (2, 3)], ids=["one instance", "two instances"])
async def test_two_calls_decided_at_the_same_moment_go_to_two_officers(rig: Rig, instances: int, writes: int) -> None:
    first, second = InboundCall().missed(), InboundCall("CA2", caller="+17185550135").missed()
    await rig.give(*first[:-1], *second[:-1])
    rig.restart()
    other = rig.shell if instances == 1 else rig.instance()
    await asyncio.gather(rig.shell.handle(first[-1]), other.handle(second[-1]))
    owners = {lead["owner_id"] for lead in rig.store.leads.values()}
    assert owners == {"dana-whitfield", "marcus-oyelaran"}
    assert rig.store.asked.count("save_officer") == writes, "two instances choose the same officer, and one starts over"


async def test_opt_out_is_suppressed_before_the_lead_hears_of_it(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    rig.store.asked.clear()
    await rig.give(text("Stop."))
    assert rig.store.asked.index("suppress") < rig.store.asked.index("save_lead")
    assert isinstance(rig.told[-1], LeadOptedOut)
    lead = rig.lead()
    assert (lead["texting"], lead["halt_seq"], rig.told[-1].texting) == ("stopped", 3, "stopped")
    assert "twilio:SM1:received" in lead["seen"]
    assert await rig.store.is_suppressed(NUMBER)
    assert CALLER not in str(rig.store.suppressions)


async def test_opted_out_borrower_who_calls_again_stays_opted_out(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("STOP"))
    await rig.give(*InboundCall("CA2", offset_s=900).missed())
    assert (rig.told[-1].TYPE, rig.told[-1].texting) == ("lead.called_again", "stopped")


async def test_start_takes_the_opt_out_back(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("STOP"), text("start", "SM2"))
    assert (rig.types[-1], rig.lead()["texting"]) == ("lead.opted_in", "open")
    assert not await rig.store.is_suppressed(NUMBER)
    assert await rig.give(text("STOP")) == [ignored("duplicate")]
    assert not await rig.store.is_suppressed(NUMBER)


async def test_yes_of_an_opted_out_borrower_opts_in_and_of_any_other_is_an_answer(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("Yes"))
    assert rig.types[-1] == "lead.replied"
    await rig.give(text("STOP", "SM2"), text("YES", "SM3"))
    assert rig.types[-2:] == ["lead.opted_out", "lead.opted_in"]


async def test_stranger_who_opts_out_is_suppressed_and_a_later_call_makes_a_lead_without_texts(rig: Rig) -> None:
    await rig.give(text("unsubscribe"))
    assert await rig.store.is_suppressed(NUMBER)
    await rig.give(*InboundCall().missed())
    lead = rig.lead()
    assert (lead["texting"], rig.told[0].texting) == ("stopped", "stopped")
    assert lead["seen"][0] == "twilio:SM1:received"
    assert lead["task"]["state"] == "open"


async def test_strangers_repeated_stop_does_not_undo_a_later_start(rig: Rig) -> None:
    await rig.give(text("STOP"), text("START", "SM2"))
    assert await rig.give(text("STOP")) == [ignored("duplicate")]
    assert not await rig.store.is_suppressed(NUMBER)


async def test_help_is_kept_and_neither_halts_touches_nor_makes_an_event(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("HELP"))
    assert (rig.types, rig.lead()["halt_seq"]) == (["lead.opened", "lead.assigned"], 0)
    assert "twilio:SM1:received" in rig.lead()["seen"]
    assert len(rig.store.messages) == 1


async def test_reply_halts_older_touches_and_raises_the_task(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("Hi, I want to refinance, can you call me after 5?"))
    replied = rig.told[-1]
    assert isinstance(replied, LeadReplied)
    assert (replied.intents, replied.answers.purpose) == (("refinance", "callback"), "refinance")
    lead = rig.lead()
    assert (lead["status"], lead["halt_seq"], lead["task"]["urgency"]) == ("conversing", 3, "high")
    assert lead["task"]["reasons"] == ["missed_call", "callback_asked"]
    assert await rig.give(text("Hi, I want to refinance, can you call me after 5?")) == [ignored("duplicate")]


async def test_first_reply_is_dated_once_and_words_that_steer_texting_are_none(rig: Rig) -> None:
    await rig.give(
        *InboundCall().missed(), text("HELP", "SM1", 100), text("STOP", "SM2", 110), text("START", "SM3", 120)
    )
    assert "first_reply_at" not in rig.lead()
    await rig.give(text("Hello?", "SM4", 140), text("Still there?", "SM5", 150), text("(sent earlier)", "SM6", 130))
    assert rig.lead()["first_reply_at"] == at(130)


async def test_first_reply_from_before_there_was_a_lead_is_dated_by_that_text(rig: Rig) -> None:
    await rig.give(text("HELP", "SM1", -500), text("Are you open on Monday?", "SM2", -400), text("ok", "SM3", -300))
    await rig.give(*InboundCall().missed(), text("Hello?", "SM4", 140))
    assert rig.lead()["first_reply_at"] == at(-400)


async def test_voicemail_after_the_decision_goes_into_the_task_with_its_words(rig: Rig) -> None:
    await rig.give(
        *InboundCall().missed(), InboundCall().recorded(), InboundCall().transcribed(), InboundCall().recorded()
    )
    task = rig.lead()["task"]
    assert rig.lead()["voicemail"] is True
    assert task["reasons"] == ["missed_call", "voicemail"]
    assert [one["transcript"] for one in task["voicemails"]] == ["Please call about a refinance"]
    assert rig.types == ["lead.opened", "lead.assigned"]


async def test_results_of_touches_are_kept_and_summed_up(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    lead_id = rig.lead()["_id"]
    sent = result(
        TouchSent,
        lead_id,
        "sent",
        sid="SMx",
        body="We missed you",
        template="missed_call_first",
        template_version=1,
        variant="free",
        sent_at=at(22),
        from_number="+12125550100",
    )
    delivered = result(TouchDelivered, lead_id, "delivered", sid="SMx", delivered_at=at(24))
    held = result(TouchSuppressed, lead_id, "suppressed", "text-10min", reason="quiet_hours", until=at(9000))
    assert await rig.give(sent, delivered, held, sent) == [APPLIED, APPLIED, APPLIED, ignored("duplicate")]
    lead = rig.lead()
    assert (lead["touches"]["text-now"]["state"], lead["touches"]["text-10min"]["state"]) == ("delivered", "suppressed")
    assert (lead["texts"], lead["first_text_at"]) == (1, at(22))
    kept = rig.store.messages["touch-text-now:sent"]
    assert (kept["body"], kept["delivered_at"], kept["direction"]) == ("We missed you", at(24), "out")
    assert rig.store.messages["touch-text-10min:suppressed"]["state"] == "held"
    assert rig.types == ["lead.opened", "lead.assigned"]


async def test_carrier_block_is_an_opt_out_that_we_were_not_told_of(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    await rig.give(result(TouchFailed, rig.lead()["_id"], "failed", error_code=21610))
    assert await rig.store.is_suppressed(NUMBER)
    assert (rig.types[-1], rig.lead()["texting"]) == ("lead.opted_out", "stopped")


async def test_requested_task_merges_into_the_open_one(rig: Rig) -> None:
    """Fact Q22: there is one task a lead; touch 3 and the first hour's task are the same."""
    await rig.give(*InboundCall().missed())
    lead_id = rig.lead()["_id"]
    await rig.give(
        result(TouchTaskRequested, lead_id, "task", "call-morning", due_at=at(70_000), reason="callback_morning"),
        result(
            TouchTaskRequested,
            lead_id,
            "task",
            "text-now",
            kind="text_not_sent",
            due_at=at(400),
            urgent=True,
            reason="first_text_expired",
        ),
    )
    task = rig.lead()["task"]
    assert (task["due_at"], task["urgency"]) == (AT, "urgent")
    assert task["reasons"] == ["missed_call", "callback_morning", "first_text_expired"]
    assert rig.lead()["tasks_made"] == 1


async def test_task_requested_after_the_talk_is_done_already(rig: Rig) -> None:
    """Fact Q22: a task that was done earlier is not opened again by touch 3."""
    await rig.give(*InboundCall().missed())
    again = InboundCall("CA2", offset_s=300)
    await rig.give(again.started(), again.leg_answered())
    late = result(TouchTaskRequested, rig.lead()["_id"], "task", "call-morning", due_at=at(70_000), reason="morning")
    assert await rig.give(late) == [ignored("task_done")]
    assert "task" not in rig.lead()


async def test_result_for_nobodys_lead_is_ignored(rig: Rig) -> None:
    assert await rig.give(result(TouchDelivered, "L0", "delivered", sid="SMx", delivered_at=at(1))) == [
        ignored("no_lead")
    ]


async def test_text_that_came_while_the_lead_was_made_is_applied_to_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = InboundCall().missed()
    await rig.give(*facts[:-1])
    insert = rig.store.insert_lead

    async def insert_late(lead: Lead, now: datetime) -> bool:
        await rig.give(text("STOP"))
        return await insert(lead, now)

    monkeypatch.setattr(rig.store, "insert_lead", insert_late)
    await rig.give(facts[-1])
    assert rig.types == ["lead.opened", "lead.assigned", "lead.opted_out"]
    assert rig.lead()["texting"] == "stopped"


async def test_stored_lead_is_a_card_that_the_notifier_can_read(rig: Rig) -> None:
    await rig.give(*InboundCall().missed(), text("Hello?"))
    card = LeadCard.model_validate(rig.lead())
    assert card.model_dump(exclude_none=True).keys() >= {"lead_id", "owner_id", "halt_seq", "seen", "first_reply_at"}
    assert set(LeadCard.model_fields) <= {field.name for field in fields(Lead)}


async def test_event_of_another_topic_is_ignored(rig: Rig) -> None:
    await rig.give(*InboundCall().missed())
    assert await rig.give(event("x:1", rig.told[0])) == [ignored("not_for_us")]


async def test_answered_call_whose_caller_is_named_only_after_its_decision_contacts_the_lead(rig: Rig) -> None:
    await rig.give(*InboundCall("CA0", offset_s=-9000).missed())
    call = InboundCall(legs=1)
    await rig.give(call.leg_answered(named=False))
    await rig.settle(181)
    assert (rig.call()["outcome"], rig.types[-1]) == ("answered", "lead.assigned")
    await rig.give(call.started())
    assert (rig.types[-1], rig.lead()["status"], rig.call()["applied"]) == ("lead.contacted", "contacted", True)


async def test_closed_task_is_logged_as_it_was_closed_although_a_text_came_first(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.give(*InboundCall("CA0", offset_s=-900).missed())
    save, once = rig.store.save_lead, False
    other = rig.instance()

    async def save_late(before: Lead, after: Lead, now: datetime) -> Lead | None:
        nonlocal once
        if not once:
            once = True
            await other.handle(text("call me about a refi", "SM5"))
        return await save(before, after, now)

    monkeypatch.setattr(rig.store, "save_lead", save_late)
    call = InboundCall(legs=1)
    await rig.give(call.started(), call.leg_answered())
    (logged,) = rig.store.task_log.values()
    assert (logged["reasons"], logged["outcome"]) == (["missed_call", "callback_asked"], "contacted")


async def test_closed_task_is_logged_by_the_repeated_event_when_its_log_failed(rig: Rig) -> None:
    await rig.give(*InboundCall("CA0", offset_s=-900).missed())
    call = InboundCall(legs=1)
    await rig.give(call.started())
    for moment in itertools.count():
        rig.store.away_after = moment
        try:
            await rig.give(call.leg_answered())
            break
        except TransientError:
            rig.restart()
    rig.store.away_after = None
    await rig.give(call.leg_answered())
    assert [one["outcome"] for one in rig.store.task_log.values()] == ["contacted"]


async def test_voicemail_that_is_read_while_its_missed_call_makes_the_lead_is_in_the_task(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording ends with its call and is keyed by the call, so that another worker reads it at the same moment."""
    facts, finish = InboundCall().missed(), rig.store.finish_call
    await rig.give(*facts[:-1])

    async def finish_late(key: str, *, applied: bool) -> None:
        monkeypatch.undo()
        await rig.instance().handle(InboundCall().recorded())
        await finish(key, applied=applied)

    monkeypatch.setattr(rig.store, "finish_call", finish_late)
    await rig.give(facts[-1])
    assert (rig.lead()["voicemail"], len(rig.lead()["task"]["voicemails"])) == (True, 1)
