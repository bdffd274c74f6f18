"""`/webhooks/calls`: the provider-neutral report of a whole call (facts A1-A4)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.ingest.signing import sign_calls, verify_calls
from tests.unit.ingest.rig import SECRET, Rig

REPORT: dict[str, Any] = {
    "event": "call.completed", "call_id": "rc-402936341008", "from": "+13035550123", "to": "+12125550100",
    "started_at": "2026-03-03T14:58:00-05:00", "duration": 0, "answered": False, "talk_time": 0,
}  # fmt: skip


async def test_missed_call_is_reported_as_it_was_told(rig: Rig) -> None:
    """Facts A1-A3: the report has caller id, time, duration and answered flag; duration 0 and not answered is missed."""
    answer = await rig.calls(REPORT)
    assert answer.status == 202
    assert (await answer.json())["id"] == "calls:rc-402936341008:completed"
    [event] = rig.events
    assert (event.id, event.type, event.branch_id) == ("calls:rc-402936341008:completed", "call.completed", "new-york")
    assert event.key == b"larkspur:+13035550123"
    assert event.data.started_at == event.data.ended_at == event.time == datetime(2026, 3, 3, 19, 58, tzinfo=UTC)
    assert (event.data.duration_s, event.data.answered, event.data.talk_time_s) == (0, False, 0)


async def test_abandoned_call_keeps_answered_with_no_talk_time(rig: Rig) -> None:
    """Fact A4: answered with no talk time is abandoned."""
    await rig.calls({**REPORT, "duration": 42.5, "answered": True, "voicemail": False})
    data = rig.events[0].data
    assert (data.answered, data.talk_time_s, data.duration_s) == (True, 0, 42.5)
    assert (data.ended_at - data.started_at).total_seconds() == 42.5


async def test_old_call_keeps_its_own_times_under_our_receipt_time(rig: Rig) -> None:
    await rig.calls({**REPORT, "started_at": "2026-03-03T10:00:00Z", "ended_at": "2026-03-03T10:00:20Z"})
    [event] = rig.events
    assert event.time == rig.clock.virtual
    assert event.data.ended_at == datetime(2026, 3, 3, 10, 0, 20, tzinfo=UTC)


@pytest.mark.parametrize("said", [None, "", "anonymous", "+266696687"])
async def test_withheld_caller_is_keyed_by_the_call(rig: Rig, said: str | None) -> None:
    """Fact A10: a withheld number makes no lead, so the event has none."""
    assert (await rig.calls({**REPORT, "from": said})).status == 202
    [event] = rig.events
    assert event.data.caller_withheld is True
    assert event.key == b"larkspur:call:rc-402936341008"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"event": "call.started"}, "event"), ({"call_id": ""}, "call_id"), ({"call_id": "a b"}, "call_id"),
     ({"to": 5}, "to"), ({"started_at": "yesterday"}, "started_at"), ({"started_at": "2026-03-03T14:58"}, "started_at"),
     ({"started_at": "2026-03-03T20:05:01Z"}, "started_at"),
     ({"started_at": "0001-01-01T00:00:00+14:00"}, "started_at"),
     ({"started_at": "9999-12-31T23:59:59-14:00"}, "started_at"), ({"ended_at": "2026-03-03T19:57:00Z"}, "ended_at"),
     ({"ended_at": "2026-03-03T21:00:00Z"}, "ended_at"), ({"duration": -1}, "duration"),
     ({"duration": "5"}, "duration"),
     ({"duration": 1e300}, "duration"), ({"duration": 3600}, "duration"), ({"answered": "yes"}, "answered"),
     ({"answered": 1}, "answered"), ({"duration": 5, "talk_time": 6}, "talk_time"), ({"talk_time": None}, "talk_time"),
     ({"from": 5}, "from"), ({"from": "\ud800"}, None)],
)  # fmt: skip
async def test_malformed_report_gets_400_naming_the_field(rig: Rig, change: dict[str, Any], field: str | None) -> None:
    answer = await rig.calls({**REPORT, **change})
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == field
    assert not rig.events


@pytest.mark.parametrize("name", ["event", "call_id", "from", "to", "started_at", "duration", "answered", "talk_time"])
async def test_report_without_a_field_gets_400_naming_it(rig: Rig, name: str) -> None:
    answer = await rig.calls({key: value for key, value in REPORT.items() if key != name})
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == name


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null", b'{"a":' * 5000, b"[" * 30_000])
async def test_body_that_is_no_json_object_gets_400(rig: Rig, body: bytes) -> None:
    answer = await rig.calls(body)
    assert answer.status == 400
    assert (await answer.json())["error"]["reason"] == "malformed_body"


async def test_number_of_no_branch_gets_404(rig: Rig) -> None:
    answer = await rig.calls({**REPORT, "to": "+12065550100"})
    assert (answer.status, (await answer.json())["error"]["field"]) == (404, "to")


@pytest.mark.parametrize(
    ("header", "reason"),
    [("", "unsigned"), ("t=1", "bad_signature"), ("v1=00", "bad_signature"), ("t=abc,v1=00", "bad_signature"),
     ("t=1,t=2,v1=00", "bad_signature"), ("t=1,v1=é", "bad_signature"),
     (sign_calls(b"{}", 1, SECRET), "stale_signature"),
     (sign_calls(b"{}", 1, "another secret"), "bad_signature"), (sign_calls(b"{ }", 1, SECRET), "bad_signature")],
)  # fmt: skip
async def test_report_whose_signature_does_not_fit_gets_403(rig: Rig, header: str, reason: str) -> None:
    answer = await rig.calls(b"{}", header=header)
    assert answer.status == 403
    assert (await answer.json())["error"]["reason"] == reason
    assert not rig.events


@pytest.mark.parametrize(
    ("late_s", "verdict"), [(300, "ok"), (-300, "ok"), (301, "stale_signature"), (-301, "stale_signature")]
)
def test_signature_is_good_for_five_minutes_either_way(late_s: int, verdict: str) -> None:
    header = sign_calls(b"{}", 1_000_000, SECRET)
    assert verify_calls(header, b"{}", 1_000_000 + late_s, ["another secret", SECRET]) == verdict


async def test_unset_secret_refuses_every_report(rig: Rig) -> None:
    rig.ingest.secrets = ()
    answer = await rig.calls(REPORT)
    assert (answer.status, (await answer.json())["error"]["reason"]) == (403, "not_configured")


async def test_wrong_content_type_gets_415(rig: Rig) -> None:
    answer = await rig.client.post("/webhooks/calls", data=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status == 415


async def test_two_phone_systems_with_the_same_call_id_make_two_calls(rig: Rig) -> None:
    for system in ("branch-pbx", "overflow", None):
        assert (await rig.calls({**REPORT, "call_id": "17", **({"system": system} if system else {})})).status == 202
    assert [(event.id, event.data.provider, event.data.call_id) for event in rig.events] == [
        ("calls-branch-pbx:17:completed", "calls-branch-pbx", "17"),
        ("calls-overflow:17:completed", "calls-overflow", "17"),
        ("calls:17:completed", "calls", "17"),
    ]
    assert (await rig.calls({**REPORT, "system": "twilio:CA1"})).status == 400
