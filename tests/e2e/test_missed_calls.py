"""From the phone company's webhooks to the provider's door and back: every process real, Kafka and MongoDB real."""

import json
from datetime import timedelta

import pytest

from deploy.local.system import WEBHOOK_SECRET
from services.ingest.signing import CALLS_HEADER, sign_calls
from services.runtime.clock import real_now
from tests.e2e.telephony import NEW_YORK, Call, World, new_caller
from tests.infra.polling import eventually


async def test_missed_call_yields_one_text_within_two_seconds_a_lead_and_an_owned_task(world: World) -> None:
    """Facts A1, A9, B1, B2, C1, C5, C6, C7, C10, C14, Q1, Q22: detection at once, one clear lawful text, a lead, an owned task."""
    caller, began = new_caller(), world.now() - timedelta(seconds=1)
    await Call(world, caller).is_missed()
    (text,) = await world.texts_within(caller, 1, 2.0)
    body = text["body"]
    assert "Larkspur Home Lending" in body
    assert "NMLS" in body
    assert "STOP" in body
    assert "None" not in body
    assert body.isascii()
    assert len(body) <= 306, "two GSM-7 segments at most"
    lead = await eventually(lambda: world.lead(caller), why="a lead")
    assert lead["caller"] == caller
    assert began <= lead["first_contact_at"] <= world.now()
    assert lead["source"] == "Inbound missed call"
    assert lead["status"] == "attempted_contact"
    assert lead["owner_id"]
    assert lead["task"]["state"] == "open"
    assert lead["task"]["due_at"] <= world.now()


async def test_second_text_comes_ten_minutes_after_the_first_and_never_earlier(world: World) -> None:
    """Facts C2, C4: who has not answered gets a second text ten minutes after the first."""
    caller = new_caller()
    await Call(world, caller).is_missed()
    await world.texts_within(caller, 1, 5.0)
    await world.idle()
    world.move(minutes=9, seconds=30)
    await world.idle()
    assert len(await world.texts_to(caller)) == 1
    world.move(seconds=30)
    _, second = await world.texts_within(caller, 2, 10.0)
    assert "best time" in second["body"]


@pytest.mark.parametrize("status_first", [True, False], ids=["call-status before dial", "call-status after dial"])
async def test_answered_call_gets_no_text_and_no_lead(world: World, status_first: bool) -> None:
    """Fact A4, the other way: an officer pressed the key, so a person talked; the call is counted, because the rates need it."""
    caller = new_caller()
    call = Call(world, caller)
    await call.voice()
    await call.press_key()
    if status_first:
        await call.ends()
        await call.legs_end("completed")
        await call.dial("completed")
    else:
        await call.legs_end("completed")
        await call.dial("completed")
        await call.ends()
    found = await eventually(
        lambda: world.db.calls.find_one({"caller": caller, "outcome": {"$exists": True}}), 10, "a decision"
    )
    assert found["outcome"] == "answered"
    await world.idle()
    assert await world.texts_to(caller) == []
    assert await world.lead(caller) is None


async def test_carriers_voicemail_that_picks_up_a_leg_is_no_answer(world: World) -> None:
    """Facts Q1, A3: the leg completed, but nobody pressed the key; the voicemail's words are in the task."""
    caller = new_caller()
    call = Call(world, caller)
    await call.voice()
    await call.legs_end("completed")
    await call.dial("no-answer")
    await call.ends()
    await call.voicemail("Please call me back about a refinance")
    await world.texts_within(caller, 1, 5.0)
    lead = await eventually(
        lambda: world.db.leads.find_one({"caller": caller, "task.voicemails.transcript": {"$exists": True}}),
        10,
        "words",
    )
    assert lead["task"]["voicemails"][0]["transcript"] == "Please call me back about a refinance"


async def test_hang_up_while_it_rings_still_counts_and_is_texted_within_four_seconds(world: World) -> None:
    """Facts A4, A5, A8: a caller who hangs up ringing is recovered, though no dial action and no leg's end ever come."""
    caller = new_caller()
    call = Call(world, caller)
    await call.voice()
    await call.ends()
    await world.texts_within(caller, 1, 4.0)


async def test_webhooks_delivered_three_times_and_out_of_order_yield_one_text(world: World) -> None:
    """Fact M8: one text however often and in whatever order the webhooks come."""
    caller = new_caller()
    call = Call(world, caller)
    await call.voice()
    for step in (call.ends, call.dial, call.legs_end, call.voice) * 3:
        await step()
    await world.texts_within(caller, 1, 5.0)
    await world.idle()
    assert len(await world.texts_to(caller)) == 1
    assert await world.db.leads.count_documents({"caller": caller}) == 1


@pytest.mark.parametrize("withheld", ["anonymous", "", "+266696687", "Restricted"])
async def test_withheld_caller_is_counted_and_becomes_no_lead(world: World, withheld: str) -> None:
    """Fact A10: a withheld number is counted, makes no lead and gets no text."""
    call = Call(world, withheld)
    leads = await world.db.leads.count_documents({})
    await call.is_missed()
    found = await eventually(
        lambda: world.db.calls.find_one({"call_id": call.sid, "outcome": {"$exists": True}}), 10, "a decision"
    )
    assert found["outcome"] == "missed"
    assert found["withheld"] is True
    await world.idle()
    assert await world.db.leads.count_documents({}) == leads


@pytest.mark.parametrize("leads_stands_still", [False, True], ids=["leads service works", "leads service stands still"])
async def test_stop_between_the_texts_means_no_second_text(world: World, leads_stands_still: bool) -> None:
    """Fact M2: an opt-out holds at once, even while the leads service has not read the reply when the touch comes due."""
    caller = new_caller()
    await Call(world, caller).is_missed()
    await world.texts_within(caller, 1, 5.0)
    await world.idle()
    if leads_stands_still:
        world.system.pause("leads")
    try:
        await world.reply(caller, "STOP")
        if not leads_stands_still:
            await eventually(lambda: world.db.leads.find_one({"caller": caller, "texting": "stopped"}), 10, "stopped")
        world.move(minutes=10)
        if leads_stands_still:
            held = await eventually(
                lambda: world.db.deliveries.find_one(
                    {"caller": caller, "step": "text-10min", "reason": {"$exists": True}}
                ),
                10,
                "a held text",
            )
            assert held["reason"] in ("reply_in_flight", "opted_out")
    finally:
        if leads_stands_still:
            world.system.resume("leads")
    await eventually(lambda: world.db.leads.find_one({"caller": caller, "texting": "stopped"}), 20, "stopped")
    await world.idle()
    world.move(minutes=2)
    await world.idle()
    assert len(await world.texts_to(caller)) == 1


async def test_reply_stops_the_follow_up(world: World) -> None:
    """Fact C2: the second text is only for those who have not answered."""
    caller = new_caller()
    await Call(world, caller).is_missed()
    await world.texts_within(caller, 1, 5.0)
    await world.reply(caller, "Yes, looking to refinance")
    await eventually(
        lambda: world.db.messages.find_one({"caller": caller, "direction": "in"}), 10, "the reply on record"
    )
    await world.idle()
    world.move(minutes=11)
    await world.idle()
    assert len(await world.texts_to(caller)) == 1


async def test_second_missed_call_the_same_day_goes_to_the_task_and_sends_no_second_first_text(world: World) -> None:
    """Facts C11, Q2, B3, B4: one lead, one sequence a local day; a second call goes to the callback task."""
    caller = new_caller()
    await Call(world, caller).is_missed()
    await world.texts_within(caller, 1, 5.0)
    await world.idle()
    await Call(world, caller).is_missed()
    lead = await eventually(
        lambda: world.db.leads.find_one({"caller": caller, "calls": 2}), 10, "the second call on the lead"
    )
    await world.idle()
    assert len(await world.texts_to(caller)) == 1
    assert lead["task"]["state"] == "open"
    assert "called_again" in lead["task"]["reasons"]
    assert lead["owner_id"]
    assert await world.db.leads.count_documents({"caller": caller}) == 1


async def test_phone_task_comes_due_the_next_business_morning_of_the_branch(world: World) -> None:
    """Facts C3, Q22, D5: touch 3 is the same task, due the next business morning at 8:30."""
    caller = new_caller()
    await Call(world, caller).is_missed()
    await world.texts_within(caller, 1, 5.0)
    await world.idle()
    world.move(minutes=10)
    await world.texts_within(caller, 2, 10.0)
    await world.idle()
    due = await world.db.timers.find_one({"key": f"larkspur:{caller}", "state": "pending"})
    assert due is not None
    local = due["due"]
    assert (local.hour, local.minute) == (12, 30), "8:30 in New York's summer time"
    world.move_to(local + timedelta(seconds=1))
    lead = await eventually(
        lambda: world.db.leads.find_one({"caller": caller, "task.reasons.1": {"$exists": True}}), 10, "the task merged"
    )
    assert lead["task"]["state"] == "open"


@pytest.mark.parametrize(
    ("answered", "talk", "outcome", "texts"),
    [(False, 0, "missed", 1), (True, 0, "abandoned", 1), (True, 95, "answered", 0)],
    ids=["missed", "abandoned", "answered"],
)
async def test_whole_call_report_is_recovered_the_same_way(
    world: World, answered: bool, talk: int, outcome: str, texts: int
) -> None:
    """Facts A1-A5: the provider-neutral call.completed says whether anyone answered and talked."""
    caller = new_caller()
    started = world.now() - timedelta(seconds=100)
    body = json.dumps(
        {
            "event": "call.completed",
            "call_id": f"neutral-{caller}",
            "from": caller,
            "to": NEW_YORK,
            "started_at": started.isoformat(),
            "duration": 100 if answered else 0,
            "answered": answered,
            "talk_time": talk,
        }
    ).encode()
    signature = sign_calls(body, int(real_now().timestamp()), WEBHOOK_SECRET)
    for _ in range(2):
        async with world.http.post(
            f"{world.system.ingest_url}/webhooks/calls",
            data=body,
            headers={CALLS_HEADER: signature, "Content-Type": "application/json"},
        ) as answer:
            assert answer.status < 300, await answer.text()
    found = await eventually(
        lambda: world.db.calls.find_one({"caller": caller, "outcome": {"$exists": True}}), 10, "a decision"
    )
    assert found["outcome"] == outcome
    await world.texts_within(caller, texts, 5.0)
    await world.idle()
    assert len(await world.texts_to(caller)) == texts
