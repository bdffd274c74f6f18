"""What becomes of a lead: opened, called again, answered by text, opted out; and nothing twice."""

from datetime import date, datetime, time

import pytest

from schemas.envelope import Wire
from schemas.leads import LeadCalledAgain, LeadOpened, LeadOptedOut, LeadReplied
from schemas.touches import TouchDelivered, TouchFailed, TouchSent, TouchSuppressed, TouchTaskRequested
from services.leads.domain.model import Lead
from services.policy.suppression import suppression_id
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, ignored
from tests.unit.leads.build import AT, CALLER, LENDER, NUMBER_KEY, Desk, Ring, at, event, result, text

NUMBER = suppression_id(NUMBER_KEY, LENDER, CALLER)


async def test_missed_call_opens_a_lead_owned_with_its_task_due_at_once(desk: Desk) -> None:
    """B1, Q22: the lead, its owner and its task are one document."""
    await desk.give(*Ring().missed())
    lead, opened = desk.lead(), desk.told[0]
    assert isinstance(opened, LeadOpened)
    assert (lead["status"], lead["source"]) == ("attempted_contact", "Inbound missed call")
    assert lead["owner_id"] == "dana-whitfield"
    assert (lead["task"]["due_at"], lead["task"]["reasons"]) == (AT, ["missed_call"])
    assert (opened.local_day, opened.callback_morning.on, opened.callback_morning.at) == (
        date(2026, 3, 3), date(2026, 3, 4), time(8, 30),
    )  # fmt: skip
    assert opened.lead.task_due == AT
    assert [one.lead_seq for one in desk.told] == [1, 2]
    assert (lead["outbox"], "outbox_since" in lead) == ([], False)
    assert await desk.store.calls_settling() == 0


async def test_events_carry_the_real_time_of_the_deciding_webhook_and_its_trace(desk: Desk) -> None:
    await desk.give(*Ring().missed())
    headers = dict(desk.producer.records[0].headers)
    assert headers["ce_ringbackreceived"] == at(21).isoformat().encode()
    assert headers["traceparent"] == b"00-trace-span-01"
    assert headers["ce_id"] == f"{desk.lead()['_id']}:1".encode()
    assert headers["ce_branchid"] == b"new-york"


async def test_lead_that_calls_again_keeps_one_document_and_raises_its_task(desk: Desk) -> None:
    """B4, C11: an existing record by phone is found; the sequencer is told, and decides."""
    await desk.give(*Ring().missed())
    desk.clock.move(600)
    await desk.give(*Ring("CA2", offset_s=600).missed())
    assert desk.types == ["lead.opened", "lead.assigned", "lead.called_again"]
    again = desk.told[2]
    assert isinstance(again, LeadCalledAgain)
    assert (again.call.call_id, len(desk.store.leads)) == ("CA2", 1)
    task = desk.lead()["task"]
    assert (task["due_at"], task["urgency"], task["reasons"]) == (AT, "high", ["missed_call", "called_again"])


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "after a restart"])
async def test_every_fact_delivered_three_times_changes_nothing_more(desk: Desk, restarted: bool) -> None:
    """M8, C11."""
    facts = Ring().missed()
    await desk.give(*facts)
    told = len(desk.producer.records)
    if restarted:
        desk.restart()
    assert set(await desk.give(*facts, *reversed(facts))) == {ignored("duplicate")}
    assert len(desk.producer.records) == told
    assert [officer["assigned_today"] for officer in desk.store.officers_.values()].count(1) == 1


@pytest.mark.parametrize("step", range(1, 14))
async def test_store_that_goes_away_at_any_moment_leaves_one_lead_after_the_retry(
    desk: Desk, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Ring().missed()
    await desk.give(*facts[:-1])
    asked = len(desk.store.asked)
    real_ask = desk.store._ask

    async def ask(what: str) -> None:
        if len(desk.store.asked) - asked == step:
            desk.store.fail = 1
        await real_ask(what)

    monkeypatch.setattr(desk.store, "_ask", ask)
    for _ in range(3):
        try:
            await desk.give(facts[-1])
        except TransientError:
            desk.restart()
    assert desk.types == ["lead.opened", "lead.assigned"]
    assert len(desk.store.leads) == 1
    assert sum(len(officer.get("taken", [])) for officer in desk.store.officers_.values()) == 1
    assert (desk.lead()["outbox"], desk.call()["applied"]) == ([], True)


async def test_events_that_kafka_did_not_take_leave_with_the_retry_in_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Ring().missed()
    await desk.give(*facts[:-1])

    async def away(*records: Wire) -> None:
        raise TransientError("Kafka is away")

    with monkeypatch.context() as patch:
        patch.setattr(desk.producer, "send_wire", away)
        with pytest.raises(TransientError):
            await desk.give(facts[-1])
    assert len(desk.lead()["outbox"]) == 2
    await desk.give(facts[-1])
    assert (desk.types, desk.lead()["outbox"]) == (["lead.opened", "lead.assigned"], [])


async def test_two_callers_at_once_go_to_two_officers(desk: Desk) -> None:
    await desk.give(*Ring().missed())
    await desk.give(*Ring("CA2", caller="+17185550135").missed())
    owners = {lead["owner_id"] for lead in desk.store.leads.values()}
    assert owners == {"dana-whitfield", "marcus-oyelaran"}


async def test_opt_out_is_suppressed_before_the_lead_hears_of_it(desk: Desk) -> None:
    await desk.give(*Ring().missed())
    desk.store.asked.clear()
    await desk.give(text("Stop."))
    assert desk.store.asked.index("suppress") < desk.store.asked.index("save_lead")
    assert isinstance(desk.told[-1], LeadOptedOut)
    lead = desk.lead()
    assert (lead["texting"], lead["halt_seq"], desk.told[-1].texting) == ("stopped", 3, "stopped")
    assert "twilio:SM1:received" in lead["seen"]
    assert await desk.store.is_suppressed(NUMBER)
    assert CALLER not in str(desk.store.suppressions)


async def test_opted_out_borrower_who_calls_again_stays_opted_out(desk: Desk) -> None:
    await desk.give(*Ring().missed(), text("STOP"))
    await desk.give(*Ring("CA2", offset_s=900).missed())
    assert (desk.told[-1].TYPE, desk.told[-1].texting) == ("lead.called_again", "stopped")


async def test_start_takes_the_opt_out_back(desk: Desk) -> None:
    await desk.give(*Ring().missed(), text("STOP"), text("start", "SM2"))
    assert (desk.types[-1], desk.lead()["texting"]) == ("lead.opted_in", "open")
    assert not await desk.store.is_suppressed(NUMBER)
    assert await desk.give(text("STOP")) == [ignored("duplicate")]
    assert not await desk.store.is_suppressed(NUMBER)


async def test_yes_of_an_opted_out_borrower_opts_in_and_of_any_other_is_an_answer(desk: Desk) -> None:
    await desk.give(*Ring().missed(), text("Yes"))
    assert desk.types[-1] == "lead.replied"
    await desk.give(text("STOP", "SM2"), text("YES", "SM3"))
    assert desk.types[-2:] == ["lead.opted_out", "lead.opted_in"]


async def test_stranger_who_opts_out_is_suppressed_and_a_later_call_makes_a_lead_without_texts(desk: Desk) -> None:
    await desk.give(text("unsubscribe"))
    assert await desk.store.is_suppressed(NUMBER)
    await desk.give(*Ring().missed())
    lead = desk.lead()
    assert (lead["texting"], desk.told[0].texting) == ("stopped", "stopped")
    assert lead["seen"][0] == "twilio:SM1:received"
    assert lead["task"]["state"] == "open"


async def test_strangers_repeated_stop_does_not_undo_a_later_start(desk: Desk) -> None:
    await desk.give(text("STOP"), text("START", "SM2"))
    assert await desk.give(text("STOP")) == [ignored("duplicate")]
    assert not await desk.store.is_suppressed(NUMBER)


async def test_help_is_kept_halts_nothing_and_tells_nobody(desk: Desk) -> None:
    await desk.give(*Ring().missed(), text("HELP"))
    assert (desk.types, desk.lead()["halt_seq"]) == (["lead.opened", "lead.assigned"], 0)
    assert "twilio:SM1:received" in desk.lead()["seen"]
    assert len(desk.store.messages) == 1


async def test_reply_halts_older_touches_and_makes_a_person_look(desk: Desk) -> None:
    await desk.give(*Ring().missed(), text("Hi, I want to refinance, can you call me after 5?"))
    replied = desk.told[-1]
    assert isinstance(replied, LeadReplied)
    assert (replied.intents, replied.answers.purpose) == (("refinance", "callback"), "refinance")
    lead = desk.lead()
    assert (lead["status"], lead["halt_seq"], lead["task"]["urgency"]) == ("conversing", 3, "high")
    assert lead["task"]["reasons"] == ["missed_call", "callback_asked"]
    assert await desk.give(text("Hi, I want to refinance, can you call me after 5?")) == [ignored("duplicate")]


async def test_first_reply_is_dated_once_and_words_that_steer_texting_are_none(desk: Desk) -> None:
    await desk.give(*Ring().missed(), text("HELP", "SM1", 100), text("STOP", "SM2", 110), text("START", "SM3", 120))
    assert "first_reply_at" not in desk.lead()
    await desk.give(text("Hello?", "SM4", 140), text("Still there?", "SM5", 150), text("(sent earlier)", "SM6", 130))
    assert desk.lead()["first_reply_at"] == at(130)


async def test_first_reply_from_before_there_was_a_lead_is_dated_by_that_text(desk: Desk) -> None:
    await desk.give(text("HELP", "SM1", -500), text("Are you open on Monday?", "SM2", -400), text("ok", "SM3", -300))
    await desk.give(*Ring().missed(), text("Hello?", "SM4", 140))
    assert desk.lead()["first_reply_at"] == at(-400)


async def test_voicemail_after_the_decision_goes_into_the_task_with_its_words(desk: Desk) -> None:
    await desk.give(*Ring().missed(), Ring().recorded(), Ring().transcribed(), Ring().recorded())
    task = desk.lead()["task"]
    assert desk.lead()["voicemail"] is True
    assert task["reasons"] == ["missed_call", "voicemail"]
    assert [one["transcript"] for one in task["voicemails"]] == ["Please call about a refinance"]
    assert desk.types == ["lead.opened", "lead.assigned"]


async def test_results_of_touches_are_kept_and_summed_up(desk: Desk) -> None:
    await desk.give(*Ring().missed())
    lead_id = desk.lead()["_id"]
    sent = result(TouchSent, lead_id, "sent", sid="SMx", body="We missed you", template="missed_call_first",
                  template_version=1, variant="free", sent_at=at(22), from_number="+12125550100")  # fmt: skip
    delivered = result(TouchDelivered, lead_id, "delivered", sid="SMx", delivered_at=at(24))
    held = result(TouchSuppressed, lead_id, "suppressed", "text-10min", reason="quiet_hours", until=at(9000))
    assert await desk.give(sent, delivered, held, sent) == [APPLIED, APPLIED, APPLIED, ignored("duplicate")]
    lead = desk.lead()
    assert (lead["touches"]["text-now"]["state"], lead["touches"]["text-10min"]["state"]) == ("delivered", "suppressed")
    assert (lead["texts"], lead["first_text_at"]) == (1, at(22))
    kept = desk.store.messages["touch-text-now:sent"]
    assert (kept["body"], kept["delivered_at"], kept["direction"]) == ("We missed you", at(24), "out")
    assert desk.store.messages["touch-text-10min:suppressed"]["state"] == "held"
    assert desk.types == ["lead.opened", "lead.assigned"]


async def test_carrier_block_is_an_opt_out_that_we_were_not_told_of(desk: Desk) -> None:
    await desk.give(*Ring().missed())
    await desk.give(result(TouchFailed, desk.lead()["_id"], "failed", error_code=21610))
    assert await desk.store.is_suppressed(NUMBER)
    assert (desk.types[-1], desk.lead()["texting"]) == ("lead.opted_out", "stopped")


async def test_requested_task_merges_into_the_open_one(desk: Desk) -> None:
    """Q22: touch 3 and the first hour's task are one."""
    await desk.give(*Ring().missed())
    lead_id = desk.lead()["_id"]
    await desk.give(
        result(TouchTaskRequested, lead_id, "task", "call-morning", due_at=at(70_000), reason="callback_morning"),
        result(TouchTaskRequested, lead_id, "task", "text-now", kind="text_not_sent", due_at=at(400), urgent=True,
               reason="first_text_expired"),
    )  # fmt: skip
    task = desk.lead()["task"]
    assert (task["due_at"], task["urgency"]) == (AT, "urgent")
    assert task["reasons"] == ["missed_call", "callback_morning", "first_text_expired"]
    assert desk.lead()["tasks_made"] == 1


async def test_task_requested_after_the_talk_is_done_already(desk: Desk) -> None:
    """Q22: done earlier."""
    await desk.give(*Ring().missed())
    again = Ring("CA2", offset_s=300)
    await desk.give(again.started(), again.leg_answered())
    late = result(TouchTaskRequested, desk.lead()["_id"], "task", "call-morning", due_at=at(70_000), reason="morning")
    assert await desk.give(late) == [ignored("task_done")]
    assert "task" not in desk.lead()


async def test_result_for_nobodys_lead_is_ignored(desk: Desk) -> None:
    assert await desk.give(result(TouchDelivered, "L0", "delivered", sid="SMx", delivered_at=at(1))) == [
        ignored("no_lead")
    ]


async def test_text_that_came_while_the_lead_was_made_is_applied_to_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Ring().missed()
    await desk.give(*facts[:-1])
    insert = desk.store.insert_lead

    async def insert_late(lead: Lead, now: datetime) -> bool:
        await desk.give(text("STOP"))
        return await insert(lead, now)

    monkeypatch.setattr(desk.store, "insert_lead", insert_late)
    await desk.give(facts[-1])
    assert desk.types == ["lead.opened", "lead.assigned", "lead.opted_out"]
    assert desk.lead()["texting"] == "stopped"


async def test_event_of_another_topic_is_ignored(desk: Desk) -> None:
    await desk.give(*Ring().missed())
    assert await desk.give(event("x:1", desk.told[0])) == [ignored("not_for_us")]
