"""Each voice route's facts and TwiML."""

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from prometheus_client import REGISTRY

from tests.unit.ingest.rig import NIGHT, Rig

CALL, LEG, RECORDING = "CA" + "a" * 32, "CA" + "b" * 32, "RE" + "c" * 32
CALLER, NEW_YORK = "+13035550123", "+12125550100"
RINGING = {"CallSid": CALL, "From": CALLER, "To": NEW_YORK, "CallStatus": "ringing", "Direction": "inbound"}
NOW = datetime(2026, 3, 3, 20, 0, tzinfo=UTC)


def xml(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_open_branch_that_is_called_dials_every_officer_on_shift_screened_and_tells_how_many(rig: Rig) -> None:
    answer = await rig.twilio("voice", RINGING)
    assert answer.status == 200
    assert answer.content_type == "text/xml"
    dial = xml(await answer.text()).find("Dial")
    assert dial is not None
    assert (dial.get("answerOnBridge"), dial.get("timeout")) == ("true", "20")
    assert dial.get("action") == (
        f"https://hooks.larkspur.example/webhooks/twilio/dial?call={CALL}&branch=new-york#rc=5&rp=all"
    )
    numbers = dial.findall("Number")
    assert [number.text for number in numbers] == ["+12125550161", "+12125550162", "+12125550163"]
    assert f"step=screen&call={CALL}&branch=new-york&officer=dana-whitfield" in (numbers[0].get("url") or "")
    assert "step=status" in (numbers[0].get("statusCallback") or "")
    assert numbers[0].get("statusCallbackEvent") == "completed"
    [event] = rig.events
    assert (event.id, event.type, event.branch_id) == (f"twilio:{CALL}:started", "call.started", "new-york")
    assert event.key == b"larkspur:+13035550123"
    assert event.data.legs_dialled == 3
    assert (event.data.caller, event.data.dialled, event.data.started_at) == (CALLER, NEW_YORK, NOW)
    assert event.time == NOW
    assert event.received_at == rig.clock.real


async def test_callback_urls_in_twiml_never_carry_a_phone_number(rig: Rig) -> None:
    dial = xml(await (await rig.twilio("voice", RINGING)).text()).find("Dial")
    assert dial is not None
    urls = [dial.get("action"), *(number.get(name) for number in dial for name in ("url", "statusCallback"))]
    assert all(url and "5550" not in url for url in urls)


async def test_closed_branch_that_is_called_takes_a_voicemail_at_once(rig: Rig) -> None:
    rig.clock.virtual = NIGHT
    found = xml(await (await rig.twilio("voice", RINGING)).text())
    assert found.find("Dial") is None
    record = found.find("Record")
    assert record is not None
    assert (record.get("maxLength"), record.get("transcribe")) == ("120", "true")
    assert "/webhooks/twilio/transcription?" in (record.get("transcribeCallback") or "")
    assert "/webhooks/twilio/recording?" in (record.get("recordingStatusCallback") or "")
    assert "step=after" in (record.get("action") or "")
    assert rig.events[0].data.legs_dialled == 0


@pytest.mark.parametrize("said", ["anonymous", "", "+266696687", "+7378742833", "+86282452253", "Restricted"])
async def test_withheld_caller_is_an_event_without_a_number_keyed_by_the_call(rig: Rig, said: str) -> None:
    """Fact A10: a withheld number makes no lead; the call is still counted."""
    assert (await rig.twilio("voice", {**RINGING, "From": said})).status == 200
    [event] = rig.events
    assert event.data.caller is None
    assert event.data.caller_withheld is True
    assert event.key == f"larkspur:call:{CALL}".encode()


async def test_caller_that_is_no_number_is_kept_and_counted(rig: Rig) -> None:
    before = count("ringback_callers_unusable_total", reason="not_a_number")
    assert (await rig.twilio("voice", {**RINGING, "From": "client:dana"})).status == 200
    [event] = rig.events
    assert event.data.caller is None
    assert event.data.caller_withheld is False
    assert count("ringback_callers_unusable_total", reason="not_a_number") == before + 1


@pytest.mark.parametrize(("caller", "is_test"), [("+12125550199", True), ("+12125550198", True), (CALLER, False)])
async def test_internal_numbers_call_is_marked_a_test(rig: Rig, caller: str, is_test: bool) -> None:
    """Facts A11, C12: a lender tests the whole path with an internal number."""
    await rig.twilio("voice", {**RINGING, "From": caller})
    assert rig.events[0].data.test is is_test


async def test_number_of_no_branch_gets_404_naming_the_field_and_no_event(rig: Rig) -> None:
    labels = {"route": "/webhooks/twilio/voice", "reason": "unknown_number"}
    before = count("ringback_webhooks_rejected_total", **labels)
    answer = await rig.twilio("voice", {**RINGING, "To": "+12065550100"})
    assert answer.status == 404
    assert (await answer.json())["error"]["field"] == "To"
    assert "5550100" not in await answer.text()
    assert count("ringback_webhooks_rejected_total", **labels) == before + 1
    assert not rig.events


async def test_leg_that_is_picked_up_is_asked_to_press_one_and_proves_nothing(rig: Rig) -> None:
    """A carrier's voicemail picks up too."""
    query = f"leg?step=screen&call={CALL}&branch=new-york&officer=dana-whitfield"
    found = xml(await (await rig.twilio(query, {"CallSid": LEG, "From": CALLER})).text())
    gather = found.find("Gather")
    assert gather is not None
    assert gather.get("numDigits") == "1"
    assert f"step=pressed&call={CALL}&branch=new-york&officer=dana-whitfield" in (gather.get("action") or "")
    assert found.find("Hangup") is not None
    assert not rig.events


async def test_officer_who_presses_one_has_answered(rig: Rig) -> None:
    query = f"leg?step=pressed&call={CALL}&branch=new-york&officer=dana-whitfield"
    answer = await rig.twilio(query, {"CallSid": LEG, "From": CALLER, "Digits": "1"})
    assert len(xml(await answer.text())) == 0
    [event] = rig.events
    assert (event.id, event.type) == (f"twilio:{LEG}:answered", "call.leg_answered")
    assert (event.data.call_id, event.data.leg_id, event.data.officer_id) == (CALL, LEG, "dana-whitfield")
    assert event.key == b"larkspur:+13035550123"


async def test_officer_who_presses_another_key_is_asked_again(rig: Rig) -> None:
    query = f"leg?step=pressed&call={CALL}&branch=new-york&officer=dana-whitfield"
    answer = await rig.twilio(query, {"CallSid": LEG, "From": CALLER, "Digits": "7"})
    assert xml(await answer.text()).find("Gather") is not None
    assert not rig.events


@pytest.mark.parametrize("status", ["completed", "busy", "no-answer", "failed", "canceled"])
async def test_leg_that_ended_is_a_fact_with_its_status(rig: Rig, status: str) -> None:
    query = f"leg?step=status&call={CALL}&branch=new-york&officer=dana-whitfield"
    answer = await rig.twilio(query, {"CallSid": LEG, "From": CALLER, "CallStatus": status})
    assert answer.status == 204
    [event] = rig.events
    assert (event.id, event.data.status, event.branch_id) == (f"twilio:{LEG}:ended", status, "new-york")


@pytest.mark.parametrize("said", ["+266696687", NEW_YORK, ""])
async def test_leg_of_a_withheld_caller_names_no_caller(rig: Rig, said: str) -> None:
    """Fact A10: Twilio puts a number of ours, or a sentinel, where the caller's would be."""
    query = f"leg?step=status&call={CALL}&branch=new-york&officer=dana-whitfield"
    await rig.twilio(query, {"CallSid": LEG, "From": said, "CallStatus": "no-answer"})
    [event] = rig.events
    assert event.data.caller is None
    assert event.key == f"larkspur:call:{CALL}".encode()


@pytest.mark.parametrize("status", ["queued", "initiated", "ringing", "in-progress", "answered"])
async def test_call_that_still_runs_is_ignored_and_counted(rig: Rig, status: str) -> None:
    before = count("ringback_webhooks_ignored_total", why="not_final")
    leg = f"leg?step=status&call={CALL}&branch=new-york&officer=dana-whitfield"
    assert (await rig.twilio(leg, {"CallSid": LEG, "From": CALLER, "CallStatus": status})).status == 204
    assert (await rig.twilio("call-status", {**RINGING, "CallStatus": status})).status == 204
    assert count("ringback_webhooks_ignored_total", why="not_final") == before + 2
    assert not rig.events


@pytest.mark.parametrize(
    ("status", "extra", "voicemail"),
    [("completed", {}, False), ("answered", {}, False), ("completed", {"DialBridged": "true"}, False),
     ("completed", {"DialBridged": "false"}, True), ("no-answer", {}, True), ("busy", {}, True),
     ("failed", {}, True), ("canceled", {}, True)],
)  # fmt: skip
async def test_dial_that_nobody_took_ends_in_a_voicemail(
    rig: Rig, status: str, extra: dict[str, str], voicemail: bool
) -> None:
    form = {**RINGING, "DialCallSid": LEG, "DialCallStatus": status, **extra}
    found = xml(await (await rig.twilio(f"dial?call={CALL}&branch=new-york", form)).text())
    assert (found.find("Record") is not None) is voicemail
    [event] = rig.events
    assert (event.id, event.type) == (f"twilio:{LEG}:ended", "call.leg_ended")
    assert event.data.status == ("completed" if status == "answered" else status)


@pytest.mark.parametrize("query", ["", "?branch=boise", "?branch=new-york"])
async def test_dial_is_its_branchs_by_url_or_by_the_number_dialled(rig: Rig, query: str) -> None:
    await rig.twilio(f"dial{query}", {**RINGING, "DialCallSid": LEG, "DialCallStatus": "busy"})
    assert rig.events[0].branch_id == "new-york"


async def test_dial_without_a_leg_emits_nothing_and_takes_a_voicemail(rig: Rig) -> None:
    answer = await rig.twilio(f"dial?call={CALL}&branch=new-york", {**RINGING, "DialCallStatus": "failed"})
    assert xml(await answer.text()).find("Record") is not None
    assert not rig.events


async def test_call_that_ended_is_a_fact_with_its_duration_and_twilios_own_time(rig: Rig) -> None:
    form = {**RINGING, "CallStatus": "completed", "CallDuration": "31", "Timestamp": "Tue, 03 Mar 2026 19:58:30 +0000"}
    assert (await rig.twilio("call-status", form)).status == 204
    [event] = rig.events
    assert (event.id, event.data.duration_s) == (f"twilio:{CALL}:ended:completed", 31)
    assert event.time == event.data.ended_at == datetime(2026, 3, 3, 19, 58, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "said",
    ["Tue, 03 Mar 2026 19:54:59 +0000", "Tue, 03 Mar 2026 20:05:01 +0000", "soon", "0", "\x00",
     "Mon, 01 Jan 0001 00:00:00 +2359"],
)  # fmt: skip
async def test_provider_time_far_from_ours_or_unreadable_is_replaced_by_our_receipt_time(rig: Rig, said: str) -> None:
    await rig.twilio("call-status", {**RINGING, "CallStatus": "completed", "Timestamp": said})
    assert rig.events[0].time == rig.events[0].data.ended_at == NOW


async def test_outbound_leg_at_the_numbers_status_callback_is_no_borrowers_call(rig: Rig) -> None:
    form = {**RINGING, "Direction": "outbound-dial", "CallStatus": "completed"}
    assert (await rig.twilio("call-status", form)).status == 204
    assert not rig.events


async def test_voicemail_that_was_recorded_is_keyed_by_its_call(rig: Rig) -> None:
    form = {
        "CallSid": CALL,
        "RecordingSid": RECORDING,
        "RecordingStatus": "completed",
        "RecordingDuration": "17",
        "RecordingUrl": f"https://api.twilio.com/Recordings/{RECORDING}",
    }
    assert (await rig.twilio(f"recording?call={CALL}&branch=denver", form)).status == 204
    after = await rig.twilio(f"recording?step=after&call={CALL}&branch=denver", form)
    assert xml(await after.text()).find("Hangup") is not None
    assert [event.id for event in rig.events] == [f"twilio:{RECORDING}:recorded"] * 2
    event = rig.events[0]
    assert (event.type, event.data.duration_s, event.branch_id) == ("voicemail.recorded", 17, "denver")
    assert event.key == f"larkspur:call:{CALL}".encode()


@pytest.mark.parametrize("status", ["absent", "failed", "in-progress"])
async def test_recording_that_holds_nothing_is_ignored(rig: Rig, status: str) -> None:
    form = {"CallSid": CALL, "RecordingSid": RECORDING, "RecordingStatus": status}
    assert (await rig.twilio(f"recording?call={CALL}&branch=denver", form)).status == 204
    assert not rig.events


@pytest.mark.parametrize(("status", "text"), [("completed", "Please call me back"), ("failed", None)])
async def test_transcription_carries_the_words_or_says_there_are_none(rig: Rig, status: str, text: str | None) -> None:
    form = {"CallSid": CALL, "RecordingSid": RECORDING, "TranscriptionStatus": status, "TranscriptionText": text or ""}
    assert (await rig.twilio(f"transcription?call={CALL}&branch=denver", form)).status == 204
    [event] = rig.events
    assert (event.id, event.data.text) == (f"twilio:{RECORDING}:transcribed", text)


async def test_webhook_delivered_three_times_makes_the_same_event_each_time(rig: Rig) -> None:
    for _ in range(3):
        assert (await rig.twilio("call-status", {**RINGING, "CallStatus": "no-answer"})).status == 204
    ids = {event.id for event in rig.events}
    traces = {event.traceparent for event in rig.events}
    assert len(rig.events) == 3
    assert len(ids) == len(traces) == 1


async def test_fact_of_a_branch_that_left_the_directory_is_kept_without_a_branch(rig: Rig) -> None:
    form = {"CallSid": LEG, "From": CALLER, "CallStatus": "no-answer"}
    assert (await rig.twilio(f"leg?step=status&call={CALL}&branch=boise", form)).status == 204
    assert rig.events[0].branch_id == ""


@pytest.mark.parametrize(
    ("target", "form", "field"),
    [("voice", {"To": NEW_YORK}, "CallSid"), ("voice", {**RINGING, "CallSid": "CA1"}, "CallSid"),
     (f"leg?step=dance&call={CALL}", {"CallSid": LEG}, "step"), ("leg?step=screen", {"CallSid": LEG}, "call"),
     ("dial", RINGING, "DialCallStatus"), ("call-status", {**RINGING, "CallStatus": ""}, "CallStatus"),
     ("call-status", {**RINGING, "CallStatus": "completed", "CallDuration": "-3"}, "CallDuration"),
     ("call-status", {**RINGING, "CallStatus": "completed", "CallDuration": "long"}, "CallDuration"),
     ("recording", {"CallSid": CALL}, "RecordingSid"),
     ("recording", {"CallSid": CALL, "RecordingSid": RECORDING, "RecordingUrl": "javascript:x"}, "RecordingUrl"),
     ("transcription", {"CallSid": CALL, "RecordingSid": RECORDING}, "TranscriptionStatus")],
)  # fmt: skip
async def test_malformed_webhook_gets_400_naming_the_field_and_no_event(
    rig: Rig, target: str, form: dict[str, str], field: str
) -> None:
    answer = await rig.twilio(target, form)
    assert answer.status == 400
    error = (await answer.json())["error"]
    assert (error["reason"], error["field"]) == ("invalid_field", field)
    assert not rig.events
