"""Effects as events. Ids are derived: the same effect of the same row is always the same event."""

from typing import TypedDict

from schemas import ids
from schemas.base import EventData
from schemas.envelope import Event
from schemas.touches import TimerSet, TouchDue, TouchSuppressed, TouchTaskRequested
from services.sequencer.domain.effects import Effect, EmitTouch, RequestTask, SetTimer, Suppress
from services.sequencer.domain.machine import SOURCE
from services.sequencer.domain.row import Row


def events(effects: tuple[Effect, ...], row: Row, cause: Event[EventData]) -> list[Event[EventData]]:
    """Return what to emit for the effects that `cause` had on the caller of its key; `row` is the row after it."""
    if not effects or row.sequence is None:
        return []
    return [_event(effect, row, row.sequence_id, cause) for effect in effects]


class _Touch(TypedDict):
    """What every event about a touch says: the fields of TouchRef."""

    touch_id: str
    lead_id: str
    caller: str
    sequence_id: str
    step: str
    attempt: int


def _event(effect: Effect, row: Row, sequence: str, cause: Event[EventData]) -> Event[EventData]:
    data: EventData
    if isinstance(effect, SetTimer):
        timer = ids.timer_id(sequence, effect.step, effect.attempt)
        data = TimerSet(timer_id=timer, due_at=effect.due_at, due_local=effect.due_local, step=effect.step)
        return cause.caused(timer, data, SOURCE, cause.time)
    touch = ids.touch_id(sequence, effect.step, effect.attempt)
    about: _Touch = {
        "touch_id": touch,
        "lead_id": row.lead_id,
        "caller": cause.key.decode().rpartition(":")[2],
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
            return cause.caused(touch, data, SOURCE, cause.time)
        case RequestTask():
            data = TouchTaskRequested(
                **about, due=effect.due_local, due_at=effect.due_at, urgent=effect.urgent, reason=effect.reason
            )
            return cause.caused(f"{touch}:task_requested", data, SOURCE, cause.time)
        case Suppress():
            data = TouchSuppressed(**about, reason=effect.reason)
            return cause.caused(f"{touch}:suppressed", data, SOURCE, cause.time)
