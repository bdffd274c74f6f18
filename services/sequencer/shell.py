"""Decode, load, decide, save, emit: bytes and a row in, a row and records out. Pure; the fence does all I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from schemas.envelope import Wire, decode, encode
from services.sequencer.domain import emit, row
from services.sequencer.domain.cadence import Cadences
from services.sequencer.domain.machine import decide
from services.sequencer.metrics import DECISIONS, IGNORED

RowJson = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Handled:
    """What one record comes to; `changed` says whether `row` must be written."""

    row: RowJson | None
    changed: bool
    sends: tuple[Wire, ...]
    outcome: str


Handle = Callable[[bytes | None, bytes | None, Iterable[tuple[str, bytes]], str, RowJson | None], Handled]


def handler(cadences: Cadences) -> Handle:
    """Return the function that handles one record: `handle(key, value, headers, topic, row)`.

    It raises UndecodableEvent or a PermanentError for what belongs into the dead-letter topic; the row then stays.
    """

    def handle(
        key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]], topic: str, kept: RowJson | None
    ) -> Handled:
        event = decode(key, value, headers)
        before = row.EMPTY if kept is None else row.load(kept)
        decision = decide(before, event, cadences)
        sends = tuple(encode(made) for made in emit.events(decision.effects, decision.row, event))
        if decision.ignored is not None:
            IGNORED.labels(topic, decision.ignored).inc()
        changed = decision.row is not before
        DECISIONS.labels(event.type, decision.row.phase.value).inc()
        outcome = "ignored" if decision.ignored else "applied"
        return Handled(row.dump(decision.row) if changed else kept, changed, sends, outcome)

    return handle
