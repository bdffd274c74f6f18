"""Twilio exports of incoming calls only: nothing in them says who talked, so length, or the user, decides; and both say so."""

import io

import pytest

from services.cli.calllog import CompletedMeans, LoggedCall, Tally
from services.cli.calllog.reading import read_stream

HEADER = "Call Sid,Parent Call Sid,From,To,Status,Start Time,Duration,Direction,Voicemail Duration"


def row(
    n: int,
    duration_s: int,
    *,
    status: str = "completed",
    direction: str = "inbound",
    parent: str = "",
    voicemail_s: str = "",
) -> str:
    to = "+12125550100" if direction == "inbound" else "+12125550161"
    return f"CA{n:032x},{parent},+130355501{n:02d},{to},{status},2026-06-01 14:{n:02d}:00,{duration_s},{direction},{voicemail_s}"


def read(*rows: str, means: CompletedMeans | None = None) -> tuple[list[LoggedCall], Tally]:
    tally = Tally()
    text = "\n".join([HEADER, *rows, ""])
    return list(read_stream(io.BytesIO(text.encode()), tally, means)), tally


@pytest.mark.parametrize(("duration_s", "answered"), [(0, False), (12, False), (29, False), (30, True), (145, True)])
def test_completed_call_counts_as_answered_from_thirty_seconds_on(duration_s: int, answered: bool) -> None:
    """A talk of 145 s must not be texted as a missed call (fact A3: only a call nobody answered is missed)."""
    (call,), tally = read(row(1, duration_s))
    assert (call.answered, call.judged, call.hung_up_ringing) == (answered, True, False)
    assert tally.judged


@pytest.mark.parametrize("means", CompletedMeans)
@pytest.mark.parametrize("duration_s", [12, 145])
def test_user_who_knows_better_decides_for_all_completed_calls(means: CompletedMeans, duration_s: int) -> None:
    (call,), _ = read(row(1, duration_s), means=means)
    assert call.answered == (means is CompletedMeans.ANSWERED)


@pytest.mark.parametrize("status", ["no-answer", "busy", "failed", "canceled"])
def test_call_that_was_not_completed_is_missed_whatever_the_user_says(status: str) -> None:
    calls, tally = read(row(1, 145, status=status), row(2, 60), means=CompletedMeans.ANSWERED)
    assert [(call.answered, call.judged) for call in calls] == [(False, False), (True, True)]
    assert calls[0].hung_up_ringing == (status == "canceled")
    assert tally.judged


def test_voicemail_is_missed_and_needs_no_judgment() -> None:
    """Fact Q1: whoever left a message talked to nobody."""
    (call,), tally = read(row(1, 60, voicemail_s="31"))
    assert (call.answered, call.judged, tally.judged) == (False, False, False)


def test_leg_speaks_for_its_own_call_and_the_others_are_judged() -> None:
    """Facts A3, Q1: a talk of 60 s must not become a missed call because another call's leg is in the file."""
    leg = row(3, 0, status="no-answer", direction="outbound-dial", parent=f"CA{1:032x}")
    calls, tally = read(row(1, 145), row(2, 60), leg)
    assert [(call.answered, call.judged) for call in calls] == [(False, False), (True, True)]
    assert (tally.judged, tally.has_legs) == (True, True)


def test_completed_call_without_legs_in_an_export_that_has_legs_reached_no_phone_and_is_missed() -> None:
    """Facts A3, Q1: where most completed calls have legs, one without was taken by a greeting, however long it talked."""
    legs = [row(10 + n, 40, direction="outbound-dial", parent=f"CA{n:032x}") for n in (1, 2)]
    calls, tally = read(row(1, 60), row(2, 60), row(3, 45), *legs)
    assert [(call.answered, call.judged) for call in calls] == [(True, False), (True, False), (False, False)]
    assert not tally.judged


@pytest.mark.parametrize(
    "stray",
    [
        row(3, 50, direction="outbound-dial", parent=f"CA{9:032x}"),
        row(3, 50, direction="outbound-dial"),
        row(3, 50, status="splendid", direction="outbound-dial", parent=f"CA{1:032x}"),
        row(3, 50, status="in-progress", direction="outbound-dial", parent=f"CA{1:032x}"),
    ],
    ids=["parent is not in the file", "no parent", "unknown status", "unfinished"],
)
def test_stray_outbound_dial_row_leaves_completed_calls_to_be_judged(stray: str) -> None:
    """Fact A3: one unusable row must not turn a talk of 145 s into a missed call that is texted."""
    (call,), tally = read(row(1, 145), stray)
    assert (call.answered, call.judged) == (True, True)
    assert (tally.judged, tally.has_legs) == (True, False)
    (call,), _ = read(row(1, 145), stray, means=CompletedMeans.MISSED)
    assert not call.answered
