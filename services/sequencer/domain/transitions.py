"""The table: what each event does in each phase. It is total, the specification, and what the diagram is drawn from.

What may not happen is a rule too: it changes nothing, is counted, and says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from schemas.base import EventData
from schemas.leads import (
    LeadAssigned,
    LeadAttempted,
    LeadCalledAgain,
    LeadClosed,
    LeadContacted,
    LeadEvent,
    LeadHandedOver,
    LeadOpened,
    LeadOptedIn,
    LeadOptedOut,
    LeadQualified,
    LeadReplied,
)
from schemas.touches import (
    TimerDue,
    TouchDelivered,
    TouchFailed,
    TouchResult,
    TouchSent,
    TouchSuppressed,
    TouchTaskRequested,
)
from services.sequencer.domain import sequence
from services.sequencer.domain.cadence import Cadence, Cadences, Stop
from services.sequencer.domain.effects import Effect
from services.sequencer.domain.row import Phase, Row, State, StepState
from services.sequencer.errors import UnknownCadence

Ignored = Literal[
    "replayed", "passed", "own", "no_sequence", "other_step", "no_open_timer", "texting_stopped", "not_stopped",
    "nothing_to_do", "not_for_us",
]  # fmt: skip

RETRY_AFTER = timedelta(minutes=1)
"""When a retriable failure names no instant."""
MAX_FAILURES = 10
"""A step that the provider has refused this often will not leave; it ends the loop that a wrong `retriable` makes."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next row, what to do, and why nothing happened where nothing did."""

    row: Row
    effects: tuple[Effect, ...] = ()
    ignored: Ignored | None = None


Act = Callable[[Row, Any, datetime, Cadences], Decision]


@dataclass(frozen=True, slots=True)
class Rule:
    """One cell of the table: what it does, and every phase it may lead to besides the one it is in."""

    name: str
    act: Act
    to: frozenset[Phase] = field(default_factory=frozenset)
    ignores: Ignored | None = None


def ignored(why: Ignored) -> Rule:
    """Return the rule of a pair in which nothing happens."""
    return Rule(why, lambda row, _data, _now, _cadences: Decision(row, ignored=why), ignores=why)


def _missed_call(row: Row, data: LeadOpened | LeadCalledAgain, now: datetime, cadences: Cadences) -> Decision:
    if not sequence.may_start(row, data, now):
        return _callback_only(row, data, now, cadences)
    return Decision(*sequence.start(row, data, _cadence(data, cadences), now))


def _callback_only(row: Row, data: LeadOpened | LeadCalledAgain, now: datetime, _: Cadences) -> Decision:
    return Decision(*sequence.callback_only(row, data, now))


def _refuse(row: Row, data: LeadOpened | LeadCalledAgain, now: datetime, cadences: Cadences) -> Decision:
    if not sequence.may_start(row, data, now):
        return Decision(row, ignored="texting_stopped")
    return Decision(*sequence.refuse(row, data, _cadence(data, cadences), Stop.OPTED_OUT))


def _cadence(data: LeadOpened | LeadCalledAgain, cadences: Cadences) -> Cadence:
    try:
        return cadences[data.cadence]
    except KeyError:
        raise UnknownCadence(f"cadence {data.cadence!r}; there are {sorted(cadences)}") from None


def _stopping(why: Stop, then: Phase | None) -> Act:
    """Return an act that ends what `why` ends; the phase becomes `then` (None: it stays)."""

    def act(row: Row, _data: LeadEvent, _now: datetime, cadences: Cadences) -> Decision:
        row, effects = sequence.stop(row, sequence.cadence_of(row, cadences), why)
        return Decision(sequence.settled(row) if then is None else replace(row, phase=then), effects)

    return act


def _attempted(row: Row, data: LeadAttempted, now: datetime, cadences: Cadences) -> Decision:
    if data.next_at is not None:
        return Decision(row, ignored="nothing_to_do")  # the task goes on, with leads
    return _stopping(Stop.ATTEMPTS_ENDED, Phase.NURTURING)(row, data, now, cadences)


def _opted_in(row: Row, _data: LeadOptedIn, _now: datetime, _cadences: Cadences) -> Decision:
    return Decision(replace(row, phase=Phase.IDLE))


def _of(row: Row, data: TouchResult) -> StepState | Ignored:
    if row.sequence is None or data.sequence_id != row.sequence_id:
        return "no_sequence"
    return row.sequence.step(data.step) or "other_step"


def _sent(row: Row, data: TouchSent, now: datetime, cadences: Cadences) -> Decision:
    state = _of(row, data)
    if not isinstance(state, StepState):
        return Decision(row, ignored=state)
    if state.state is State.SENT:
        return Decision(row, ignored="passed")
    row, effects = sequence.sent(row, sequence.cadence_of(row, cadences), state, data.sent_at, now)
    return Decision(sequence.settled(row), effects)


def _suppressed(row: Row, data: TouchSuppressed, now: datetime, cadences: Cadences) -> Decision:
    state = _of(row, data)
    if not isinstance(state, StepState):
        return Decision(row, ignored=state)
    if state.state is not State.DUE or data.attempt != state.attempt:
        return Decision(row, ignored="passed")
    cadence = sequence.cadence_of(row, cadences)
    if data.reason == "already_sent":  # another attempt of this step has left: that is what counts
        row, effects = sequence.sent(row, cadence, state, now, now)
    elif data.until is not None:
        row, effects = sequence.again(row, cadence, state, data.until, now)
    else:
        row, effects = sequence.not_sent(row, cadence, state, now)
    return Decision(sequence.settled(row), effects)


def _failed(row: Row, data: TouchFailed, now: datetime, cadences: Cadences) -> Decision:
    state = _of(row, data)
    if not isinstance(state, StepState):
        return Decision(row, ignored=state)
    # A text that was sent may still fail at the carrier; nothing else that is over changes again.
    if state.state not in (State.DUE, State.SENT) or data.attempt != state.attempt:
        return Decision(row, ignored="passed")
    cadence = sequence.cadence_of(row, cadences)
    if data.retriable and data.attempt < MAX_FAILURES:
        row, effects = sequence.again(row, cadence, state, data.until or now + RETRY_AFTER, now)
    else:
        row, effects = sequence.not_sent(row, cadence, state, now)
    return Decision(sequence.settled(row), effects)


def _task_requested(row: Row, data: TouchTaskRequested, now: datetime, cadences: Cadences) -> Decision:
    state = _of(row, data)
    if not isinstance(state, StepState):
        return Decision(row, ignored=state)
    if data.kind != "text_not_sent" or state.state is not State.DUE or data.attempt != state.attempt:
        return Decision(row, ignored="passed")
    row, effects = sequence.not_sent(row, sequence.cadence_of(row, cadences), state, now)
    return Decision(sequence.settled(row), effects)


def _tick(row: Row, data: TimerDue, _now: datetime, cadences: Cadences) -> Decision:
    state = sequence.open_timer(row, data.step, data.timer_id)
    if state is None:
        return Decision(row, ignored="no_open_timer")
    row, effects = sequence.fire(row, sequence.cadence_of(row, cadences), state)
    return Decision(sequence.settled(row), effects)


def _to(*phases: Phase) -> frozenset[Phase]:
    return frozenset(phases)


_IDLE, _RECOVERING = Phase.IDLE, Phase.RECOVERING
MISSED = Rule("start_recovery", _missed_call, _to(_RECOVERING))
CALLBACK = Rule("callback_only", _callback_only)
REFUSE = Rule("refuse_sequence", _refuse)
CONVERSE = Rule("stop_on_reply", _stopping(Stop.REPLIED, Phase.CONVERSING), _to(Phase.CONVERSING))
HAND_OVER = Rule("hand_over", _stopping(Stop.HANDED_OVER, Phase.HANDED_OVER), _to(Phase.HANDED_OVER))
OPT_OUT = Rule("opt_out", _stopping(Stop.OPTED_OUT, Phase.STOPPED), _to(Phase.STOPPED))
OPT_IN = Rule("opt_in", _opted_in, _to(_IDLE))
NURTURE = Rule("nurture", _attempted, _to(Phase.NURTURING))
CONTACT = Rule("stop_on_contact", _stopping(Stop.CONTACTED, _IDLE), _to(_IDLE))
CLOSE = Rule("stop_on_closing", _stopping(Stop.CLOSED, _IDLE), _to(_IDLE))
SENT = Rule("text_sent", _sent, _to(_IDLE))
GATED = Rule("text_suppressed", _suppressed, _to(_IDLE))
FAILED = Rule("text_failed", _failed, _to(_IDLE))
NOT_SENT = Rule("text_not_sent", _task_requested, _to(_IDLE))
TICK = Rule("step_due", _tick, _to(_IDLE))
RAISED = ignored("nothing_to_do")
SILENT = ignored("texting_stopped")
NOT_STOPPED = ignored("not_stopped")

_TABLE: Mapping[type[EventData], tuple[Rule, Rule, Rule, Rule, Rule, Rule]] = {
    #                    idle         recovering   conversing   handed_over  nurturing    stopped
    LeadOpened:         (MISSED,      MISSED,      MISSED,      CALLBACK,    MISSED,      REFUSE),
    LeadCalledAgain:    (MISSED,      MISSED,      MISSED,      CALLBACK,    MISSED,      REFUSE),
    LeadAssigned:       (RAISED,      RAISED,      RAISED,      RAISED,      RAISED,      RAISED),
    LeadReplied:        (CONVERSE,    CONVERSE,    CONVERSE,    RAISED,      CONVERSE,    SILENT),
    LeadQualified:      (CONVERSE,    CONVERSE,    CONVERSE,    RAISED,      CONVERSE,    SILENT),
    LeadHandedOver:     (HAND_OVER,   HAND_OVER,   HAND_OVER,   HAND_OVER,   HAND_OVER,   SILENT),
    LeadOptedOut:       (OPT_OUT,     OPT_OUT,     OPT_OUT,     OPT_OUT,     OPT_OUT,     OPT_OUT),
    LeadOptedIn:        (NOT_STOPPED, NOT_STOPPED, NOT_STOPPED, NOT_STOPPED, NOT_STOPPED, OPT_IN),
    LeadAttempted:      (NURTURE,     NURTURE,     NURTURE,     NURTURE,     NURTURE,     SILENT),
    LeadContacted:      (CONTACT,     CONTACT,     CONTACT,     CONTACT,     CONTACT,     SILENT),
    LeadClosed:         (CLOSE,       CLOSE,       CLOSE,       CLOSE,       CLOSE,       SILENT),
    TouchSent:          (SENT,        SENT,        SENT,        SENT,        SENT,        SENT),
    TouchDelivered:     (RAISED,      RAISED,      RAISED,      RAISED,      RAISED,      RAISED),
    TouchFailed:        (FAILED,      FAILED,      FAILED,      FAILED,      FAILED,      FAILED),
    TouchSuppressed:    (GATED,       GATED,       GATED,       GATED,       GATED,       GATED),
    TouchTaskRequested: (NOT_SENT,    NOT_SENT,    NOT_SENT,    NOT_SENT,    NOT_SENT,    NOT_SENT),
    TimerDue:           (TICK,        TICK,        TICK,        TICK,        TICK,        SILENT),
}  # fmt: skip

RULES: Mapping[tuple[Phase, type[EventData]], Rule] = {
    (phase, event): rule for event, row in _TABLE.items() for phase, rule in zip(Phase, row, strict=True)
}
"""Total over Phase x CallerEvent; a test proves it."""

CALLER_EVENTS: tuple[type[EventData], ...] = tuple(_TABLE)
