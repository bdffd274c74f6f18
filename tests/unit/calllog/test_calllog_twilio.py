"""Twilio's Calls CSV: whatever a console or a script may write, read or reported, never a crash."""

import contextlib
import gzip
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.calllog import CallLogError, LoggedCall, Tally, calls_of_day, read_call_log
from services.cli.calllog.fields import parse_duration_s, parse_when
from services.cli.calllog.reading import read_stream

HEADER = "Call Sid,Parent Call Sid,From,To,Status,Start Time,End Time,Duration,Direction,Answered By"
CALL = "CA1,,+13035550123,+12125550100,completed,2026-06-01 14:00:00 UTC,2026-06-01 14:01:00 UTC,60,inbound,"
LEG = "CA2,CA1,+13035550123,+12125550161,completed,2026-06-01 14:00:01 UTC,2026-06-01 14:01:00 UTC,50,outbound-dial,"


def read(text: str | bytes) -> tuple[list[LoggedCall], Tally]:
    tally = Tally()
    raw = text if isinstance(text, bytes) else text.encode()
    return list(read_stream(io.BytesIO(raw), tally)), tally


def log(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows, ""])


def ids(calls: Sequence[LoggedCall]) -> list[str]:
    return [call.call_id for call in calls]


def test_answered_call_has_its_leg_its_ring_and_its_talk() -> None:
    (call,), tally = read(log(CALL, LEG))
    assert (call.caller, call.dialled, call.provider) == ("+13035550123", "+12125550100", "twilio")
    assert (call.answered, call.ring_s, call.talk_s, call.duration_s) == (True, 10.0, 50.0, 60.0)
    assert call.legs[0].answered_at == datetime(2026, 6, 1, 14, 0, 10, tzinfo=UTC)
    assert (tally.rows, tally.calls, tally.legs, tally.bad) == (2, 1, 1, 0)


def test_leg_before_its_call_is_joined_and_calls_come_in_the_order_of_their_start() -> None:
    later = CALL.replace("CA1", "CA9").replace("completed", "no-answer").replace("14:0", "15:0")
    calls, tally = read(log(later, LEG, CALL))
    assert ids(calls) == ["CA1", "CA9"]
    assert [len(c.legs) for c in calls] == [1, 0]
    assert tally.bad == 0


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
def test_leg_that_nobody_took_answers_nothing_and_only_a_canceled_one_is_a_hang_up(status: str) -> None:
    """Facts A8, A12: a phone that rang out, was busy or failed is a call nobody took, not a caller who gave up."""
    (call,), _ = read(log(CALL, LEG.replace("completed", status).replace(",50,", ",0,")))
    assert not call.answered
    assert call.hung_up_ringing == (status == "canceled")
    assert call.legs[0].status == status


def test_leg_that_a_machine_took_answers_nothing() -> None:
    """Fact Q1: a carrier's voicemail that picks up is nobody of ours."""
    (call,), _ = read(log(CALL, LEG + "machine_start"))
    assert not call.answered


def test_voicemail_is_missed_although_it_has_a_duration() -> None:
    """Fact Q1: a voicemail has a duration, and nobody of ours talked."""
    header = HEADER + ",Voicemail Duration,Transcription"
    (call,), _ = read(log(CALL + ',31,"Hi, call me"', header=header))
    assert (call.voicemail, call.voicemail_s, call.transcript) == (True, 31.0, "Hi, call me")
    assert (call.answered, call.hung_up_ringing, call.ring_s) == (False, False, 29.0)


@pytest.mark.parametrize("sender", ["", "anonymous", "+266696687", "+7378742833", "+86282452253"])
def test_withheld_caller_is_a_call_without_a_number(sender: str) -> None:
    """Fact A10: counted, with nobody to text."""
    (call,), tally = read(log(CALL.replace("+13035550123", sender)))
    assert (call.caller, call.caller_kind, call.caller_raw, call.textable) == (None, "withheld", sender, False)
    assert tally.bad == 0


@pytest.mark.parametrize("status", ["no-answer", "canceled", "busy"])
def test_one_ring_call_counts_and_is_a_hang_up_only_where_the_log_says_so(status: str) -> None:
    """Fact A8: a call of two seconds is a missed call like any other."""
    (call,), _ = read(
        log(f"CA1,,+13035550123,+12125550100,{status},2026-06-01 14:00:00,2026-06-01 14:00:02,0,inbound,")
    )
    assert (call.duration_s, call.hung_up_ringing, call.status) == (2.0, status == "canceled", status)


def test_caller_that_is_not_a_number_is_a_call_that_cannot_be_texted() -> None:
    (call,), _ = read(log(CALL.replace("+13035550123", "client:dana")))
    assert (call.caller_kind, call.caller, call.textable) == ("invalid", None, False)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + log(CALL, LEG),
        log(CALL, LEG).replace(",", ";"),
        log(CALL, LEG).replace(",", "\t"),
        log(CALL, LEG).replace("\n", "\r\n"),
        log(CALL, "", LEG, ",,,,"),
        "\n\n" + log(CALL, LEG),
        log(CALL, LEG, header=HEADER.upper()),
        log(CALL, LEG, header=HEADER.replace(" ", "_").lower()),
        log(CALL, LEG, header=HEADER.replace("Call Sid,Parent", "Sid,Parent")),
        log(CALL, LEG).replace("inbound", "Incoming").replace("outbound-dial", "Outgoing Dial"),
    ],
)
def test_export_in_another_dress_reads_the_same(text: str) -> None:
    calls, tally = read(text)
    assert ids(calls) == ["CA1"]
    assert calls[0].talk_s == 50
    assert tally.bad == 0


def test_utf16_and_gzip_read_the_same() -> None:
    for raw in (log(CALL, LEG).encode("utf-16"), gzip.compress(log(CALL, LEG).encode())):
        calls, _ = read(raw)
        assert calls[0].talk_s == 50


def test_columns_in_another_order_read_the_same() -> None:
    rows = [list(reversed(line.split(","))) for line in (HEADER, CALL, LEG)]
    calls, _ = read("\n".join(",".join(row) for row in rows))
    assert calls[0].talk_s == 50


def test_export_without_parent_column_joins_by_caller_and_time() -> None:
    header = HEADER.replace("Parent Call Sid,", "")
    other = CALL.replace("CA1,,", "CA7,").replace("completed", "no-answer").replace("14:0", "16:0")
    calls, tally = read(log(CALL.replace("CA1,,", "CA1,"), LEG.replace("CA1,", "", 1), other, header=header))
    assert [len(c.legs) for c in calls] == [1, 0]
    assert tally.bad == 0


def test_leg_of_no_call_in_the_file_is_reported() -> None:
    _, tally = read(log(LEG))
    assert (
        str(tally.problems[0]) == "line 2: Parent Call Sid: no inbound call in this file that the leg could belong to"
    )


def test_outbound_and_unfinished_calls_are_skipped_and_a_repeated_id_is_counted() -> None:
    outbound = CALL.replace("CA1", "CA3").replace("inbound", "outbound-api")
    running = CALL.replace("CA1", "CA4").replace("completed", "in-progress")
    calls, tally = read(log(CALL, CALL, outbound, running))
    assert len(calls) == 1
    assert (tally.skipped, tally.duplicates, tally.bad) == (2, 1, 0)


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (CALL.replace("CA1", ""), "Call Sid", "empty"),
        (CALL.replace("+12125550100", "front desk"), "To", "'front desk' is not a phone number"),
        (CALL.replace("completed", "splendid"), "Status", "'splendid' is not one of"),
        (CALL.replace("inbound", "sideways"), "Direction", "'sideways' is not inbound, outbound-dial"),
        (CALL.replace("2026-06-01 14:00:00 UTC", ""), "Start Time", "empty"),
        (CALL.replace("2026-06-01 14:00:00 UTC", "yesterday"), "Start Time", "'yesterday' is not a date and time"),
        (CALL.replace("2026-06-01 14:00:00 UTC", "2026-02-30 14:00:00"), "Start Time", "is not a date and time"),
        (CALL.replace("2026-06-01 14:00:00", "1926-06-01 14:00:00"), "Start Time", "year 1926"),
        (CALL.replace("14:01:00", "13:01:00"), "End Time", "ends before it starts"),
        (CALL.replace(",60,", ",-60,"), "Duration", "'-60' is not a duration"),
        (CALL.replace(",60,", ",999999,"), "Duration", "longer than a call can be"),
        (CALL.replace("2026-06-01 14:01:00 UTC,60", ","), "End Time", "has neither an end nor a duration"),
    ],
)
def test_bad_row_is_reported_with_line_field_and_reason_and_reading_goes_on(row: str, field: str, reason: str) -> None:
    good = CALL.replace("CA1", "CA8")
    calls, tally = read(log(row, good))
    assert ids(calls) == ["CA8"]
    assert tally.bad == 1
    assert (tally.problems[0].line, tally.problems[0].field) == (2, field)
    assert reason in tally.problems[0].reason


def test_line_of_a_report_counts_lines_inside_quoted_fields() -> None:
    header = HEADER + ",Transcription"
    _, tally = read(log(CALL + ',"two\nlines"', CALL.replace("CA1", ""), header=header))
    assert tally.problems[0].line == 4


def test_field_without_end_is_reported_and_costs_no_crash() -> None:
    _, tally = read(log('CA1,"' + "x" * 200_000, CALL))
    assert tally.bad >= 1
    assert tally.problems[0].field == "row"


def test_gzip_that_is_cut_short_gives_what_is_there_and_says_so() -> None:
    rows = [CALL.replace("CA1", f"CA{n:x}{hash(str(n)) & 0xFFFFFF:x}") for n in range(20_000)]
    raw = gzip.compress(log(*rows).encode())
    calls, tally = read(raw[: len(raw) // 2])
    assert 0 < len(calls) < 20_000
    assert any(p.field == "file" and "cut short" in p.reason for p in tally.problems)


@pytest.mark.parametrize("text", ["", "\n\n", "a,b,c\n1,2,3\n", '"' + "x" * 200_000, "\x1f\x8bnonsense"])
def test_file_that_is_not_a_call_log_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CallLogError, match=r"odd\.csv"):
        list(read_call_log(path))


def test_missing_columns_are_named_with_what_is_there() -> None:
    with pytest.raises(CallLogError, match="no column Start Time, Direction; the file has 'Call Sid'"):
        read("Call Sid,From,To,Status\n")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match=r"gone\.csv: cannot be read"):
        list(read_call_log(tmp_path / "gone.csv"))


@pytest.mark.parametrize(
    "text",
    [
        "2026-06-01 14:03:22 PDT", "14:03:22 PDT 2026-06-01", "2026-06-01 21:03:22 UTC", "2026-06-01 21:03:22",
        "2026-06-01T21:03:22Z", "2026-06-01T14:03:22-07:00", "2026-06-01T14:03:22.000-0700", "2026-06-01 17:03:22 EDT",
        "Mon, 01 Jun 2026 21:03:22 +0000", "Mon, 01 Jun 2026 14:03:22 -0700", "Mon, 01 Jun 2026 21:03:22 GMT",
        "6/1/2026 2:03:22 PM PDT", "06/01/2026 14:03:22 pdt", "Jun 1, 2026 02:03:22 PM PDT", "2026/06/01 15:03:22 MDT",
    ],
)  # fmt: skip
def test_instant_in_any_of_the_known_spellings_is_the_same(text: str) -> None:
    assert parse_when(text) == datetime(2026, 6, 1, 21, 3, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "2026-06-01", "14:03:22", "PDT UTC 2026-06-01 14:03:22", "0001-01-01T00:00:00+23:59"]
)
def test_text_that_is_not_an_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a date and time|is not from 2001"):
        parse_when(text)


@pytest.mark.parametrize(("text", "seconds"), [("77", 77), ("1:17", 77), ("0:01:17", 77), ("", None), ("12.5", 12.5)])
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration_s(text) == seconds


def test_calls_of_a_day_are_those_of_the_zones_day() -> None:
    calls, _ = read(log(CALL.replace("2026-06-01 14:00:00", "2026-06-01 05:00:00").replace("14:01", "05:01")))
    assert not list(calls_of_day(calls, date(2026, 6, 1), ZoneInfo("America/Los_Angeles")))
    assert len(list(calls_of_day(calls, date(2026, 5, 31), ZoneInfo("America/Los_Angeles")))) == 1


CELL = st.one_of(
    st.sampled_from([*CALL.split(","), *LEG.split(","), "no-answer", "anonymous", "1:00", "machine_start"]),
    st.text(max_size=40),
)


@given(st.lists(st.lists(CELL, max_size=12), max_size=12))
def test_any_rows_are_calls_or_skipped_or_reported_never_a_crash(rows: list[list[str]]) -> None:
    calls, tally = read(log(*(",".join(row) for row in rows)))
    assert len(calls) == tally.calls
    assert tally.calls + tally.legs + tally.skipped + tally.duplicates + tally.bad >= tally.rows
    for call in calls:
        assert call.ended_at >= call.started_at
        assert call.ring_s >= 0
        assert 0 <= call.voicemail_s <= call.duration_s
    assert [c.started_at for c in calls] == sorted(c.started_at for c in calls)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda b: b"\x1f\x8b\x08" + b),
                 st.text(max_size=200).map(lambda t: (HEADER + "\n" + t).encode("utf-8", "replace")),
                 st.binary(max_size=200).map(gzip.compress)))  # fmt: skip
def test_any_bytes_are_read_or_refused_never_another_error(raw: bytes) -> None:
    with contextlib.suppress(CallLogError):
        read(raw)


@given(st.text(max_size=60))
def test_any_text_is_an_instant_in_utc_or_a_value_error(text: str) -> None:
    try:
        found = parse_when(text)
    except ValueError:
        return
    assert found.utcoffset() == UTC.utcoffset(None)
