"""Times as borrowers say them, and the instants they are in the borrower's zone."""

import timeit
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from services.policy.reading.normal import make_plain
from services.policy.reading.times import CallbackSpan, CallbackTime, read_callback_time, resolve

CHICAGO = ZoneInfo("America/Chicago")
TUESDAY_10 = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)  # 10:00 in Chicago


def said(text: str) -> CallbackTime | None:
    """Return the time a text names."""
    return read_callback_time(make_plain(text).text, text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("call me at 5", CallbackTime(hour=5)),
        ("tomorrow after 3", CallbackTime(days=1, hour=3, relation="after")),
        ("in 20 min", CallbackTime(in_minutes=20)),
        ("half an hour", CallbackTime(in_minutes=30)),
        ("in 2 hours", CallbackTime(in_minutes=120)),
        ("lunch", CallbackTime(part="lunch")),
        ("tomorrow morning", CallbackTime(days=1, part="morning")),
        ("Friday 9am", CallbackTime(weekday=4, hour=9, meridiem="am")),
        ("3:30 pm", CallbackTime(hour=3, minute=30, meridiem="pm")),
        ("between 2 and 4", CallbackTime(hour=2, until_hour=4, relation="between")),
        ("before noon", CallbackTime(part="lunch")),
        ("mañana a las 3", CallbackTime(days=1, hour=3)),
        ("el lunes por la mañana", CallbackTime(weekday=0, part="morning")),
        ("dec 3 at 10am", CallbackTime(date=(12, 3), hour=10, meridiem="am")),
        ("my credit is 640", None),
        ("thanks", None),
    ],
)
def test_time_is_read_as_it_was_said(text: str, wanted: CallbackTime | None) -> None:
    assert said(text) == wanted


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("call me at 5", datetime(2026, 11, 24, 23, 0, tzinfo=UTC)),
        ("tomorrow after 3", datetime(2026, 11, 25, 21, 0, tzinfo=UTC)),
        ("in 20 min", datetime(2026, 11, 24, 16, 20, tzinfo=UTC)),
        ("lunch", datetime(2026, 11, 24, 18, 0, tzinfo=UTC)),
        ("Friday 9am", datetime(2026, 11, 27, 15, 0, tzinfo=UTC)),
        ("tuesday at 4", datetime(2026, 12, 1, 22, 0, tzinfo=UTC)),
        ("tomorrow", datetime(2026, 11, 25, 15, 0, tzinfo=UTC)),
        ("12/3 at 10", datetime(2026, 12, 3, 16, 0, tzinfo=UTC)),
    ],
)
def test_time_is_an_instant_in_the_borrowers_zone(text: str, start: datetime) -> None:
    found = said(text)
    assert found is not None
    resolved = resolve(found, TUESDAY_10, CHICAGO)
    assert isinstance(resolved, CallbackSpan)
    assert resolved.start == start


@pytest.mark.parametrize(
    ("text", "why"),
    [("today at 9", "past"), ("at 8", "ambiguous"), ("feb 30 at 3", "impossible"), ("today", "ambiguous")],
)
def test_time_that_cannot_be_kept_is_told_apart(text: str, why: str) -> None:
    found = said(text)
    assert found is not None
    assert resolve(found, TUESDAY_10, CHICAGO) == why


def test_hour_that_the_clocks_skip_becomes_one_that_exists() -> None:
    found = resolve(
        CallbackTime(date=(3, 8), hour=2, minute=30, meridiem="am"), datetime(2026, 3, 7, 18, 0, tzinfo=UTC), CHICAGO
    )
    assert found == CallbackSpan(datetime(2026, 3, 8, 8, 30, tzinfo=UTC))


def test_before_a_time_ends_there_and_begins_now() -> None:
    found = resolve(CallbackTime(hour=5, relation="before"), TUESDAY_10, CHICAGO)
    assert found == CallbackSpan(TUESDAY_10, datetime(2026, 11, 24, 23, 0, tzinfo=UTC))


def test_time_it_takes_grows_no_faster_than_the_text() -> None:
    """Eight times the numbers cost about eight times as much; they cost sixty times as much when each looked through the text."""
    short, long = (
        min(timeit.repeat(partial(read_callback_time, "1 " * count), number=1, repeat=5)) for count in (500, 4_000)
    )
    assert long < 24 * short
