"""One limit on dead letters: a bad deploy stops the service, and a few bad events do not."""

import pytest

from services.runtime.clock import real_now
from services.runtime.dead_letters import (
    DEAD_LETTER_FREE,
    DEAD_LETTER_SHARE,
    DEAD_LETTER_WINDOW,
    DeadLetterLimit,
    TooManyDeadLetters,
    dead_letter,
)
from tests.unit.runtime.build import Record


def note(limit: DeadLetterLimit, *, good: int = 0, bad: int = 0, partition: int = 0) -> None:
    for _ in range(good):
        limit.note("leads", partition, failed=False)
    for _ in range(bad):
        limit.note("leads", partition, failed=True)


def test_few_dead_letters_pass_even_when_nothing_else_was_read() -> None:
    limit = DeadLetterLimit()
    note(limit, bad=DEAD_LETTER_FREE)
    with pytest.raises(TooManyDeadLetters, match=r"leads\[0\]"):
        note(limit, bad=1)


def test_share_of_the_last_events_decides_once_the_window_is_full() -> None:
    limit, allowed = DeadLetterLimit(), int(DEAD_LETTER_SHARE * DEAD_LETTER_WINDOW)
    note(limit, good=DEAD_LETTER_WINDOW, bad=allowed)
    with pytest.raises(TooManyDeadLetters):
        note(limit, bad=1)


def test_dead_letters_of_long_ago_count_no_more() -> None:
    limit = DeadLetterLimit()
    for _ in range(5):
        note(limit, bad=DEAD_LETTER_FREE, good=DEAD_LETTER_WINDOW)


def test_partitions_are_counted_apart() -> None:
    limit = DeadLetterLimit()
    for partition in range(12):
        note(limit, bad=DEAD_LETTER_FREE, partition=partition)


def test_reason_of_any_length_and_any_characters_fits_its_header() -> None:
    letter = dead_letter(Record(1), ValueError("\ud800" * 5000), attempts=1, first_failed=real_now())
    assert len(dict(letter.headers)["dlq_reason"]) <= 1000


def test_record_without_key_value_or_headers_has_a_dead_letter_too() -> None:
    letter = dead_letter(Record(1, None, None), ValueError("no key"), attempts=1, first_failed=real_now())
    assert (letter.key, letter.value) == (b"", b"")
