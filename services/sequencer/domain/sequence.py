"""What happens to the steps of a sequence; each function returns the next row and the effects on the way there."""

from dataclasses import replace
from datetime import datetime, timedelta

from schemas import ids
from schemas.base import LocalTime
from schemas.leads import LeadCalledAgain, LeadOpened
from services.sequencer.domain.cadence import Cadence, Cadences, Step, Stop
from services.sequencer.domain.effects import Effect, EmitTouch, RequestTask, SetTimer, Suppress
from services.sequencer.domain.row import Phase, Row, Sequence, State, StepState

UNFINISHED_LIMIT = timedelta(days=14)
"""A sequence whose last result never came must not keep a borrower from being answered for ever."""

Change = tuple[Row, tuple[Effect, ...]]


def cadence_of(row: Row, cadences: Cadences) -> Cadence | None:
    """Return the cadence of the row's sequence; None before the first, or when its file is gone."""
    return cadences.get(row.sequence.cadence) if row.sequence else None


def may_start(row: Row, missed: LeadOpened | LeadCalledAgain, now: datetime) -> bool:
    """Say whether a missed call may start a sequence: none unfinished, and none yet that local day (C11, Q2)."""
    found = row.sequence
    if found is None:
        return True
    over = found.finished or now - found.call_ended_at > UNFINISHED_LIMIT
    return over and found.local_day != missed.local_day


def start(row: Row, missed: LeadOpened | LeadCalledAgain, cadence: Cadence, now: datetime) -> Change:
    """Start a sequence: the first text and every phone step get their time, later texts wait for the one before."""
    ended, morning = missed.call.ended_at, missed.callback_morning
    states: list[StepState] = []
    effects: list[Effect] = []
    first = cadence.first_text
    for step in cadence.steps:
        if step.channel == "sms" and step.name != first:
            states.append(StepState(step.name, State.WAITING))
            continue
        due_at = morning.utc() if step.at_callback_morning else ended + (step.delay or timedelta())
        state, effect = _schedule(cadence, step, 1, due_at, now, morning if step.at_callback_morning else None)
        states.append(state)
        effects.append(effect)
    sequence = Sequence(cadence.name, missed.local_day, ended, morning, tuple(states))
    return replace(row, phase=Phase.RECOVERING, sequence=sequence), tuple(effects)


def refuse(row: Row, missed: LeadOpened | LeadCalledAgain, cadence: Cadence, why: Stop) -> Change:
    """Note a sequence that may not happen: every step is dropped at once, each with the reason."""
    states = tuple(StepState(step.name, State.DROPPED) for step in cadence.steps)
    sequence = Sequence(cadence.name, missed.local_day, missed.call.ended_at, missed.callback_morning, states)
    effects = tuple(Suppress(step.name, 1, step.reason(why)) for step in cadence.steps)
    return replace(row, sequence=sequence), effects


def callback_only(row: Row, missed: LeadOpened | LeadCalledAgain, now: datetime) -> Change:
    """Ask for the callback at once; no text (C11). How urgent that is, leads knows, which has seen the call too."""
    if row.sequence is None:  # the row was lost: the request still needs a sequence to be about
        empty = Sequence(missed.cadence, missed.local_day, missed.call.ended_at, missed.callback_morning)
        row = replace(row, sequence=empty)
    # The lead's own count as the attempt: every further call is a request of its own, the same one on a replay.
    return row, (RequestTask("called-again", missed.lead_seq, now, None, False, "called_again"),)


def stop(row: Row, cadence: Cadence | None, why: Stop) -> Change:
    """Drop every step that `why` ends. A text that has gone to the notifier is only kept from coming back."""
    found = row.sequence
    if found is None:
        return row, ()
    effects: list[Effect] = []
    states: list[StepState] = []
    for state in found.steps:
        step = cadence.step(state.name) if cadence else None
        ends = step is None or why in step.stop_on
        if ends and state.state in (State.WAITING, State.TIMED):
            states.append(replace(state, state=State.DROPPED))
            effects.append(Suppress(state.name, state.attempt, step.reason(why) if step else "overtaken"))
        elif ends and state.state in (State.DUE, State.SENT) and not state.stop:
            states.append(replace(state, stop=why.value))
        else:
            states.append(state)
    return replace(row, sequence=replace(found, steps=tuple(states))), tuple(effects)


def sent(row: Row, cadence: Cadence | None, state: StepState, at: datetime, now: datetime) -> Change:
    """A text has left: the next one counts its delay from this moment."""
    return _advance(_with(row, replace(state, state=State.SENT, at=at)), cadence, state.name, at, now)


def again(row: Row, cadence: Cadence | None, state: StepState, until: datetime, now: datetime) -> Change:
    """The attempt failed for now: another at `until`, unless something has ended the step meanwhile."""
    step = cadence.step(state.name) if cadence else None
    if row.sequence is None or row.sequence.finished:  # sent long ago, and only now refused by the carrier
        return not_sent(row, cadence, state, now)
    if step is None or state.stop or row.phase is Phase.STOPPED:
        dropped = replace(state, state=State.DROPPED, attempt=state.attempt + 1, stop="")
        reason = step.reason(Stop(state.stop or Stop.OPTED_OUT)) if step else "overtaken"
        return _missing(_with(row, dropped), cadence, state.name, now, (Suppress(state.name, dropped.attempt, reason),))
    assert cadence is not None  # noqa: S101 - a step has a cadence
    changed, effect = _schedule(cadence, step, state.attempt + 1, until, now)
    return _with(row, changed), (effect,)


def not_sent(row: Row, cadence: Cadence | None, state: StepState, now: datetime) -> Change:
    """A text will never leave. Without the first, no later one goes (a person rings instead)."""
    return _missing(_with(row, replace(state, state=State.NOT_SENT, stop="")), cadence, state.name, now)


def open_timer(row: Row, step: str, timer_id: str) -> StepState | None:
    """Return the step whose open timer this is; None for an obsolete, repeated or foreign tick."""
    state = row.sequence.step(step) if row.sequence else None
    if state is None or state.state is not State.TIMED:
        return None
    return state if ids.timer_id(row.sequence_id, step, state.attempt) == timer_id else None


def fire(row: Row, cadence: Cadence | None, state: StepState) -> Change:
    """A step's time has come: a text is emitted, a phone step becomes due for a person."""
    step = cadence.step(state.name) if cadence else None
    assert row.sequence is not None  # noqa: S101 - its step fired
    if cadence is None or step is None:
        gone = replace(state, state=State.DROPPED)
        return _with(row, gone), (Suppress(state.name, state.attempt, "overtaken"),)
    if step.channel == "phone":
        morning = row.sequence.morning if step.at_callback_morning else None
        due_at = morning.utc() if morning else state.at or row.sequence.call_ended_at
        task = RequestTask(step.name, state.attempt, due_at, morning, False, step.name)
        return _with(row, replace(state, state=State.SENT)), (task,)
    due_at = state.at or row.sequence.call_ended_at
    return _with(row, replace(state, state=State.DUE)), (_touch(cadence, step, state.attempt, due_at),)


def settled(row: Row) -> Row:
    """Return the row, no longer recovering once nothing more will come of its sequence."""
    if row.phase is Phase.RECOVERING and (row.sequence is None or row.sequence.finished):
        return replace(row, phase=Phase.IDLE)
    return row


def _with(row: Row, state: StepState) -> Row:
    return row.following(row.sequence.having(state)) if row.sequence else row


def _touch(cadence: Cadence, step: Step, attempt: int, due_at: datetime) -> EmitTouch:
    # A first attempt is due at its base and a later one at the last `until`: expiry counts from whichever it is.
    return EmitTouch(step.name, attempt, step.template, step.lane, due_at, due_at + step.expires_after,
                     step.name == cadence.first_text)  # fmt: skip


def _schedule(
    cadence: Cadence, step: Step, attempt: int, due_at: datetime, now: datetime, local: LocalTime | None = None
) -> tuple[StepState, Effect]:
    if due_at > now or step.channel == "phone":
        return StepState(step.name, State.TIMED, attempt, due_at), SetTimer(step.name, attempt, due_at, local)
    return StepState(step.name, State.DUE, attempt, due_at), _touch(cadence, step, attempt, due_at)


def _advance(row: Row, cadence: Cadence | None, after: str, base: datetime, now: datetime) -> Change:
    """Give the text after `after` its time, counted from `base`."""
    names = [step.name for step in cadence.steps if step.channel == "sms"] if cadence else []
    if cadence is None or row.sequence is None or after not in names[:-1]:
        return row, ()
    step, state = cadence.step(names[names.index(after) + 1]), row.sequence.step(names[names.index(after) + 1])
    if step is None or state is None or state.state is not State.WAITING:
        return row, ()
    changed, effect = _schedule(cadence, step, state.attempt, base + (step.delay or timedelta()), now)
    return _with(row, changed), (effect,)


def _missing(row: Row, cadence: Cadence | None, step: str, now: datetime, effects: tuple[Effect, ...] = ()) -> Change:
    """Draw the conclusion from a text that will never leave."""
    if cadence is None or step == cadence.first_text:
        row, dropped = stop(row, cadence, Stop.FIRST_TEXT_MISSING)
        return row, (*effects, *dropped)
    row, following = _advance(row, cadence, step, now, now)
    return row, (*effects, *following)
