"""Whatever a sender does: never a 500, never half an event, always an answer in the closed set."""

import asyncio
import gzip
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from schemas.base import EventData
from schemas.envelope import Event
from services.ingest import metrics, routes
from services.ingest.adapters.kafka import Outlet
from services.ingest.phone_systems import TWILIO_READERS
from services.ingest.routes import SMS
from services.ingest.signing import TWILIO_HEADER, sign_twilio
from services.runtime.producer import FakeProducer
from tests.unit.ingest.rig import ACCOUNT, BASE, TOKEN, Rig

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
@given(route=st.sampled_from(routes.TWILIO), form=FORM, query=QUERY)
async def test_signed_random_form_never_breaks_ingest(
    rig: Rig, route: str, form: dict[str, str], query: dict[str, str]
) -> None:
    full = {"AccountSid": ACCOUNT, **form}
    target = f"{route}?{urlencode(query)}" if query else route
    headers = {
        TWILIO_HEADER: sign_twilio(BASE + target, full, TOKEN),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    before = len(rig.events)
    url = URL(str(rig.client.make_url("/")).rstrip("/") + target, encoded=True)  # sent as signed, byte for byte
    answer = await rig.client.session.post(url, data=urlencode(full), headers=headers)
    assert answer.status in (200, 204, 400, 404), await answer.text()
    assert answer.status < 400 or len(rig.events) == before


@LOOSE
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(["application/x-www-form-urlencoded", "application/json", "text/plain", ""]),
)
@pytest.mark.parametrize("rig", ["insecure"], indirect=True)
async def test_random_bytes_never_break_ingest(rig: Rig, body: bytes, kind: str) -> None:
    for route in (SMS, routes.VOICE, routes.CALLS):
        answer = await rig.client.post(route, data=body, headers={"Content-Type": kind} if kind else {})
        assert answer.status in (400, 403, 415)
    assert not rig.events


async def test_huge_body_gets_413_and_nothing_else_happens(rig: Rig) -> None:
    answer = await rig.twilio("sms", {"Body": "x" * 70_000})
    assert answer.status == 413
    assert (await answer.json())["error"]["reason"] == "too_large"


async def test_compressed_bomb_and_broken_compression_get_a_4xx(rig: Rig) -> None:
    kinds = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b"a=" + b"x" * 10_000_000)
    assert (await rig.client.post(SMS, data=bomb, headers=kinds)).status == 413
    assert (await rig.client.post(SMS, data=b"not gzip at all", headers=kinds)).status == 400


async def test_more_fields_than_any_webhook_has_get_400(rig: Rig) -> None:
    answer = await rig.twilio("sms", {f"f{n}": "" for n in range(500)})
    assert (answer.status, (await answer.json())["error"]["reason"]) == (400, "malformed_body")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", SMS, 405), ("POST", "/webhooks/none", 404), ("PUT", "/", 404)]
)
async def test_unknown_routes_and_methods_count_under_closed_labels(
    rig: Rig, method: str, path: str, status: int
) -> None:
    assert (await rig.client.request(method, path)).status == status
    seen = {(s.labels["route"], s.labels["method"]) for m in metrics.REQUESTS.collect() for s in m.samples}
    assert {route for route, _ in seen} <= {*routes.ALL, metrics.OTHER}
    assert {name for _, name in seen} <= {"GET", "POST", metrics.OTHER}


def test_every_route_has_its_reader_and_its_metrics() -> None:
    assert {*TWILIO_READERS, routes.CALLS} == set(routes.ALL)
    counted = {sample.labels["route"] for metric in metrics.REJECTED.collect() for sample in metric.samples}
    assert counted >= set(routes.ALL)


RECEIPT = {"MessageSid": "SM" + "d" * 32, "To": "+13035550123", "MessageStatus": "sent"}


async def test_event_that_kafka_does_not_acknowledge_gets_503_and_the_retry_makes_the_same_event(rig: Rig) -> None:
    rig.producer.fail = 1
    answer = await rig.twilio("message-status", RECEIPT)
    assert (answer.status, (await answer.json())["error"]["reason"]) == (503, "not_acknowledged")
    assert "kafka" in rig.health.not_ready
    assert not rig.events
    assert (await rig.twilio("message-status", RECEIPT)).status == 204
    assert "kafka" not in rig.health.not_ready
    assert [event.id for event in rig.events] == [f"twilio:{RECEIPT['MessageSid']}:sent"]


async def test_acknowledgement_that_never_comes_gets_503_within_the_limit(rig: Rig) -> None:
    class Silent(FakeProducer):
        async def send(self, *events: Event[EventData]) -> None:
            await asyncio.Event().wait()

    rig.goes_through(Outlet(producer=Silent(), health=rig.health, limit_s=0.05))
    assert (await rig.twilio("message-status", RECEIPT)).status == 503
    assert await rig.ingest.busy() is None


async def test_defect_of_ours_gets_500_without_its_details(rig: Rig) -> None:
    class Broken(FakeProducer):
        async def send(self, *events: Event[EventData]) -> None:
            raise ZeroDivisionError("secret detail")

    rig.goes_through(Outlet(producer=Broken(), health=rig.health, limit_s=1.0))
    answer = await rig.twilio("message-status", RECEIPT)
    assert answer.status == 500
    assert "secret detail" not in await answer.text()
