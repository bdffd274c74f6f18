"""The base classes of all events, and the small values that events share."""

from datetime import date, datetime, time
from typing import Annotated, ClassVar, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

E164_PATTERN: Final = r"^\+[1-9]\d{6,14}$"
E164 = Annotated[str, Field(pattern=E164_PATTERN, examples=["+12125550123"])]
Id = Annotated[str, Field(min_length=1, max_length=200)]

OPEN_LIST = "x-known-values"
"""JSON Schema keyword beside a text: the values in use today. Readers take any text; the list only grows."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ValueError(f"unknown time zone {name!r}; write its IANA name, such as America/New_York") from error
    return name


Zone = Annotated[str, AfterValidator(_known_zone), Field(examples=["America/New_York"])]


class Value(BaseModel):
    """A frozen value; unknown fields are ignored, so that an older reader survives a newer writer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class EventData(Value):
    """The body of one event; `TYPE` is its CloudEvents type, `TOPIC` the topic it is sent to."""

    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]


class LocalTime(Value):
    """A local date and time of day; resolved to an instant when it is used, by the zone data of that moment."""

    on: date
    at: time
    zone: Zone

    def utc(self) -> datetime:
        """Return the instant: for a time skipped in spring the later reading, for one repeated in autumn the first."""
        return datetime.combine(self.on, self.at, ZoneInfo(self.zone)).astimezone(ZoneInfo("UTC"))


Instant = AwareDatetime
Texting = Literal["open", "paused", "stopped"]
Lane = Literal["urgent", "normal", "bulk"]
Audience = Literal["borrower", "officer"]
