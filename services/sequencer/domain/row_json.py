"""A row's compact JSON, as it stands in the table and its changelog: times in microseconds, at most about 1 KB."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from schemas.base import LocalTime
from services.sequencer.domain.effects import Effect, EmitTouch, RequestTask, SetTimer, Suppress
from services.sequencer.domain.row import CallerSequence, Origin, Phase, Row, StepState, StepStatus
from services.sequencer.errors import BrokenRow

RowJson = dict[str, Any]
"""A row as `dump` writes it and `load` reads it."""

VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_PHASES = {phase.value: phase for phase in Phase}
_STATUSES = {status.value: status for status in StepStatus}


def dump(row: Row) -> RowJson:
    """Return a row as compact JSON; `load` reads it back to an equal row."""
    found, origin = row.sequence, row.last_origin
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
            [_step(step) for step in found.steps],
        ],
        "e": row.last_event,
        "f": [_effect(effect) for effect in row.last_effects],
        "o": origin and [_us(origin.time), _us(origin.received_at), origin.branch_id, origin.traceparent],
    }


def load(raw: RowJson) -> Row:
    """Return the row that `dump` wrote.

    Raises:
        BrokenRow: it is no row of this version.
    """
    try:
        if raw["v"] != VERSION:
            raise BrokenRow(f"row version {raw['v']}, this code reads {VERSION}")
        effects = tuple(_read_effect(effect) for effect in raw["f"])
        sequence = _read_sequence(raw["s"]) if raw["s"] else None
        return Row(
            phase=_PHASES[raw["p"]],
            lead_id=raw["l"],
            lead_seq=raw["n"],
            sequence=sequence,
            last_event=raw["e"],
            last_effects=effects,
            last_origin=_read_origin(raw.get("o")),
        )
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BrokenRow(f"not a caller's row: {error!r}") from error


def _read_sequence(raw: list[Any]) -> CallerSequence:
    cadence, day, ended, morning, steps = raw
    return CallerSequence(
        cadence=cadence,
        local_day=date.fromisoformat(day),
        call_ended_at=_at(ended),
        morning=_read_local(morning),
        steps=tuple([_read_step(*step) for step in steps]),
    )


def _step(step: StepState) -> list[Any]:
    kept = [step.name, step.status.value, step.attempt, _us(step.at), step.stop]
    return kept if step.base is None else [*kept, _us(step.base)]


def _read_step(name: str, status: str, attempt: int, at: int | None, stop: str, base: int | None = None) -> StepState:
    return StepState(
        name=name, status=_STATUSES[status], attempt=attempt, at=_read_us(at), stop=stop, base=_read_us(base)
    )


def _read_origin(raw: list[Any] | None) -> Origin | None:
    if raw is None:
        return None
    time, received, branch, trace = raw
    return Origin(time=_at(time), received_at=_read_us(received), branch_id=branch, traceparent=trace)


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
            return [
                "T",
                effect.step,
                effect.attempt,
                effect.template,
                effect.lane,
                _us(effect.due_at),
                _us(effect.expires_at),
                int(effect.first),
            ]
        case SetTimer():
            return ["A", effect.step, effect.attempt, _us(effect.due_at), _local(effect.due_local)]
        case RequestTask():
            return [
                "R",
                effect.step,
                effect.attempt,
                _us(effect.due_at),
                _local(effect.due_local),
                int(effect.urgent),
                effect.reason,
            ]
        case Suppress():
            return ["S", effect.step, effect.attempt, effect.reason]


def _read_effect(raw: list[Any]) -> Effect:
    kind, step, attempt, *rest = raw
    if kind == "T":
        template, lane, due, expires, first = rest
        return EmitTouch(
            step=step,
            attempt=attempt,
            template=template,
            lane=lane,
            due_at=_at(due),
            expires_at=_at(expires),
            first=bool(first),
        )
    if kind == "A":
        due, local = rest
        return SetTimer(step=step, attempt=attempt, due_at=_at(due), due_local=_read_local(local) if local else None)
    if kind == "R":
        due, local, urgent, reason = rest
        return RequestTask(
            step=step,
            attempt=attempt,
            due_at=_at(due),
            due_local=_read_local(local) if local else None,
            urgent=bool(urgent),
            reason=reason,
        )
    if kind == "S":
        return Suppress(step, attempt, rest[0])
    raise ValueError(f"unknown effect {kind!r}")


def _at(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
