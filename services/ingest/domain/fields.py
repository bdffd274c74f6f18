"""Reading one webhook's fields; what is wrong is an `InvalidField` that names the field, never its value."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from services.ingest.errors import InvalidField

CLOSE_S: Final = 300
"""A provider's time counts while it is within this of ours (design 7)."""

S = TypeVar("S", bound=str)

_ID: Final = re.compile(r"[0-9A-Za-z_.:\-]{1,200}")
_DIGITS: Final = re.compile(r"-?[0-9]{1,9}")


class Fields:
    """A form or a query, each name once."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, limit: int) -> str:
        """Return a field's text, empty when it is not there."""
        value = self._values.get(name, "")
        if len(value) > limit:
            raise InvalidField(name, f"is longer than {limit} characters")
        return value

    def optional_sid(self, name: str, prefix: str) -> str | None:
        """Return a Twilio SID, or None when the field is empty or missing."""
        value = self._values.get(name, "")
        if not value:
            return None
        if not re.fullmatch(f"(?:{prefix})[0-9a-fA-F]{{32}}", value):
            raise InvalidField(name, f"is not a SID; write {prefix.replace('|', ' or ')} and 32 hexadecimal digits")
        return value

    def sid(self, name: str, prefix: str) -> str:
        """Return a Twilio SID that must be there."""
        value = self.optional_sid(name, prefix)
        if value is None:
            raise InvalidField(name, "is missing")
        return value

    def optional_id(self, name: str) -> str | None:
        """Return an id of ours out of a callback URL, or None."""
        value = self._values.get(name, "")
        if value and not _ID.fullmatch(value):
            raise InvalidField(name, "is not an id; write up to 200 letters, digits, '-', '_', '.' or ':'")
        return value or None

    def integer(self, name: str) -> int | None:
        """Return a whole number, or None when the field is empty or missing."""
        value = self._values.get(name, "").strip()
        if not value:
            return None
        if not _DIGITS.fullmatch(value):
            raise InvalidField(name, "is not a whole number")
        return int(value)

    def required(self, name: str) -> str:
        """Return a short text that must be there."""
        value = self.text(name, 200)
        if not value:
            raise InvalidField(name, "is missing")
        return value

    def raw(self, name: str) -> str | None:
        """Return a field as it came."""
        return self._values.get(name)

    def time(self, now: datetime) -> datetime:
        """Return when it happened: Twilio's `Timestamp` while it is close to now, else now."""
        said = self._values.get("Timestamp", "")
        if not said:
            return now
        try:
            found = parsedate_to_datetime(said[:64])
            found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            return now
        return found if is_close(found, now) else now


def one_of(said: str, allowed: Collection[S]) -> S | None:
    """Return a text as the one of a closed set that it is, or None."""
    return next((one for one in allowed if one == said), None)


def is_close(one: datetime, other: datetime) -> bool:
    """Return whether two instants are within five minutes of each other."""
    return abs(one - other) <= timedelta(seconds=CLOSE_S)
