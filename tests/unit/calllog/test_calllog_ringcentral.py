"""RingCentral's call log JSON, as its API documents it."""

import gzip
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.calllog import CallLogError, LoggedCall, Tally
from services.cli.calllog.reading import read_stream


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": "Abc",
        "sessionId": "1386",
        "startTime": "2026-06-01T14:00:00.354Z",
        "duration": 77,
        "type": "Voice",
        "direction": "Inbound",
        "action": "Phone Call",
        "result": "Missed",
        "from": {"phoneNumber": "+13035550123"},
        "to": {"phoneNumber": "+12125550100"},
        **changes,
    }


def leg(**changes: Any) -> dict[str, Any]:
    return {
        "startTime": "2026-06-01T14:00:10.000Z",
        "duration": 60,
        "type": "Voice",
        "direction": "Outbound",
        "result": "Accepted",
        "legType": "FindMe",
        "to": {"phoneNumber": "+12125550161"},
        **changes,
    }


def read(*records: Any, data: Any = None) -> tuple[list[LoggedCall], Tally]:
    tally = Tally()
    text = json.dumps({"records": list(records)} if data is None else data)
    return list(read_stream(io.BytesIO(text.encode()), tally)), tally


def test_accepted_call_has_the_leg_that_took_it() -> None:
    (call,), tally = read(record(result="Accepted", legs=[leg(master=True), leg(), leg(result="No Answer")]))
    assert (call.provider, call.call_id, call.caller, call.dialled) == (
        "ringcentral",
        "1386",
        "+13035550123",
        "+12125550100",
    )
    assert [(one.answered, one.status) for one in call.legs] == [(True, "completed"), (False, "no-answer")]
    assert call.talk_s == 60
    assert tally.bad == 0


@pytest.mark.parametrize("result", ["Accepted", "Call connected"])
def test_accepted_call_without_legs_is_answered(result: str) -> None:
    (call,), _ = read(record(result=result))
    assert (call.answered, call.status, call.talk_s) == (True, "completed", 77)


@pytest.mark.parametrize("result", ["Missed", "Hang Up", "Abandoned", "No Answer", "Rejected", "Something new"])
def test_call_that_nobody_took_is_unanswered_although_a_menu_accepted_a_leg(result: str) -> None:
    """Fact Q1: only the call's own result says that a person took it."""
    (call,), _ = read(record(result=result, legs=[leg()]))
    assert not call.answered
    assert call.legs[0].status == "no-answer"


def test_voicemail_is_missed_with_the_length_of_its_own_leg() -> None:
    """Fact Q1: a voicemail has a duration, and nobody of ours talked."""
    (call,), _ = read(
        record(result="Voicemail", message={"type": "VoiceMail"}, legs=[leg(result="Voicemail", duration=31)])
    )
    assert (call.voicemail, call.voicemail_s, call.answered) == (True, 31.0, False)


def test_voicemail_without_a_leg_is_at_most_as_long_as_the_call() -> None:
    (call,), _ = read(record(result="Voicemail"))
    assert (call.voicemail, call.voicemail_s) == (True, 77.0)


@pytest.mark.parametrize("sender", [{}, {"name": "Anonymous"}, {"phoneNumber": "anonymous"}, {"phoneNumber": ""}, None])
def test_withheld_caller_is_a_call_without_a_number(sender: Any) -> None:
    """Fact A10: counted, with nobody to text."""
    (call,), tally = read(record(**{"from": sender}))
    assert (call.caller, call.caller_kind, tally.bad) == (None, "withheld", 0)


@pytest.mark.parametrize(
    "changes", [{"type": "Fax"}, {"direction": "Outbound"}, {"from": {"extensionNumber": "101", "name": "Dana"}}]
)
def test_fax_outbound_and_internal_calls_are_skipped(changes: dict[str, Any]) -> None:
    calls, tally = read(record(**changes))
    assert not calls
    assert (tally.skipped, tally.bad) == (1, 0)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (7, "record"),
        (record(id=None, sessionId=None), "id"),
        (record(to={}), "to.phoneNumber"),
        (record(to="front desk"), "to"),
        (record(startTime="soon"), "startTime"),
        (record(startTime=None), "startTime"),
        (record(duration="long"), "duration"),
        (record(duration=True), "duration"),
        (record(duration=-1), "duration"),
        (record(legs="none"), "legs"),
        (record(legs=[7]), "legs[0]"),
        (record(legs=[leg(startTime="soon")]), "legs[0].startTime"),
    ],
)
def test_bad_record_is_reported_with_number_field_and_reason_and_reading_goes_on(bad: Any, field: str) -> None:
    calls, tally = read(record(), bad)
    assert len(calls) == 1
    assert (tally.bad, tally.problems[0].line, tally.problems[0].field) == (1, 2, field)


def test_pages_and_bare_lists_read_the_same_and_come_in_order() -> None:
    early = record(sessionId="1", startTime="2026-06-01T08:00:00Z")
    for data in ([record(), early], [{"records": [record()]}, {"records": [early, early]}]):
        calls, tally = read(data=data)
        assert [c.call_id for c in calls] == ["1", "1386"]
        assert tally.bad == 0


@pytest.mark.parametrize("raw", [b"{", b'{"calls": []}', b"[" * 100_000, gzip.compress(b'{"records": []}')[:-9]])
def test_what_is_no_call_log_is_refused(raw: bytes) -> None:
    with pytest.raises(CallLogError):
        list(read_stream(io.BytesIO(raw), Tally()))


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
              st.sampled_from(["Inbound", "Voice", "Accepted", "Voicemail", "+12125550100", "2026-06-01T14:00:00Z"])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from([*record(), "legs", "message",
                            "phoneNumber", "master"]), inner, max_size=6)),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(st.one_of(VALUES, st.dictionaries(st.sampled_from([*record(), "legs", "message"]), VALUES).map(
    lambda changes: record(**changes))), max_size=5))  # fmt: skip
def test_any_records_are_calls_or_skipped_or_reported_never_a_crash(records: list[Any]) -> None:
    calls, tally = read(*records)
    assert tally.rows == len(records) == len(calls) + tally.skipped + tally.duplicates + tally.bad
    for call in calls:
        assert call.ended_at >= call.started_at
        assert call.ring_s >= 0
