"""The notifier's promises, on the real parts: each touch at most one text, and a result for whatever became of it."""

import signal
from datetime import timedelta
from pathlib import Path

from deploy.sandbox.faults import FaultSpec
from schemas.touches import TouchSent, TouchSuppressed, TouchTaskRequested
from services.runtime.clock import real_now
from tests.infra.polling import eventually
from tests.integration.notifier.conftest import ROOT, Rig


async def test_due_touch_becomes_one_text_and_its_receipts_its_results(rig: Rig, caller: str) -> None:
    """Facts C1, C10, C14: sent from the branch's number, in words that need no name and are true now."""
    await rig.start()
    lead = await rig.lead(caller)
    await rig.database.officers.insert_one({"_id": "dana-whitfield", "status": "busy"})
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    stored = await rig.state(touch, "sent")
    (text,) = rig.texts(caller)
    assert text.from_ == "+12125550100"
    assert (
        text.status_callback == f"https://hooks.example.com/webhooks/twilio/message-status?touch={touch.id}#rc=5&rp=all"
    )
    assert 1 <= text.validity_s <= 300
    assert text.body.startswith(("Hi, sorry I missed your call!", "Hi, sorry we missed your call!"))
    assert "now" not in text.body
    assert "STOP" in text.body
    stages = [
        stored[name] for name in ("received_real", "accepted_real", "claimed_real", "posted_real", "answered_real")
    ]
    assert stages == sorted(stages)
    await rig.receipt(caller, text.sid, "delivered", touch.id)
    await rig.receipt(caller, text.sid, "sent", touch.id)
    await rig.state(touch, "delivered")
    await eventually(lambda: rig.types(lead) == ["touch.sent", "touch.delivered"], why="results in order")
    sent = rig.of(lead)[0]
    assert isinstance(sent, TouchSent)
    assert (sent.body, sent.sid, sent.attempt) == (text.body, text.sid, 1)
    assert "ringback_first_text_seconds_count 1.0" in await rig.metrics()
    emitted = await eventually(lambda: [e for e in rig.results if e.data.TYPE == "touch.delivered"])
    assert emitted[0].key == touch.key
    assert emitted[0].id == f"{touch.id}:delivered"
    assert emitted[0].received_at == touch.received_at.replace(  # type: ignore[union-attr]
        microsecond=touch.received_at.microsecond // 1000 * 1000  # type: ignore[union-attr]
    )
    assert await rig.end() == 0


async def test_touch_that_comes_again_before_and_after_a_restart_is_one_text(rig: Rig, caller: str) -> None:
    await rig.start()
    lead = await rig.lead(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch, touch)
    await rig.state(touch, "sent")
    assert await rig.end() == 0
    await rig.producer.send(touch)
    await rig.start()
    other = rig.touch(lead, caller, attempt=2)
    await rig.producer.send(other)
    stored = await rig.state(other, "suppressed")
    assert stored["reason"] == "already_sent"
    assert len(rig.texts(caller)) == 1


async def test_reply_that_leads_has_not_read_stops_the_text_and_says_until_when(rig: Rig, caller: str) -> None:
    await rig.start()
    lead = await rig.lead(caller)
    await rig.reply(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    await rig.state(touch, "suppressed")
    (said,) = await eventually(lambda: rig.of(lead))
    assert isinstance(said, TouchSuppressed)
    assert said.reason == "reply_in_flight"
    assert said.until is not None
    assert rig.texts(caller) == []


async def test_reply_before_the_start_that_leads_has_read_and_that_did_not_halt_lets_the_text_go(
    rig: Rig, caller: str
) -> None:
    reply = await rig.reply(caller)
    await rig.start()
    lead = await rig.lead(caller, seen=[reply])
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    await rig.state(touch, "sent")


async def test_suppressed_number_gets_nothing(rig: Rig, caller: str) -> None:
    await rig.start()
    lead = await rig.lead(caller)
    await rig.suppress(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    assert (await rig.state(touch, "suppressed"))["reason"] == "opted_out"
    assert rig.texts(caller) == []


def strict_directory(folder: Path) -> Path:
    """Write a lender who texts nobody after hours, and whose New York branch has been closed since yesterday."""
    text = (ROOT / "deploy/examples/lender.yaml").read_text()
    days = [(real_now() + timedelta(days=n)).date().isoformat() for n in (-1, 0, 1)]
    for old, new in (
        ("after_hours_text: true", "after_hours_text: false"),
        ("second_text_needs_consent: false", "second_text_needs_consent: true"),
        ("    exceptions:\n", "    exceptions:\n" + "".join(f"      {day}: []\n" for day in days)),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "lender.yaml"
    path.write_text(text)
    return path


async def test_lenders_policies_hold_texts_for_good_at_a_closed_branch_and_without_consent(
    rig: Rig, caller: str, tmp_path: Path
) -> None:
    await rig.start(RINGBACK_DIRECTORY=str(strict_directory(tmp_path)))
    lead = await rig.lead(caller)
    first, second = rig.touch(lead, caller), rig.touch(lead, caller, step="text-10min", first_of_sequence=False)
    await rig.producer.send(first, second)
    await rig.state(first, "suppressed")
    await rig.state(second, "suppressed")
    said = await eventually(lambda: found if len(found := rig.of(lead)) == 2 else [])
    held = {one.step: (one.reason, one.until) for one in said if isinstance(one, TouchSuppressed)}
    assert held == {"text-now": ("after_hours_policy", None), "text-10min": ("consent_needed", None)}
    assert rig.texts(caller) == []


async def test_borrower_who_texted_before_the_call_gets_the_second_text_of_a_lender_who_asks_for_consent(
    rig: Rig, caller: str, tmp_path: Path
) -> None:
    await rig.start(RINGBACK_DIRECTORY=str(strict_directory(tmp_path)))
    lead = await rig.lead(caller, first_reply_at=real_now() - timedelta(days=2))
    second = rig.touch(lead, caller, step="text-10min", template="missed_call_second", first_of_sequence=False)
    await rig.producer.send(second)
    await rig.state(second, "sent")
    assert len(rig.texts(caller)) == 1


async def test_delivery_that_cannot_be_read_keeps_no_other_text_waiting(rig: Rig, caller: str) -> None:
    await rig.start()
    now = real_now()
    await rig.database.deliveries.insert_many(
        [
            {"_id": f"broken-{n}", "rev": 1, "state": "accepted", "lane": "urgent", "not_before": now, "outbox": []}
            for n in range(40)
        ]
    )
    lead = await rig.lead(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    await rig.state(touch, "sent")
    await eventually(rig.ready, why="one document is no reason to be unready")
    assert 'ringback_round_failures_total{round="look for due texts"}' in await rig.metrics()


async def test_touch_that_came_too_late_becomes_an_urgent_task(rig: Rig, caller: str) -> None:
    await rig.start()
    lead = await rig.lead(caller)
    touch = rig.touch(lead, caller, expires_at=real_now() - timedelta(seconds=1))
    await rig.producer.send(touch)
    await rig.state(touch, "expired")
    await eventually(lambda: rig.types(lead) == ["touch.suppressed", "touch.task_requested"])
    task = rig.of(lead)[1]
    assert isinstance(task, TouchTaskRequested)
    assert (task.kind, task.urgent) == ("text_not_sent", True)


async def test_busy_provider_is_asked_again_and_the_text_goes_once(rig: Rig, caller: str) -> None:
    rig.sandbox.faults.add(FaultSpec(kind="429", next=1))
    await rig.start()
    lead = await rig.lead(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    assert (await rig.state(touch, "sent"))["tries"] == 2
    assert len(rig.texts(caller)) == 1


async def test_lost_answer_is_settled_by_the_receipt_and_never_sent_again(rig: Rig, caller: str) -> None:
    rig.sandbox.faults.add(FaultSpec(kind="lost", next=1))
    await rig.start(RINGBACK_DOUBT_WAIT_S="600")
    lead = await rig.lead(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    (text,) = await eventually(lambda: rig.texts(caller))
    assert (await rig.state(touch, "posting"))["sent_key"]
    await rig.receipt(caller, text.sid, "sent", touch.id)
    assert (await rig.state(touch, "sent"))["sid"] == text.sid
    await eventually(lambda: rig.types(lead) == ["touch.sent"])
    assert len(rig.texts(caller)) == 1


async def test_server_error_that_sent_nothing_is_sent_once_more_when_the_list_has_been_read(
    rig: Rig, caller: str
) -> None:
    rig.sandbox.faults.add(FaultSpec(kind="5xx", next=1))
    await rig.start()
    lead = await rig.lead(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    assert (await rig.state(touch, "sent", 30))["resent"]
    await eventually(lambda: rig.types(lead) == ["touch.sent"])
    assert len(rig.texts(caller)) == 1


async def test_second_server_error_is_unknown_and_a_task_and_no_third_request(rig: Rig, caller: str) -> None:
    rig.sandbox.faults.add(FaultSpec(kind="5xx", next=2))
    await rig.start()
    lead = await rig.lead(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    await rig.state(touch, "unknown", 50)
    await eventually(lambda: rig.types(lead) == ["touch.task_requested"])
    assert rig.texts(caller) == []


async def test_notifier_killed_while_posting_finds_its_text_in_the_list_and_sends_no_second(
    rig: Rig, caller: str
) -> None:
    rig.sandbox.faults.add(FaultSpec(kind="slow", next=1, delay_ms=8000))
    await rig.start()
    lead = await rig.lead(caller)
    touch = rig.touch(lead, caller)
    await rig.producer.send(touch)
    await eventually(lambda: rig.texts(caller))
    await rig.end(signal.SIGKILL)
    assert (await rig.delivery(touch))["state"] == "posting"
    await rig.start()
    stored = await rig.state(touch, "sent", 30)
    assert stored["sid"] == rig.texts(caller)[0].sid
    await eventually(lambda: rig.types(lead) == ["touch.sent"])
    assert len(rig.texts(caller)) == 1


async def test_other_number_key_refuses_to_start(rig: Rig) -> None:
    await rig.start()
    assert await rig.end() == 0
    await rig.start(RINGBACK_NUMBER_KEY="quite-another-key-than-before")
    assert rig.process is not None
    assert await rig.process.wait() == 78
