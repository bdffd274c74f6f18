"""Replies and receipts."""

from xml.etree import ElementTree

import pytest

from tests.unit.ingest.rig import Rig

MESSAGE = "SM" + "d" * 32
REPLY = {
    "MessageSid": MESSAGE,
    "From": "+13035550123",
    "To": "+12125550100",
    "Body": "Yes, please call",
    "NumMedia": "0",
}
RECEIPT = {"MessageSid": MESSAGE, "From": "+12125550100", "To": "+13035550123"}


async def test_borrowers_text_is_a_reply_and_gets_an_empty_answer(rig: Rig) -> None:
    answer = await rig.twilio("sms", REPLY)
    assert answer.status == 200
    assert len(ElementTree.fromstring(await answer.text())) == 0
    [event] = rig.events
    assert (event.id, event.type, event.branch_id) == (f"twilio:{MESSAGE}:received", "reply.received", "new-york")
    assert event.key == b"larkspur:+13035550123"
    assert (event.data.body, event.data.opt_out_type) == ("Yes, please call", None)


@pytest.mark.parametrize(("said", "kept"), [("STOP", "STOP"), ("start", "START"), ("HELP", "HELP"), ("NEVER", None)])
async def test_keyword_that_the_carrier_answered_is_passed_on(rig: Rig, said: str, kept: str | None) -> None:
    await rig.twilio("sms", {**REPLY, "Body": said, "OptOutType": said})
    assert rig.events[0].data.opt_out_type == kept


async def test_stop_to_a_number_that_left_the_directory_is_kept_without_a_branch(rig: Rig) -> None:
    assert (await rig.twilio("sms", {**REPLY, "To": "+12065550100", "Body": "STOP"})).status == 200
    assert (rig.events[0].branch_id, rig.events[0].data.body) == ("", "STOP")


@pytest.mark.parametrize("sender", ["72645", "ACMEBANK", ""])
async def test_text_of_a_short_code_or_a_name_is_ignored(rig: Rig, sender: str) -> None:
    answer = await rig.twilio("sms", {**REPLY, "From": sender})
    assert answer.status == 200
    assert not rig.events


@pytest.mark.parametrize("status", ["queued", "sent", "delivered", "undelivered", "failed"])
async def test_receipt_carries_the_touch_of_its_url_and_is_keyed_by_its_to(rig: Rig, status: str) -> None:
    form = {**RECEIPT, "MessageStatus": status, "ErrorCode": "30003" if status == "undelivered" else ""}
    assert (await rig.twilio("message-status?touch=3f2b-77", form)).status == 204
    [event] = rig.events
    assert (event.id, event.type) == (f"twilio:{MESSAGE}:{status}", "receipt.received")
    assert event.key == b"larkspur:+13035550123"
    assert event.data.touch_id == "3f2b-77"
    assert event.data.error_code == (30003 if status == "undelivered" else None)


@pytest.mark.parametrize("status", ["receiving", "partially_delivered", "weird"])
async def test_receipt_with_a_status_we_do_not_know_is_ignored(rig: Rig, status: str) -> None:
    assert (await rig.twilio("message-status?touch=1", {**RECEIPT, "MessageStatus": status})).status == 204
    assert not rig.events


@pytest.mark.parametrize(
    ("target", "form", "field"),
    [("sms", {**REPLY, "MessageSid": "x"}, "MessageSid"), ("sms", {**REPLY, "To": "us"}, "To"),
     ("sms", {**REPLY, "NumMedia": "many"}, "NumMedia"), ("sms", {**REPLY, "Body": "x" * 10_001}, "Body"),
     ("message-status", {**RECEIPT, "MessageStatus": ""}, "MessageStatus"),
     ("message-status", {**RECEIPT, "MessageStatus": "sent", "To": ""}, "To"),
     ("message-status", {**RECEIPT, "MessageStatus": "sent", "ErrorCode": "x"}, "ErrorCode"),
     ("message-status?touch=a%20b", {**RECEIPT, "MessageStatus": "sent"}, "touch")],
)  # fmt: skip
async def test_malformed_text_or_receipt_gets_400_naming_the_field(
    rig: Rig, target: str, form: dict[str, str], field: str
) -> None:
    answer = await rig.twilio(target, form)
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == field
    assert not rig.events
