"""One limit on dead letters: a bad deploy makes its partition stand, and a few bad events do not."""

from services.runtime.dead_letter_topics import PAUSED, RESUMED, Note
from services.runtime.letter_count import DEAD_LETTER_FREE, DEAD_LETTER_SHARE, DEAD_LETTER_WINDOW, LetterCount
from tests.unit.runtime.build import stored

P0, P1 = ("leads", 0), ("leads", 1)


def counted(count: LetterCount, offsets: range, where: tuple[str, int] = P0) -> LetterCount:
    """Count a dead letter for each of the offsets; none may be too many."""
    for offset in offsets:
        assert count.full(where, offset) is None
        count.add(where, offset)
    return count


def test_few_dead_letters_pass_even_when_nothing_else_was_read() -> None:
    count = counted(LetterCount("it"), range(DEAD_LETTER_FREE))
    assert count.full(P0, DEAD_LETTER_FREE) == "21 of the last 21 events of leads[0] failed"


def test_share_of_the_last_events_decides_once_the_window_is_full() -> None:
    first, allowed = 5000, int(DEAD_LETTER_SHARE * DEAD_LETTER_WINDOW)
    count = counted(LetterCount("it"), range(first, first + allowed))
    assert count.full(P0, first + allowed) == "41 of the last 200 events of leads[0] failed"


def test_dead_letters_of_long_ago_count_no_more() -> None:
    count = LetterCount("it")
    for first in range(0, 5 * DEAD_LETTER_WINDOW, DEAD_LETTER_WINDOW):
        counted(count, range(first, first + DEAD_LETTER_FREE))


def test_partitions_are_counted_apart() -> None:
    count = counted(LetterCount("it"), range(DEAD_LETTER_FREE))
    counted(count, range(DEAD_LETTER_FREE), P1)


def test_event_that_comes_again_after_its_dead_letter_is_counted_once() -> None:
    count = counted(LetterCount("it"), range(DEAD_LETTER_FREE - 1))
    for _ in range(3):
        counted(count, range(DEAD_LETTER_FREE - 1, DEAD_LETTER_FREE))


def test_what_stood_before_a_resumption_counts_no_more() -> None:
    count = counted(LetterCount("it"), range(DEAD_LETTER_FREE))
    notes = [
        Note(kind=kind, topic="leads", partition=0, offset=DEAD_LETTER_FREE, group="it") for kind in (PAUSED, RESUMED)
    ]
    count.read(stored([note.wire() for note in notes]))
    counted(count, range(DEAD_LETTER_FREE, 2 * DEAD_LETTER_FREE))
