"""Which rows may hold effects that nobody has: judged by where their event stood at the assignment."""

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from services.sequencer.adapters.fence.causes import Causes

LEADS, TICKS = TP("leads", 3), TP("sequencer-ticks", 3)


def message(offset: int, topic: str = "leads", key: bytes = b"k") -> Any:
    return SimpleNamespace(topic=topic, partition=3, offset=offset, key=key)


@pytest.fixture
def row() -> dict[str, Any]:
    """Return a row that another life wrote for offset 7 of leads."""
    earlier = Causes()
    earlier.assigned({LEADS: 0})
    return earlier.mark({"n": 1}, message(7))


def after(committed: int | None) -> Causes:
    causes = Causes()
    causes.assigned({LEADS: committed, TICKS: 100})
    return causes


@pytest.mark.parametrize(("committed", "doubtful"), [(None, True), (0, True), (7, True), (8, False), (9, False)])
def test_row_is_doubtful_where_its_event_was_not_committed(
    row: dict[str, Any], committed: int | None, doubtful: bool
) -> None:
    assert after(committed).are_doubtful(row, message(100, "sequencer-ticks")) is doubtful


def test_row_is_doubtful_for_the_first_event_of_its_key_only(row: dict[str, Any]) -> None:
    causes = after(7)
    assert causes.are_doubtful(row, message(100, "sequencer-ticks"))
    assert not causes.are_doubtful(row, message(101, "sequencer-ticks"))
    causes.assigned({LEADS: 7})
    assert causes.are_doubtful(row, message(101, "sequencer-ticks")), "the next assignment asks again"


def test_row_of_the_event_that_comes_again_is_left_to_its_handler(row: dict[str, Any]) -> None:
    causes = after(7)
    assert not causes.are_doubtful(row, message(7))
    assert not causes.are_doubtful(row, message(8))


def test_row_that_this_life_wrote_is_not_doubtful() -> None:
    causes = after(7)
    assert not causes.are_doubtful(causes.mark({"n": 1}, message(7)), message(8))


def test_row_from_before_there_were_causes_repeats_nothing() -> None:
    assert not after(0).are_doubtful({"n": 1}, message(1))
    assert not after(0).are_doubtful(None, message(1))


def test_event_that_a_halt_left_out_asks_again_when_it_is_taken(row: dict[str, Any]) -> None:
    """What its predecessor may not have sent was not sent then either."""
    causes = after(7)
    assert causes.are_doubtful(row, message(100, "sequencer-ticks"))
    causes.not_sent(b"k")
    assert causes.are_doubtful(row, message(100, "sequencer-ticks"))
