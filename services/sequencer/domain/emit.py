"""Effects as events. Ids are derived: the same effect of the same row is always the same event."""

from typing import TypedDict

from schemas import ids
from schemas.base import EventData
from schemas.envelope import Event
from schemas.touches import TimerSet, TouchDue, TouchSuppressed, TouchTaskRequested
from services.sequencer.domain.effects import Effect, EmitTouch, RequestTask, SetTimer, Suppress
from services.sequencer.domain.machine import SOURCE
from services.sequencer.domain.row import Origin, Row


def events(effects: tuple[Effect, ...], row: Row, cause: Event[EventData]) -> list[Event[EventData]]:
    """Return what to emit for the effects that `cause` had on the caller of its key; `row` is the row after it."""
    return _events(effects, row, cause.key, cause.lender_id, Origin.of(cause))


def again(row: Row, key: bytes) -> list[Event[EventData]]:
    """Return what the last event of a row emitted, made from the row alone: the same events, to the last byte."""
    if row.last_origin is None:
        return []
    return _events(row.last_effects, row, key, key.decode().partition(":")[0], row.last_origin)


def _events(effects: tuple[Effect, ...], row: Row, key: bytes, lender: str, origin: Origin) -> list[Event[EventData]]:
    if not effects or row.sequence is None:
        return []
    caller = key.decode().rpartition(":")[2]
    made = [_event(effect, row, row.sequence_id, caller) for effect in effects]
    return [
        Event(
            id=id_,
            data=data,
            source=SOURCE,
            time=origin.time,
            key=key,
            lender_id=lender,
            branch_id=origin.branch_id,
            received_at=origin.received_at,
            traceparent=origin.traceparent,
        )
        for id_, data in made
    ]


class _Touch(TypedDict):
    """What every event about a touch says: the fields of TouchRef."""

    touch_id: str
    lead_id: str
    caller: str
    sequence_id: str
    step: str
    attempt: int


def _event(effect: Effect, row: Row, sequence: str, caller: str) -> tuple[str, EventData]:
    """Return id and data of an effect's event."""
    data: EventData
    if isinstance(effect, SetTimer):
        timer = ids.timer_id(sequence, effect.step, effect.attempt)
        data = TimerSet(timer_id=timer, due_at=effect.due_at, due_local=effect.due_local, step=effect.step)
        return timer, data
    touch = ids.touch_id(sequence, effect.step, effect.attempt)
    about: _Touch = {
        "touch_id": touch,
        "lead_id": row.lead_id,
        "caller": caller,
        "sequence_id": sequence,
        "step": effect.step,
        "attempt": effect.attempt,
    }
    match effect:
        case EmitTouch():
            data = TouchDue(
                **about,
                template=effect.template,
                lane=effect.lane,
                due_at=effect.due_at,
                expires_at=effect.expires_at,
                lead_seq=row.lead_seq,
                base_at=row.sequence.call_ended_at if row.sequence else None,
                first_of_sequence=effect.first,
            )
            return touch, data
        case RequestTask():
            data = TouchTaskRequested(
                **about, due=effect.due_local, due_at=effect.due_at, urgent=effect.urgent, reason=effect.reason
            )
            return f"{touch}:task_requested", data
        case Suppress():
            data = TouchSuppressed(**about, reason=effect.reason)
            return f"{touch}:suppressed", data
