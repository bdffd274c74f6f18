"""Dates, durations and directions as call logs write them; anything else is a `ValueError` that quotes it."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from services.policy.numbers import normalize_caller

MAX_CALL_S: Final = 24 * 3600
"""Twilio ends a call after 24 hours (4 by default): a longer one is a mistake in the file."""

_ZONES_H: Final = {
    "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
    "AKST": -9, "AKDT": -8, "HST": -10,
}  # fmt: skip
"""The abbreviations that consoles print for users in the United States. Each is an offset: PDT is -7 in winter too."""

_ZONE: Final = re.compile(rf"(?<![A-Za-z])({'|'.join(_ZONES_H)})(?![A-Za-z])", re.IGNORECASE)
_FORMATS: Final = (
    "%Y-%m-%d %H:%M:%S", "%H:%M:%S %Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %I:%M:%S %p", "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d %b %Y %H:%M:%S",
    "%b %d, %Y %I:%M:%S %p", "%b %d, %Y %H:%M:%S",
)  # fmt: skip
_SHOWN: Final = 40

read_number: Final = lru_cache(1 << 14)(normalize_caller)
"""Reads a number; a log names the same branches, officers and callers again and again."""


def parse_when(text: str) -> datetime:
    """Read an instant: ISO 8601, RFC 2822, `2026-06-01 14:03:22 PDT`, `14:03:22 UTC 2026-06-01`, `6/1/2026 2:03 PM`.

    Returns:
        Aware UTC. A time without zone or offset is UTC, as in Twilio's API.

    Raises:
        ValueError: none of these, or a year outside 2001-2099.
    """
    value = " ".join(text.split())
    found = _iso(value) or _spelled(value) or _rfc2822(value)
    if found is None:
        raise ValueError(f"{value[:_SHOWN]!r} is not a date and time")
    if not 2000 < found.year < 2100:
        raise ValueError(f"year {found.year} is not from 2001 to 2099")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _iso(value: str) -> datetime | None:
    if len(value) < len("2026-06-01T14:03"):
        return None  # a date alone is not an instant
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _spelled(value: str) -> datetime | None:
    zones = _ZONE.findall(value)
    if len(zones) > 1:
        return None
    offset = timezone(timedelta(hours=_ZONES_H[zones[0].upper()])) if zones else UTC
    bare = " ".join(_ZONE.sub(" ", value).split())
    if (plain := _iso(bare)) is not None and plain.tzinfo is None:  # the common one, ten times faster than strptime
        return plain.replace(tzinfo=offset)
    for form in _FORMATS:
        try:
            return datetime.strptime(bare, form).replace(tzinfo=offset)
        except ValueError:
            continue
    return None


def _rfc2822(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def parse_duration_s(text: str) -> float | None:
    """Read a duration: seconds, `m:ss` or `h:mm:ss`; None when there is none.

    Raises:
        ValueError: not a duration, negative, or longer than a call can be.
    """
    value = text.strip()
    if not value:
        return None
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?|\d{1,3}(:[0-5]\d){1,2}", value, re.ASCII):
        raise ValueError(f"{value[:_SHOWN]!r} is not a duration; write seconds, m:ss or h:mm:ss")
    seconds = 0.0
    for part in value.split(":"):
        seconds = seconds * 60 + float(part)
    if seconds > MAX_CALL_S:
        raise ValueError(f"{value!r} is longer than a call can be")
    return seconds


def span(started_at: datetime, ended_at: datetime | None, duration_s: float | None) -> datetime:
    """Return when a call ended, from whichever of end and duration the log has; the end wins.

    Raises:
        ValueError: it has neither, or it ends before it starts, or it is longer than a call can be.
    """
    if ended_at is None:
        if duration_s is None:
            raise ValueError("has neither an end nor a duration")
        return started_at + timedelta(seconds=duration_s)
    if ended_at < started_at:
        raise ValueError("ends before it starts")
    if (ended_at - started_at).total_seconds() > MAX_CALL_S:
        raise ValueError("longer than a call can be")
    return ended_at
