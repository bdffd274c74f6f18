"""What happens to the steps of a sequence; when one may start: `one_sequence_a_day.py`.

Each function returns the next row and the effects on the way there.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from schemas import ids
from schemas.base import LocalTime
from schemas.leads import LeadCalledAgain, LeadOpened
from services.sequencer.domain.cadence import Cadence, Cadences, Step, Stop
from services.sequencer.domain.effects import Effect, EmitTouch, RequestTask, SetTimer, Suppress
from services.sequencer.domain.row import CallerSequence, Phase, Row, StepState, StepStatus

RowAndEffects = tuple[Row, tuple[Effect, ...]]


def cadence_of(row: Row, cadences: Cadences) -> Cadence | None:
    """Return the cadence of the row's sequence; None before the first, or when its file is gone."""
    return cadences.get(row.sequence.cadence) if row.sequence else None


def start(row: Row, missed: LeadOpened | LeadCalledAgain, cadence: Cadence, now: datetime) -> RowAndEffects:
    """Start a sequence: the first text and every phone step get their time, later texts wait for the one before."""
    ended, morning = _ended_at(missed, now), missed.callback_morning
    states: list[StepState] = []
    effects: list[Effect] = []
    first = cadence.first_text
    for step in cadence.steps:
        if step.channel == "sms" and step.name != first:
            states.append(StepState(name=step.name, status=StepStatus.WAITING))
            continue
        due_at = morning.utc() if step.at_callback_morning else ended + (step.delay or timedelta())
        local = morning if step.at_callback_morning else None
        state, effect = _schedule(cadence, step, attempt=1, due_at=due_at, now=now, local=local)
        states.append(state)
        effects.append(effect)
    return replace(row, phase=Phase.RECOVERING, sequence=_sequence(missed, cadence.name, states, now)), tuple(effects)


def refuse(row: Row, missed: LeadOpened | LeadCalledAgain, cadence: Cadence, why: Stop, now: datetime) -> RowAndEffects:
    """Note a sequence that may not happen: every step is dropped at once, each with the reason."""
    states = [StepState(name=step.name, status=StepStatus.DROPPED) for step in cadence.steps]
    effects = tuple(Suppress(step.name, 1, step.reason(why)) for step in cadence.steps)
    return replace(row, sequence=_sequence(missed, cadence.name, states, now)), effects


def callback_only(row: Row, missed: LeadOpened | LeadCalledAgain, now: datetime) -> RowAndEffects:
    """Ask for the callback at once, without a text (fact C11). The leads service, which has seen the call, ranks it."""
    if row.sequence is None:  # the row was lost: the request still needs a sequence to be about
        row = replace(row, sequence=_sequence(missed, missed.cadence, [], now))
    request = RequestTask(
        step="called-again",
        # The lead's own count: every further call is a request of its own, and a replay repeats the same one.
        attempt=missed.lead_seq,
        due_at=now,
        due_local=None,
        urgent=False,
        reason="called_again",
    )
    return row, (request,)


def stop(row: Row, cadence: Cadence | None, why: Stop) -> RowAndEffects:
    """Drop every step that `why` ends. A text that the notifier has may still leave, but does not come back."""
    found = row.sequence
    if found is None:
        return row, ()
    effects: list[Effect] = []
    states: list[StepState] = []
    for state in found.steps:
        step = cadence.step(state.name) if cadence else None
        ends = step is None or why in step.stop_on
        if ends and state.status in (StepStatus.WAITING, StepStatus.TIMED):
            states.append(replace(state, status=StepStatus.DROPPED))
            effects.append(Suppress(state.name, state.attempt, step.reason(why) if step else "overtaken"))
        elif ends and state.status in (StepStatus.DUE, StepStatus.SENT) and not state.stop:
            states.append(replace(state, stop=why.value))
        else:
            states.append(state)
    return replace(row, sequence=found.with_steps(tuple(states))), tuple(effects)


def sent(row: Row, cadence: Cadence | None, state: StepState, *, at: datetime, now: datetime) -> RowAndEffects:
    """A text has left: the next one counts its delay from this moment."""
    row = _with(row, replace(state, status=StepStatus.SENT, at=at, base=state.base or state.at))
    return _advance(row, cadence, after=state.name, base=at, now=now)


def again(
    row: Row, cadence: Cadence | None, state: StepState, *, until: datetime, now: datetime, by_law: bool = False
) -> RowAndEffects:
    """The attempt failed for now: make another at `until`, unless something has ended the step meanwhile.

    Where the law held it (`by_law`), its expiry counts from `until`. Any other hold leaves the expiry where it is, and the
    next attempt comes no later than that: the notifier then says that it is too late, and a person calls.
    """
    step, found = cadence.step(state.name) if cadence else None, row.sequence
    if found is None or found.finished:  # sent long ago, and only now refused by the carrier
        return not_sent(row, cadence, state, now)
    if cadence is None or step is None or state.stop or row.phase is Phase.STOPPED:
        dropped = replace(state, status=StepStatus.DROPPED, attempt=state.attempt + 1, stop="")
        reason = step.reason(Stop(state.stop or Stop.OPTED_OUT)) if step else "overtaken"
        suppressed = Suppress(state.name, dropped.attempt, reason)
        row, effects = _never_left(_with(row, dropped), cadence, state.name, now)
        return row, (suppressed, *effects)
    base = until if by_law else state.base or state.at or found.call_ended_at
    due_at = min(until, base + step.expires_after)
    changed, effect = _schedule(cadence, step, attempt=state.attempt + 1, due_at=due_at, now=now, base=base)
    return _with(row, changed), (effect,)


def not_sent(row: Row, cadence: Cadence | None, state: StepState, now: datetime) -> RowAndEffects:
    """A text will never leave. Without the first, no later one goes: a person calls instead."""
    return _never_left(_with(row, replace(state, status=StepStatus.NOT_SENT, stop="")), cadence, state.name, now)


def open_timer(row: Row, step: str, timer_id: str) -> StepState | None:
    """Return the step whose open timer this is; None for an obsolete, repeated or foreign tick."""
    state = row.sequence.step(step) if row.sequence else None
    if state is None or state.status is not StepStatus.TIMED:
        return None
    return state if ids.timer_id(row.sequence_id, step, state.attempt) == timer_id else None


def fire(row: Row, cadence: Cadence | None, state: StepState) -> RowAndEffects:
    """A step's time has come: a text is emitted, a phone step becomes due for a person."""
    found, step = row.sequence, cadence.step(state.name) if cadence else None
    if found is None:
        return row, ()
    if cadence is None or step is None:
        gone = replace(state, status=StepStatus.DROPPED)
        return _with(row, gone), (Suppress(state.name, state.attempt, "overtaken"),)
    if step.channel == "phone":
        morning = found.morning if step.at_callback_morning else None
        request = RequestTask(
            step=step.name,
            attempt=state.attempt,
            due_at=morning.utc() if morning else state.at or found.call_ended_at,
            due_local=morning,
            urgent=False,
            reason=step.name,
        )
        return _with(row, replace(state, status=StepStatus.SENT)), (request,)
    due_at = state.at or found.call_ended_at
    touch = _touch(cadence, step, state.attempt, due_at, state.base or due_at)
    return _with(row, replace(state, status=StepStatus.DUE)), (touch,)


def settled(row: Row) -> Row:
    """Return the row; *recovering* becomes *idle* when no step of its sequence is open."""
    if row.phase is Phase.RECOVERING and (row.sequence is None or row.sequence.finished):
        return replace(row, phase=Phase.IDLE)
    return row


def _ended_at(missed: LeadOpened | LeadCalledAgain, now: datetime) -> datetime:
    """Return when a call ended; a phone system whose clock is ahead delays no text."""
    return min(missed.call.ended_at, now)


def _sequence(
    missed: LeadOpened | LeadCalledAgain, cadence: str, states: list[StepState], now: datetime
) -> CallerSequence:
    return CallerSequence(
        cadence=cadence,
        local_day=missed.local_day,
        call_ended_at=_ended_at(missed, now),
        morning=missed.callback_morning,
        steps=tuple(states),
    )


def _with(row: Row, state: StepState) -> Row:
    return row.following(row.sequence.having(state)) if row.sequence else row


def _touch(cadence: Cadence, step: Step, attempt: int, due_at: datetime, base: datetime) -> EmitTouch:
    return EmitTouch(
        step=step.name,
        attempt=attempt,
        template=step.template,
        lane=step.lane,
        due_at=due_at,
        expires_at=base + step.expires_after,
        first=step.name == cadence.first_text,
    )


def _schedule(
    cadence: Cadence,
    step: Step,
    *,
    attempt: int,
    due_at: datetime,
    now: datetime,
    local: LocalTime | None = None,
    base: datetime | None = None,
) -> tuple[StepState, Effect]:
    """Give an attempt at a step its time: a timer, or the touch itself when that time has come.

    Its expiry counts from `base`; None: from `due_at`.
    """
    kept = None if base == due_at else base
    if due_at > now or step.channel == "phone":
        timed = StepState(name=step.name, status=StepStatus.TIMED, attempt=attempt, at=due_at, base=kept)
        return timed, SetTimer(step=step.name, attempt=attempt, due_at=due_at, due_local=local)
    due = StepState(name=step.name, status=StepStatus.DUE, attempt=attempt, at=due_at, base=kept)
    return due, _touch(cadence, step, attempt, due_at, base or due_at)


def _advance(row: Row, cadence: Cadence | None, *, after: str, base: datetime, now: datetime) -> RowAndEffects:
    """Give the text that follows the text `after` its time, counted from `base`."""
    texts = [step for step in cadence.steps if step.channel == "sms"] if cadence else []
    step = next((following for text, following in pairwise(texts) if text.name == after), None)
    state = row.sequence.step(step.name) if row.sequence and step else None
    if cadence is None or step is None or state is None or state.status is not StepStatus.WAITING:
        return row, ()
    due_at = base + (step.delay or timedelta())
    changed, effect = _schedule(cadence, step, attempt=state.attempt, due_at=due_at, now=now)
    return _with(row, changed), (effect,)


def _never_left(row: Row, cadence: Cadence | None, step: str, now: datetime) -> RowAndEffects:
    """Draw the conclusion from a text that will never leave: without the first no later one goes, else the next is due."""
    if cadence is None or step == cadence.first_text:
        return stop(row, cadence, Stop.FIRST_TEXT_MISSING)
    return _advance(row, cadence, after=step, base=now, now=now)
