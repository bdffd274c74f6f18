"""Twilio's Calls CSV: inbound rows are calls, `outbound-dial` rows their legs, found by Parent Call Sid."""

import csv
import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.cli.calllog.fields import parse_duration_s, parse_when, read_number, span
from services.cli.calllog.model import (
    ANSWERED_FROM_S,
    MAX_CALLS,
    CallLogError,
    CompletedMeans,
    LoggedCall,
    LoggedLeg,
    RowError,
    Tally,
)

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "Call Sid": ("callsid", "sid", "callid"),
    "Parent Call Sid": ("parentcallsid", "parentsid"),
    "From": ("from", "fromnumber", "caller"),
    "To": ("to", "tonumber", "called"),
    "Status": ("status", "callstatus"),
    "Start Time": ("starttime", "started", "startdate", "datecreated"),
    "End Time": ("endtime", "ended", "enddate"),
    "Duration": ("duration", "durationseconds", "durations", "durationinseconds"),
    "Direction": ("direction",),
    "Answered By": ("answeredby",),
    "Voicemail Duration": ("voicemailduration", "recordingduration"),
    "Transcription": ("transcription", "transcriptiontext", "transcript"),
}
"""Our name of a column and how exports spell it, without case, spaces and punctuation. The last two are no part of
Twilio's export: recordings and transcriptions are resources of their own, joined in by whoever made the file."""

REQUIRED: Final = ("Call Sid", "From", "To", "Status", "Start Time", "Direction")
STATUSES: Final = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})
UNFINISHED: Final = frozenset({"queued", "ringing", "in-progress", "initiated"})
LEG_SLACK: Final = timedelta(seconds=2)
"""Times are whole seconds and a leg's are taken elsewhere: how far a leg may stick out of its call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leg:
    line: int
    parent: str
    caller: str
    leg: LoggedLeg


def columns_of(header: Iterable[str]) -> dict[str, int]:
    """Return where each known column is.

    Raises:
        CallLogError: a required one is not there; names it and what is there.
    """
    there: dict[str, int] = {}
    spelled = [re.sub(r"[^a-z]", "", name.lower()) for name in header]
    for column, spellings in COLUMNS.items():
        for spelling in spellings:
            if spelling in spelled:
                there[column] = spelled.index(spelling)
                break
    if missing := [column for column in REQUIRED if column not in there]:
        raise CallLogError(f"no column {', '.join(missing)}; the file has {', '.join(map(repr, header))[:300]}")
    return there


def read_twilio_csv(
    lines: Iterable[str], tally: Tally, completed_means: CompletedMeans | None = None
) -> Iterator[LoggedCall]:
    """Yield the inbound calls of an export in the order of their start; `tally` is complete when the last is out.

    Args:
        lines: of text; read one by one, never held. What is held is `MAX_CALLS` calls and legs at most.
        tally: counts, and the bad rows.
        completed_means: what a completed call without `outbound-dial` rows was; None judges by its length.

    Raises:
        CallLogError: no header, a required column missing, or more calls than the bound.
    """
    calls: dict[str, LoggedCall] = {}
    legs: dict[str, _Leg] = {}
    for line, row in _rows(lines, tally):
        tally.rows += 1
        try:
            _take(line, row, calls, legs, tally)
        except RowError as error:
            tally.report(line, error.field, error.reason)
        if len(calls) > MAX_CALLS or len(legs) > MAX_CALLS:
            raise CallLogError(f"more than {MAX_CALLS} calls; split the file by date")
    by_call = _join(calls, legs, tally)
    # The console's filter on incoming calls leaves the legs out, and nothing else says who talked. Where most completed
    # calls have legs, the legs are there, and a call without one reached no phone; a stray leg proves nothing of the kind.
    tally.has_legs = bool(by_call)
    talked = [sid for sid, call in calls.items() if call.status == "completed" and not call.voicemail]
    if sum(sid in by_call for sid in talked) * 2 <= len(talked):
        calls = {sid: call if sid in by_call else _judged(call, completed_means) for sid, call in calls.items()}
    tally.judged = any(call.judged for call in calls.values())
    for call in sorted(calls.values(), key=lambda one: (one.started_at, one.call_id)):
        found = call.legs or tuple(sorted(by_call.get(call.call_id, ()), key=lambda leg: (leg.started_at, leg.leg_id)))
        tally.calls += 1
        tally.legs += len(found)
        yield replace(call, legs=found)


def _judged(call: LoggedCall, completed_means: CompletedMeans | None) -> LoggedCall:
    if call.status != "completed" or call.voicemail:
        return call  # these say themselves that nobody of ours talked
    if completed_means is None:
        is_long = call.duration_s >= ANSWERED_FROM_S
        completed_means = CompletedMeans.ANSWERED if is_long else CompletedMeans.MISSED
    if completed_means is CompletedMeans.MISSED or call.ended_at == call.started_at:
        return replace(call, judged=True)
    leg = LoggedLeg(
        leg_id=f"{call.call_id}:call",
        to=None,
        status="completed",
        answered=True,
        started_at=call.started_at,
        answered_at=call.started_at,
        ended_at=call.ended_at,
    )
    return replace(call, judged=True, legs=(leg,))


def _rows(lines: Iterable[str], tally: Tally) -> Iterator[tuple[int, dict[str, str]]]:
    source = iter(_until_cut_short(lines, tally))
    line = 0
    first = ""
    for first in source:
        line += 1
        if first.strip():
            break
    delimiter = max(",;\t", key=first.count)
    try:
        header = next(csv.reader([first], delimiter=delimiter), [])
    except csv.Error as error:
        raise CallLogError(f"the first line is no header: {error}") from error
    if not header:
        raise CallLogError("the file is empty")
    there = columns_of(header)
    reader = csv.reader(source, delimiter=delimiter)
    while True:
        start = line + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # a field without end, for example: the reader takes up again at the next line
            tally.rows += 1
            tally.report(start, "row", str(error))
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) < len(header):
            row = row + [""] * (len(header) - len(row))
        yield start, {column: row[at].strip() for column, at in there.items()}


def _until_cut_short(lines: Iterable[str], tally: Tally) -> Iterator[str]:
    count = 0
    try:
        for text in lines:
            count += 1
            yield text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        tally.report(count + 1, "file", f"cut short or damaged: {error}")


def _take(line: int, row: Mapping[str, str], calls: dict[str, LoggedCall], legs: dict[str, _Leg], tally: Tally) -> None:
    sid = row["Call Sid"]
    if not sid or len(sid) > 200:
        raise RowError("Call Sid", "empty" if not sid else "too long")
    direction = (
        row["Direction"].lower().replace(" ", "-").replace("incoming", "inbound").replace("outgoing", "outbound")
    )
    status = row["Status"].lower().replace(" ", "-").replace("cancelled", "canceled")
    if direction in {"outbound", "outbound-api"} or direction.startswith("trunking") or status in UNFINISHED:
        tally.skipped += 1
        return
    if direction not in {"inbound", "outbound-dial"}:
        raise RowError("Direction", f"{row['Direction'][:40]!r} is not inbound, outbound-dial or outbound-api")
    if status not in STATUSES:
        raise RowError("Status", f"{row['Status'][:40]!r} is not one of {', '.join(sorted(STATUSES))}")
    if sid in calls or sid in legs:
        tally.duplicates += 1
        return
    started_at, ended_at, duration_s = _times(row)
    if direction == "inbound":
        calls[sid] = _call(sid, status, started_at, ended_at, row)
        return
    machine = row.get("Answered By", "").lower().startswith(("machine", "fax"))
    talked = status == "completed" and duration_s > 0 and not machine
    answered_at = max(started_at, ended_at - timedelta(seconds=duration_s)) if talked else None
    leg = LoggedLeg(
        leg_id=sid,
        to=read_number(row["To"]).e164,
        status=status,
        answered=talked,
        started_at=started_at,
        answered_at=answered_at,
        ended_at=ended_at,
    )
    legs[sid] = _Leg(line=line, parent=row.get("Parent Call Sid", ""), caller=row["From"], leg=leg)


def _times(row: Mapping[str, str]) -> tuple[datetime, datetime, float]:
    values: dict[str, datetime | None] = {}
    for column in ("Start Time", "End Time"):
        text = row.get(column, "")
        try:
            values[column] = parse_when(text) if text else None
        except ValueError as error:
            raise RowError(column, str(error)) from error
    started_at = values["Start Time"]
    if started_at is None:
        raise RowError("Start Time", "empty")
    duration_s = _duration(row, "Duration")
    try:
        ended_at = span(started_at, values["End Time"], duration_s)
    except ValueError as error:
        raise RowError("End Time", str(error)) from error
    return started_at, ended_at, duration_s if duration_s is not None else (ended_at - started_at).total_seconds()


def _duration(row: Mapping[str, str], column: str) -> float | None:
    try:
        return parse_duration_s(row.get(column, ""))
    except ValueError as error:
        raise RowError(column, str(error)) from error


def _call(sid: str, status: str, started_at: datetime, ended_at: datetime, row: Mapping[str, str]) -> LoggedCall:
    dialled = read_number(row["To"]).e164
    if dialled is None:
        raise RowError("To", f"{row['To'][:40]!r} is not a phone number")
    caller = read_number(row["From"])
    voicemail_s = min(_duration(row, "Voicemail Duration") or 0.0, (ended_at - started_at).total_seconds())
    return LoggedCall(
        provider="twilio",
        call_id=sid,
        caller=caller.e164,
        caller_kind=caller.kind,
        caller_raw=row["From"][:200],
        dialled=dialled,
        status=status,
        started_at=started_at,
        ended_at=ended_at,
        voicemail=voicemail_s > 0,
        voicemail_s=voicemail_s,
        transcript=row.get("Transcription", "")[:10_000] or None,
    )


def _join(calls: Mapping[str, LoggedCall], legs: Mapping[str, _Leg], tally: Tally) -> dict[str, list[LoggedLeg]]:
    """Give each leg to its call: by Parent Call Sid; where the export has none, by caller and time."""
    by_call: dict[str, list[LoggedLeg]] = defaultdict(list)
    by_caller: dict[str, list[LoggedCall]] = defaultdict(list)
    for call in calls.values():
        by_caller[call.caller_raw].append(call)
    for one in legs.values():
        if one.parent:
            parent = calls.get(one.parent)
        else:
            around = (c for c in by_caller.get(one.caller, ()) if _holds(c, one.leg))
            parent = max(around, key=lambda c: (c.started_at, c.call_id), default=None)
        if parent is None:
            tally.report(one.line, "Parent Call Sid", "no inbound call in this file that the leg could belong to")
        else:
            by_call[parent.call_id].append(one.leg)
    return by_call


def _holds(call: LoggedCall, leg: LoggedLeg) -> bool:
    return call.started_at - LEG_SLACK <= leg.started_at and leg.ended_at <= call.ended_at + LEG_SLACK
