"""Whatever a sender does: never a 500, never half an event, always an answer in the closed set."""

import asyncio
import gzip
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from services.ingest import metrics
from services.ingest.shell import SMS, TWILIO
from services.ingest.signing import TWILIO_HEADER, sign_twilio

BASE, TOKEN, ACCOUNT = "https://hooks.larkspur.example", "auth-token-of-today", "AC" + "0" * 31 + "1"
SID = st.sampled_from(["CA" + "a" * 32, "SM" + "b" * 32, "RE" + "c" * 32, "CA", ""])
NUMBER = st.sampled_from(
    ["+12125550100", "+13035550123", "+1", "anonymous", "+266696687", "72645", "sip:x@y", "+" + "9" * 30]
)
ANY = st.text(max_size=40)
FORM = st.dictionaries(
    st.sampled_from([
        "CallSid", "From", "To", "CallStatus", "Direction", "CallDuration", "Timestamp", "Digits", "DialCallSid",
        "DialCallStatus", "DialBridged", "RecordingSid", "RecordingUrl", "RecordingStatus", "RecordingDuration",
        "TranscriptionStatus", "TranscriptionText", "MessageSid", "MessageStatus", "Body", "NumMedia",
        "OptOutType", "ErrorCode",
    ]),
    st.one_of(SID, NUMBER, ANY, st.sampled_from(["completed", "no-answer", "sent", "1", "-1", "99999999999999999999"])),
    max_size=12,
)  # fmt: skip
QUERY = st.dictionaries(
    st.sampled_from(["step", "call", "branch", "officer", "touch"]),
    st.one_of(SID, ANY, st.sampled_from(["screen", "pressed", "status", "after", "new-york", "dana-whitfield"])),
    max_size=5,
)
LOOSE = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@LOOSE
@given(route=st.sampled_from(sorted(TWILIO)), form=FORM, query=QUERY)
async def test_signed_random_form_never_breaks_ingest(
    phone: Any, route: str, form: dict[str, str], query: dict[str, str]
) -> None:
    full = {"AccountSid": ACCOUNT, **form}
    target = f"{route}?{urlencode(query)}" if query else route
    headers = {
        TWILIO_HEADER: sign_twilio(BASE + target, full, TOKEN),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    before = len(phone.events)
    url = URL(str(phone.client.make_url("/")).rstrip("/") + target, encoded=True)  # sent as signed, byte for byte
    answer = await phone.client.session.post(url, data=urlencode(full), headers=headers)
    assert answer.status in (200, 204, 400, 404), await answer.text()
    assert answer.status < 400 or len(phone.events) == before


@LOOSE
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(["application/x-www-form-urlencoded", "application/json", "text/plain", ""]),
)
@pytest.mark.parametrize("phone", ["insecure"], indirect=True)
async def test_random_bytes_never_break_ingest(phone: Any, body: bytes, kind: str) -> None:
    for route in (SMS, "/webhooks/twilio/voice", "/webhooks/calls"):
        answer = await phone.client.post(route, data=body, headers={"Content-Type": kind} if kind else {})
        assert answer.status in (400, 403, 415)
    assert not phone.events


async def test_huge_body_gets_413_and_nothing_else_happens(phone: Any) -> None:
    answer = await phone.twilio("sms", {"Body": "x" * 70_000})
    assert answer.status == 413
    assert (await answer.json())["error"]["reason"] == "too_large"


async def test_compressed_bomb_and_broken_compression_get_a_4xx(phone: Any) -> None:
    kinds = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b"a=" + b"x" * 10_000_000)
    assert (await phone.client.post(SMS, data=bomb, headers=kinds)).status == 413
    assert (await phone.client.post(SMS, data=b"not gzip at all", headers=kinds)).status == 400


async def test_more_fields_than_any_webhook_has_get_400(phone: Any) -> None:
    answer = await phone.twilio("sms", {f"f{n}": "" for n in range(500)})
    assert (answer.status, (await answer.json())["error"]["reason"]) == (400, "malformed_body")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", SMS, 405), ("POST", "/webhooks/none", 404), ("PUT", "/", 404)]
)
async def test_unknown_routes_and_methods_count_under_closed_labels(
    phone: Any, method: str, path: str, status: int
) -> None:
    assert (await phone.client.request(method, path)).status == status
    seen = {(s.labels["route"], s.labels["method"]) for m in metrics.REQUESTS.collect() for s in m.samples}
    assert {route for route, _ in seen} <= {*metrics.ROUTES, metrics.OTHER}
    assert {name for _, name in seen} <= {"GET", "POST", metrics.OTHER}


def test_metrics_cover_exactly_the_routes_there_are() -> None:
    assert set(metrics.ROUTES) == {*TWILIO, "/webhooks/calls"}


RECEIPT = {"MessageSid": "SM" + "d" * 32, "To": "+13035550123", "MessageStatus": "sent"}


async def test_event_that_kafka_does_not_acknowledge_gets_503_and_the_retry_makes_the_same_event(phone: Any) -> None:
    phone.producer.fail = 1
    answer = await phone.twilio("message-status", RECEIPT)
    assert (answer.status, (await answer.json())["error"]["reason"]) == (503, "not_acknowledged")
    assert "kafka" in phone.health.not_ready
    assert not phone.events
    assert (await phone.twilio("message-status", RECEIPT)).status == 204
    assert "kafka" not in phone.health.not_ready
    assert [event.id for event in phone.events] == [f"twilio:{RECEIPT['MessageSid']}:sent"]


async def test_acknowledgement_that_never_comes_gets_503_within_the_limit(phone: Any) -> None:
    class Silent:
        async def send(self, *_: Any) -> None:
            await asyncio.Event().wait()

    phone.ingest.outlet._producer, phone.ingest.outlet._limit_s = Silent(), 0.05
    assert (await phone.twilio("message-status", RECEIPT)).status == 503
    assert await phone.ingest.busy() is None


async def test_defect_of_ours_gets_500_without_its_details(phone: Any) -> None:
    class Broken:
        async def send(self, *_: Any) -> None:
            raise ZeroDivisionError("secret detail")

    phone.ingest.outlet._producer = Broken()
    answer = await phone.twilio("message-status", RECEIPT)
    assert answer.status == 500
    assert "secret detail" not in await answer.text()
