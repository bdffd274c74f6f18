"""One caller's row, and its compact JSON: times in microseconds, at most about 1 KB.

The row keeps only what `decide` reads. Sequence, touch and timer ids are not in it: they are derived from lead,
cadence, day, step and attempt whenever they are needed.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from schemas import ids
from schemas.base import LocalTime
from services.sequencer.domain.effects import Effect, EmitTouch, RequestTask, SetTimer, Suppress
from services.sequencer.errors import BrokenRow

VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


class Phase(StrEnum):
    """Where a caller stands."""

    IDLE = "idle"
    RECOVERING = "recovering"
    CONVERSING = "conversing"
    HANDED_OVER = "handed_over"
    NURTURING = "nurturing"
    STOPPED = "stopped"


class State(StrEnum):
    """Where one step stands; the later three are final, except that `sent` may still fail at the carrier."""

    WAITING = "waiting"  # for the text before it to be sent
    TIMED = "timed"  # its timer is open
    DUE = "due"  # emitted; the notifier has it
    SENT = "sent"  # or, of a phone step: requested
    DROPPED = "dropped"  # by us, for a reason
    NOT_SENT = "not_sent"  # the notifier's last word


OPEN = frozenset({State.WAITING, State.TIMED, State.DUE})


@dataclass(frozen=True, slots=True)
class StepState:
    """One step of the sequence: `at` is when this attempt is (or was) due, `stop` what ends it on its return."""

    name: str
    state: State
    attempt: int = 1
    at: datetime | None = None
    stop: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """The last sequence a caller was given."""

    cadence: str
    local_day: date
    call_ended_at: datetime
    morning: LocalTime
    steps: tuple[StepState, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether nothing more will come of it."""
        return not any(step.state in OPEN for step in self.steps)

    def step(self, name: str) -> StepState | None:
        """Return a step's state."""
        return next((step for step in self.steps if step.name == name), None)

    def having(self, changed: StepState) -> "Sequence":
        """Return the sequence with one step's state replaced."""
        steps = tuple([changed if step.name == changed.name else step for step in self.steps])
        return Sequence(self.cadence, self.local_day, self.call_ended_at, self.morning, steps)


@dataclass(frozen=True, slots=True)
class Row:
    """What the sequencer knows of one caller; never mutated."""

    phase: Phase = Phase.IDLE
    lead_id: str = ""
    lead_seq: int = 0
    sequence: Sequence | None = None
    last_event: str = ""
    last_effects: tuple[Effect, ...] = ()

    @property
    def sequence_id(self) -> str:
        """The id of the last sequence; empty before the first."""
        found = self.sequence
        return ids.sequence_id(self.lead_id, found.cadence, found.local_day) if found else ""

    # Written out, for they run for every event: `dataclasses.replace` costs three times as much.

    def following(self, sequence: Sequence) -> "Row":
        """Return the row with another sequence, or another state of it."""
        return Row(self.phase, self.lead_id, self.lead_seq, sequence, self.last_event, self.last_effects)

    def heard(self, lead_seq: int) -> "Row":
        """Return the row that has read this event of its lead."""
        return Row(self.phase, self.lead_id, lead_seq, self.sequence, self.last_event, self.last_effects)

    def remembering(self, event: str, effects: tuple[Effect, ...]) -> "Row":
        """Return the row with its last event."""
        return Row(self.phase, self.lead_id, self.lead_seq, self.sequence, event, effects)


EMPTY = Row()
_PHASES = {phase.value: phase for phase in Phase}
_STATES = {state.value: state for state in State}


def dump(row: Row) -> dict[str, Any]:
    """Return a row as compact JSON; `load` reads it back to an equal row."""
    found = row.sequence
    return {
        "v": VERSION,
        "p": row.phase.value,
        "l": row.lead_id,
        "n": row.lead_seq,
        "s": found
        and [
            found.cadence,
            found.local_day.isoformat(),
            _us(found.call_ended_at),
            _local(found.morning),
            [[step.name, step.state.value, step.attempt, _us(step.at), step.stop] for step in found.steps],
        ],
        "e": row.last_event,
        "f": [_effect(effect) for effect in row.last_effects],
    }


def load(raw: dict[str, Any]) -> Row:
    """Return the row that `dump` wrote.

    Raises:
        BrokenRow: it is no row of this version.
    """
    try:
        if raw["v"] != VERSION:
            raise BrokenRow(f"row version {raw['v']}, this code reads {VERSION}")
        effects = tuple(_read_effect(effect) for effect in raw["f"])
        sequence = _read_sequence(raw["s"]) if raw["s"] else None
        return Row(_PHASES[raw["p"]], raw["l"], raw["n"], sequence, raw["e"], effects)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BrokenRow(f"not a caller's row: {error!r}") from error


def _read_sequence(raw: list[Any]) -> Sequence:
    cadence, day, ended, morning, steps = raw
    states = tuple(
        StepState(name, _STATES[state], attempt, _read_us(at), stop) for name, state, attempt, at, stop in steps
    )
    return Sequence(cadence, date.fromisoformat(day), _at(ended), _read_local(morning), states)


def _us(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // _US


def _read_us(at: int | None) -> datetime | None:
    return None if at is None else _EPOCH + timedelta(microseconds=at)


def _local(at: LocalTime | None) -> list[str] | None:
    return [at.on.isoformat(), at.at.isoformat("auto"), at.zone] if at else None


def _read_local(raw: list[str]) -> LocalTime:
    # Not validated again: it was when it came, and a zone that later vanishes must fail where it is resolved.
    return LocalTime.model_construct(on=date.fromisoformat(raw[0]), at=time.fromisoformat(raw[1]), zone=raw[2])


def _effect(effect: Effect) -> list[Any]:
    match effect:
        case EmitTouch():
            return ["T", effect.step, effect.attempt, effect.template, effect.lane,
                    _us(effect.due_at), _us(effect.expires_at), int(effect.first)]  # fmt: skip
        case SetTimer():
            return ["A", effect.step, effect.attempt, _us(effect.due_at), _local(effect.due_local)]
        case RequestTask():
            return ["R", effect.step, effect.attempt, _us(effect.due_at), _local(effect.due_local),
                    int(effect.urgent), effect.reason]  # fmt: skip
        case Suppress():
            return ["S", effect.step, effect.attempt, effect.reason]


def _read_effect(raw: list[Any]) -> Effect:
    kind, step, attempt, *rest = raw
    if kind == "T":
        template, lane, due, expires, first = rest
        return EmitTouch(step, attempt, template, lane, _at(due), _at(expires), bool(first))
    if kind == "A":
        return SetTimer(step, attempt, _at(rest[0]), _read_local(rest[1]) if rest[1] else None)
    if kind == "R":
        due, local, urgent, reason = rest
        return RequestTask(step, attempt, _at(due), _read_local(local) if local else None, bool(urgent), reason)
    if kind == "S":
        return Suppress(step, attempt, rest[0])
    raise ValueError(f"unknown effect {kind!r}")


def _at(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
