"""Whatever is wrong in a webhook: the answer says which field and what is expected, never the value that came."""

from typing import Any, Final

import pytest

from services.ingest import routes
from tests.unit.error_texts import assert_for_people
from tests.unit.ingest.rig import TWILIO_PREFIX, Rig

SID: Final = {"CallSid": "CA" + "a" * 32, "MessageSid": "SM" + "d" * 32, "RecordingSid": "RE" + "c" * 32}
PARTIES: Final = {"From": "+13035550123", "To": "+12125550100"}
FIELDS: Final = (
    *SID, *PARTIES, "CallStatus", "CallDuration", "DialCallSid", "DialCallStatus", "RecordingUrl", "RecordingDuration",
    "TranscriptionStatus", "MessageStatus", "Body", "NumMedia", "ErrorCode", "OptOutType", "Digits", "Direction",
)  # fmt: skip
REPORT: Final[dict[str, Any]] = {
    "event": "call.completed", "call_id": "rc-1", "from": "+13035550123", "to": "+12125550100",
    "started_at": "2026-03-03T14:58:00-05:00", "duration": 0, "answered": False, "talk_time": 0, "ended_at": None,
    "voicemail": False,
}  # fmt: skip
WRONG: Final[tuple[Any, ...]] = (None, 5, -1, 1e300, "", "a b", "x" * 300, True, [], {}, "?")


async def told(rig: Rig, target: str, form: dict[str, str]) -> list[str]:
    answer = await rig.twilio(target, form)
    if answer.status < 400:
        return []
    assert answer.status in (400, 404)
    return [f"{error['field']}: {error['message']}" for error in [(await answer.json())["error"]]]


@pytest.mark.parametrize("route", routes.TWILIO)
async def test_wrong_field_of_a_twilio_webhook_is_told_in_words(rig: Rig, route: str) -> None:
    target = route.removeprefix(TWILIO_PREFIX)
    messages = await told(rig, target, {})
    for query, wrong in ((f"?step=status&call={SID['CallSid']}", "wrong"), ("?step=after", "-3")):
        for name in FIELDS:
            messages += await told(rig, target + query, {**SID, **PARTIES, name: wrong})
    messages += await told(rig, target + "?step=pressed&call=a%20b&branch=a%20b&touch=a%20b", {**SID, **PARTIES})
    messages += await told(rig, target, {**SID, **PARTIES, "Body": "x" * 12_000})
    assert_for_people(*messages)
    assert not [message for message in messages if "wrong" in message or "xxx" in message]


@pytest.mark.parametrize("name", sorted(REPORT))
async def test_wrong_field_of_a_report_is_told_in_words(rig: Rig, name: str) -> None:
    for wrong in WRONG:
        answer = await rig.calls({**REPORT, name: wrong})
        if answer.status >= 400:
            error = (await answer.json())["error"]
            assert error["field"] == name
            assert_for_people(error["message"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"call_id": "a b"}, "is not an id; write up to 128 letters, digits or signs, no spaces"),
        ({"duration": "5"}, "is not a number"),
        ({"answered": "yes"}, "is neither true nor false"),
        ({"started_at": "2026-03-03T14:58"}, "is not a time; write it with its offset, like 2026-03-03T14:58:00-05:00"),
        ({"event": "call.started"}, "is not 'call.completed'"),
    ],
)
async def test_message_says_what_a_right_value_looks_like(rig: Rig, change: dict[str, Any], message: str) -> None:
    answer = await rig.calls({**REPORT, **change})
    assert (await answer.json())["error"]["message"] == message


async def test_touch_in_a_callback_url_is_told_which_signs_it_may_have(rig: Rig) -> None:
    form = {"MessageSid": SID["MessageSid"], "MessageStatus": "sent", "To": "+13035550123"}
    answer = await rig.twilio("message-status?touch=a%20b", form)
    error = (await answer.json())["error"]
    assert error["message"] == "is not an id; write up to 200 letters, digits, '-', '_', '.' or ':'"


async def test_number_that_is_none_is_told_how_to_write_one(rig: Rig) -> None:
    answer = await rig.twilio("sms", {**SID, **PARTIES, "To": "us"})
    error = (await answer.json())["error"]
    assert (error["field"], error["message"]) == (
        "To",
        "is not a phone number; write +1 and ten digits, such as +12125550100",
    )
