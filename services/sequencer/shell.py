"""Decode, load, decide, save, emit: bytes and a row in, a row and records out. Pure; the fence does all I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from schemas.envelope import UnknownEventType, Wire, decode, encode
from services.runtime.handled import APPLIED, UNKNOWN_TYPE, Handled, ignored
from services.sequencer.domain import emit
from services.sequencer.domain.cadence import Cadences
from services.sequencer.domain.machine import decide
from services.sequencer.domain.row import EMPTY
from services.sequencer.domain.row_json import RowJson, dump, load
from services.sequencer.metrics import DECISIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What is decided on one record.

    Attributes:
        row: the caller's row from now on; None where there is none yet.
        changed: whether the row must be written.
        sends: what to emit, in order.
        handled: how the record ended.
    """

    row: RowJson | None
    changed: bool
    sends: tuple[Wire, ...]
    handled: Handled


RecordHandler = Callable[[bytes | None, bytes | None, Iterable[tuple[str, bytes]], RowJson | None], Decided]


def handler(cadences: Cadences) -> RecordHandler:
    """Return the function that handles one record: `handle(key, value, headers, row)`.

    It raises UndecodableEvent or a PermanentError for what belongs in the dead-letter topic; the row then stays.
    """

    def handle(
        key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]], kept: RowJson | None
    ) -> Decided:
        try:
            event = decode(key, value, headers)
        except UnknownEventType:
            return Decided(row=kept, changed=False, sends=(), handled=UNKNOWN_TYPE)
        before = EMPTY if kept is None else load(kept)
        decision = decide(before, event, cadences)
        changed = decision.row is not before
        DECISIONS.labels(event.type, decision.row.phase.value).inc()
        return Decided(
            row=dump(decision.row) if changed else kept,
            changed=changed,
            sends=tuple([encode(made) for made in emit.events(decision.effects, decision.row, event)]),
            handled=ignored(decision.ignored) if decision.ignored else APPLIED,
        )

    return handle


def repeat(key: bytes, kept: RowJson) -> tuple[Wire, ...]:
    """Return again what the last event of a row emitted.

    Raises:
        BrokenRow: it is no row of this version.
    """
    return tuple([encode(made) for made in emit.again(load(kept), key)])
