"""When a branch is open: weekly windows, federal holidays, dated exceptions, in the branch's own zone."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import holidays
from pydantic import ConfigDict, RootModel, model_validator

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NOON: Final = time(12)
_YEAR: Final = tuple(timedelta(days=ahead) for ahead in range(366))

_WINDOW: Final = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")

OpenWindow = tuple[time, time]
"""Opening and closing local time; open at the first, closed at the second."""


def _windows(value: object) -> tuple[OpenWindow, ...]:
    if not isinstance(value, list):
        raise ValueError("windows are a list such as ['08:30-12:00', '13:00-17:30']; [] is closed")
    found: list[OpenWindow] = []
    for text in value:
        match = _WINDOW.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} is not a window such as '08:30-12:00'")
        h1, m1, h2, m2 = (int(part) for part in match.groups())
        try:
            window = (time(h1, m1), time(h2, m2))
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from error
        if window[0] >= window[1]:
            raise ValueError(f"{text!r} ends before it starts")
        if found and found[-1][1] > window[0]:
            raise ValueError(f"{text!r} starts before the window in front of it ends")
        found.append(window)
    return tuple(found)


def _days_of(key: object) -> Iterator[str]:
    first, _, last = str(key).partition("-")
    if first not in DAYS or (last or first) not in DAYS or DAYS.index(first) > DAYS.index(last or first):
        raise ValueError(f"{key!r} is not a day such as 'mon' or 'mon-fri'")
    yield from DAYS[DAYS.index(first) : DAYS.index(last or first) + 1]


class Hours(RootModel[dict[str, tuple[OpenWindow, ...]]]):
    """Weekly hours, written as `mon-fri: ["08:30-12:00", "13:00-17:30"]`; a day not named is closed."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: object) -> dict[str, tuple[OpenWindow, ...]]:
        if not isinstance(value, Mapping):
            raise ValueError("hours are days with their windows, such as mon-fri: ['09:00-17:00']")
        found: dict[str, tuple[OpenWindow, ...]] = {}
        for key, raw in value.items():
            windows = _windows(raw)
            for day in _days_of(key):
                if day in found:
                    raise ValueError(f"duplicate day {day!r}")
                found[day] = windows
        return found

    def of(self, weekday: int) -> tuple[OpenWindow, ...]:
        """Return the windows of a weekday, 0 is Monday."""
        return self.root.get(DAYS[weekday], ())


class Exceptions(RootModel[dict[date, tuple[OpenWindow, ...]]]):
    """Dated exceptions, `2026-02-06: []` for closed; they overrule weekday and holiday."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> dict[object, tuple[OpenWindow, ...]]:
        if not isinstance(value, Mapping):
            raise ValueError("exceptions are dates with their windows, such as 2026-02-06: []")
        return {day: _windows(raw) for day, raw in value.items()}


@lru_cache(maxsize=64)
def federal_holidays(year: int) -> frozenset[date]:
    """Return the US federal holidays of a year, observed days included (4 July 2026 is a Saturday: the 3rd too)."""
    # The observed New Year's Day of the next year can fall on 31 December of this one.
    both = holidays.country_holidays("US", years=(year, year + 1))
    return frozenset(day for day in both if day.year == year)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A branch's opening hours as one thing to ask; wall-clock arithmetic, so a change to summer time moves nothing."""

    zone: ZoneInfo
    hours: Hours
    exceptions: Exceptions
    federal_holidays: bool = True

    def windows(self, day: date) -> tuple[OpenWindow, ...]:
        """Return the open windows of a local date; none when closed."""
        if day in self.exceptions.root:
            return self.exceptions.root[day]
        if self.federal_holidays and day in federal_holidays(day.year):
            return ()
        return self.hours.of(day.weekday())

    def is_open(self, at: datetime) -> bool:
        """Return whether an instant (aware) lies in a window."""
        local = at.astimezone(self.zone)
        return any(opens <= local.time() < closes for opens, closes in self.windows(local.date()))

    def next_callbacks(self, after: datetime, at: time) -> tuple[date, time]:
        """Return when callbacks are next due, as a local date and time strictly after an instant.

        That is at `at`, on the first day that opens before noon. Where no day within a year does, it is the first
        opening; where there is none either, it is `at` on the first day on which that is later.

        Args:
            after: aware.
            at: local time of a business morning's callbacks.
        """
        today = after.astimezone(self.zone).date()
        for ahead in _YEAR:
            day = today + ahead
            if any(opens < NOON for opens, _ in self.windows(day)) and self._is_later(day, at, after):
                return day, at
        for ahead in _YEAR:
            for opens, _ in self.windows(today + ahead):
                if self._is_later(today + ahead, opens, after):
                    return today + ahead, opens
        return (today if self._is_later(today, at, after) else today + timedelta(days=1)), at

    def _is_later(self, day: date, at: time, after: datetime) -> bool:
        # Compared as instants: in the repeated hour of autumn two instants show one wall time.
        return datetime.combine(day, at, self.zone).timestamp() > after.timestamp()
