"""What the fence gives to a handler, and what the handler gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.runtime import dead_letters
from services.runtime.clock import real_now
from services.runtime.handled import APPLIED, DEAD_LETTERED, Handled

from .table import TableRow

RecordHeaders = Sequence[tuple[str, bytes]]
Send = tuple[str, bytes | None, bytes | None, RecordHeaders]
"""Topic, key, value, headers; the partition follows from the key."""


class Unchanged:
    """The row stays as it is, and nothing is written for it."""


UNCHANGED: Final = Unchanged()


class Halt(Exception):
    """Out of `on_error`: take no event any more, this one included, until `go_on`, and stay up; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One record as the broker keeps it."""

    topic: str
    partition: int
    offset: int
    timestamp_s: float
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an event leads to.

    Attributes:
        row: the row from now on; None deletes it, UNCHANGED writes nothing.
        sends: what to send, in order.
        handled: how the event ended, for whoever is told of finished events.
    """

    row: TableRow | Unchanged | None = UNCHANGED
    sends: Sequence[Send] = ()
    handled: Handled = APPLIED


Handle = Callable[[Incoming, TableRow | None], Outcome]
"""Decides on one event. Pure and quick: no I/O, no clock; the same event and row give the same outcome. It gets a copy
of the row. It must know replays: after a crash an event comes again, with the row as it was before the event, or as this
event or a later one left it."""

Repeat = Callable[[bytes, TableRow], Sequence[Send]]
"""Says again what the last event of a key's row sent, from key and row alone. Pure."""


def no_repeats(key: bytes, row: TableRow) -> Sequence[Send]:
    """Say nothing: for handlers whose rows keep no effects."""
    return ()


OnError = Callable[[Incoming, Exception], Outcome]


def dead_letter(event: Incoming, error: Exception) -> Outcome:
    """Return the outcome of an event that could not be handled: its bytes go to `<topic>.dlq`, the row stays."""
    first = real_now()
    wire = dead_letters.dead_letter(event, error, attempts=1, first_failed=first)
    if dead_letters.is_too_large(wire):  # its send would fail, and the same event would end every next process too
        wire = dead_letters.dead_letter(event, error, attempts=1, first_failed=first, with_value=False)
    return Outcome(sends=((wire.topic, wire.key, wire.value, wire.headers),), handled=DEAD_LETTERED)
