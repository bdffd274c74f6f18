"""Bytes in, bytes out."""

import json
from typing import Any

import pytest

from schemas.base import EventData
from schemas.envelope import Event, UndecodableEvent, decode, encode
from schemas.leads import LeadOpened
from schemas.touches import TouchSent
from services.runtime.handled import ignored
from services.sequencer.errors import BrokenRow
from services.sequencer.shell import Decided, handler, repeat
from tests.unit.sequencer.build import CADENCES, CALLER, KEY, T0, lead, result, sequence_of

handle = handler(CADENCES)


def given(event: Event[EventData], row: dict[str, Any] | None = None) -> Decided:
    wire = encode(event)
    return handle(wire.key, wire.value, wire.headers, row)


def test_opened_lead_leaves_a_small_row_and_sends_a_touch_and_a_timer() -> None:
    made = given(lead(LeadOpened, 1))
    assert made.changed
    assert len(json.dumps(made.row, separators=(",", ":"))) < 700
    assert [wire.topic for wire in made.sends] == ["touches", "sequencer-timers"]
    touch = decode(made.sends[0].key, made.sends[0].value, made.sends[0].headers)
    assert (touch.data.caller, touch.data.sequence_id, touch.data.first_of_sequence) == (  # type: ignore[attr-defined]
        CALLER,
        sequence_of(),
        True,
    )
    assert (touch.key, touch.branch_id, touch.received_at) == (KEY, "nyc", T0)


def test_repeated_event_sends_the_same_bytes_again_and_writes_nothing() -> None:
    first = given(lead(LeadOpened, 1))
    second = given(lead(LeadOpened, 1), json.loads(json.dumps(first.row)))
    assert (second.sends, second.changed, second.handled) == (first.sends, False, ignored("replayed"))


@pytest.mark.parametrize("left", [1, 2])
def test_row_alone_sends_what_its_last_event_sent_to_the_last_byte(left: int) -> None:
    """After a crash another event of the caller may be read first; by then only the row knows what was not sent."""
    events = [lead(LeadOpened, 1), result(TouchSent, "text-now", T0)][:left]
    kept: dict[str, Any] = {}
    for event in events:
        made = given(event, kept or None)
        kept = json.loads(json.dumps(made.row))
    assert made.sends
    assert repeat(KEY, {**kept, "@": ["leads", 0, 7, "abc"]}) == made.sends


def test_row_from_before_origins_were_kept_repeats_nothing() -> None:
    old = {name: value for name, value in (given(lead(LeadOpened, 1)).row or {}).items() if name != "o"}
    assert repeat(KEY, old) == ()
    assert given(lead(LeadOpened, 1), old).sends, "its own event again still emits them"


def test_event_of_another_sequence_writes_nothing() -> None:
    made = given(result(TouchSent, "text-now", T0))
    assert (made.row, made.changed, made.sends, made.handled) == (None, False, (), ignored("no_sequence"))


def test_bytes_that_are_no_event_are_refused() -> None:
    with pytest.raises(UndecodableEvent):
        handle(KEY, b"{}", [], None)


def test_event_of_a_type_that_only_a_newer_version_knows_is_ignored_and_the_row_stays() -> None:
    row = given(lead(LeadOpened, 1)).row
    made = handle(KEY, b"{}", [("ce_type", b"lead.reconsidered")], row)
    assert (made.row, made.changed, made.sends, made.handled) == (row, False, (), ignored("unknown_type"))


@pytest.mark.parametrize("row", [{}, {"v": 99}, {"v": 1, "p": "asleep"}])
def test_row_of_another_version_is_refused_and_not_overwritten(row: dict[str, Any]) -> None:
    with pytest.raises(BrokenRow):
        given(lead(LeadOpened, 1), row)
