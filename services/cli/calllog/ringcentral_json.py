"""RingCentral's call log: `{"records": [...]}` as the API answers it, one page or a list of pages or records."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TextIO

from services.cli.calllog.fields import MAX_CALL_S, parse_when, read_number
from services.cli.calllog.model import MAX_CALLS, CallLogError, LoggedCall, LoggedLeg, RowError, Tally

MAX_CHARS: Final = 128 * 1024 * 1024
"""JSON is read whole, unlike CSV: 90 days at 150 calls a day with their legs are about 20 MB."""

ANSWERED: Final = frozenset({"accepted", "call connected", "answered", "connected"})
VOICEMAIL: Final = "voicemail"

_LEG_STATUS: Final = {
    "accepted": "completed", "call connected": "completed", "answered": "completed", "connected": "completed",
    "busy": "busy", "line busy": "busy", "rejected": "busy", "declined": "busy", "hang up": "canceled",
    "abandoned": "canceled", "stopped": "canceled", "call failed": "failed", "call failure": "failed",
    "ip phone offline": "failed", "no calling credit": "failed", "internal error": "failed",
}  # fmt: skip
"""RingCentral's results in Twilio's words; whatever is not here is a phone that rang and was not answered."""


@dataclass(frozen=True, slots=True)
class _Span:
    started_at: datetime
    ended_at: datetime


def read_ringcentral_json(source: TextIO, tally: Tally) -> Iterator[LoggedCall]:
    """Yield the inbound voice calls in the order of their start.

    Raises:
        CallLogError: not JSON, no records in it, or over the bounds.
    """
    try:
        text = source.read(MAX_CHARS + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CallLogError(f"cut short or damaged: {error}") from error
    if len(text) > MAX_CHARS:
        raise CallLogError(f"more than {MAX_CHARS} characters; export fewer days at a time")
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise CallLogError("nested too deeply to be a call log") from error
    except ValueError as error:
        raise CallLogError(f"not JSON: {str(error)[:200]}") from error
    calls: dict[str, LoggedCall] = {}
    for number, record in enumerate(_records(data), start=1):
        tally.rows += 1
        try:
            call = _call(record)
        except RowError as error:
            tally.report(number, error.field, error.reason)
            continue
        if call is None:
            tally.skipped += 1
        elif call.call_id in calls:
            tally.duplicates += 1
        else:
            calls[call.call_id] = call
        if len(calls) > MAX_CALLS:
            raise CallLogError(f"more than {MAX_CALLS} calls; export fewer days at a time")
    for call in sorted(calls.values(), key=lambda one: (one.started_at, one.call_id)):
        tally.calls += 1
        tally.legs += len(call.legs)
        yield call


def _records(data: Any) -> Iterator[Any]:
    if isinstance(data, Mapping) and isinstance(data.get("records"), list):
        yield from data["records"]
    elif isinstance(data, list):
        for one in data:
            if isinstance(one, Mapping) and isinstance(one.get("records"), list):
                yield from one["records"]
            else:
                yield one
    else:
        raise CallLogError('not a call log: neither {"records": [...]} nor a list')


def _call(record: Any) -> LoggedCall | None:
    """Return the call of a record, or None when it is not a borrower's call."""
    if not isinstance(record, Mapping):
        raise RowError("record", "is not an object")
    if _word(record, "type", "voice") != "voice" or _word(record, "direction") != "inbound":
        return None
    call_id = record.get("sessionId") or record.get("id")
    if not isinstance(call_id, str | int) or isinstance(call_id, bool) or not 0 < len(str(call_id)) <= 200:
        raise RowError("id", "is empty or not text")
    sender, target = _party(record, "from"), _party(record, "to")
    if not sender.get("phoneNumber") and sender.get("extensionNumber"):
        return None  # a colleague
    dialled = read_number(_text(target.get("phoneNumber"))).e164
    if dialled is None:
        raise RowError("to.phoneNumber", "is not a phone number")
    when = _span(record, "")
    caller = read_number(_text(sender.get("phoneNumber")))
    result = _word(record, "result")
    raw_legs = record.get("legs", [])
    if not isinstance(raw_legs, list):
        raise RowError("legs", "is not a list")
    legs, box_s = _legs(str(call_id), raw_legs, when, result)
    message = record.get("message")
    voicemail = result == VOICEMAIL or (isinstance(message, Mapping) and _word(message, "type") == VOICEMAIL)
    return LoggedCall(
        provider="ringcentral",
        call_id=str(call_id),
        caller=caller.e164,
        caller_kind=caller.kind,
        caller_raw=_text(sender.get("phoneNumber"))[:200],
        dialled=dialled,
        status="completed" if result in ANSWERED or voicemail else _LEG_STATUS.get(result, "no-answer"),
        started_at=when.started_at,
        ended_at=when.ended_at,
        legs=legs,
        voicemail=voicemail,
        # Without a leg of its own a voicemail's length is unknown; the call's is the most it can be.
        voicemail_s=(box_s or (when.ended_at - when.started_at).total_seconds()) if voicemail else 0.0,
    )


def _legs(call_id: str, raw: list[Any], call: _Span, result: str) -> tuple[tuple[LoggedLeg, ...], float]:
    """Return the phones that were called, and the seconds of the voicemail's own leg.

    Only the call's own result says whether a person took it: menus and voicemail boxes `accept` legs too (fact Q1).
    """
    found: list[LoggedLeg] = []
    box_s = 0.0
    taken = result in ANSWERED
    for at, leg in enumerate(raw):
        if not isinstance(leg, Mapping):
            raise RowError(f"legs[{at}]", "is not an object")
        when = _span(leg, f"legs[{at}].", call)
        said = _word(leg, "result")
        if said == VOICEMAIL:
            box_s = max(box_s, (when.ended_at - when.started_at).total_seconds())
        if leg.get("master") is True or said == VOICEMAIL:
            continue
        answered = taken and said in ANSWERED and when.ended_at > when.started_at
        status = "no-answer" if said in ANSWERED and not answered else _LEG_STATUS.get(said, "no-answer")
        to = read_number(_text(_party(leg, "to").get("phoneNumber"))).e164
        answered_at = when.started_at if answered else None
        found.append(
            LoggedLeg(
                leg_id=f"{call_id}:{at}",
                to=to,
                status=status,
                answered=answered,
                started_at=when.started_at,
                answered_at=answered_at,
                ended_at=when.ended_at,
            )
        )
    if taken and not any(leg.answered for leg in found) and call.ended_at > call.started_at:
        found.append(
            LoggedLeg(
                leg_id=f"{call_id}:call",
                to=None,
                status="completed",
                answered=True,
                started_at=call.started_at,
                answered_at=call.started_at,
                ended_at=call.ended_at,
            )
        )
    return tuple(sorted(found, key=lambda leg: (leg.started_at, leg.leg_id))), box_s


def _span(record: Mapping[str, Any], where: str, call: _Span | None = None) -> _Span:
    start = record.get("startTime")
    if start is None and call is not None:
        started_at = call.started_at
    else:
        try:
            started_at = parse_when(_text(start))
        except ValueError as error:
            raise RowError(f"{where}startTime", str(error)) from error
    seconds = record.get("duration", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_CALL_S:
        raise RowError(f"{where}duration", "is not a number of seconds from 0 to 86400")
    return _Span(started_at, started_at + timedelta(seconds=seconds))


def _party(record: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    party = record.get(field) or {}
    if not isinstance(party, Mapping):
        raise RowError(field, "is not an object")
    return party


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _word(record: Mapping[str, Any], field: str, default: str = "") -> str:
    value = record.get(field, default)
    return value.strip().lower() if isinstance(value, str) else ""
