"""The table: what each event does in each phase. It is total, the specification, and what the diagram is drawn from.

What may not happen is a rule too: it changes nothing, is counted, and says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from services.sequencer.domain.one_sequence_a_day import may_start
from services.sequencer.domain.row import Phase, Row, StepState, StepStatus
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
"""Row, data, event's time, cadences. The data's type is that of the table's rows in which the act stands: hence `Any`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One cell of the table.

    Attributes:
        name: what it is called in the diagram; its constant's name in small letters.
        act: what it does.
        to: every phase it may lead to besides the one it is in.
        ends_recovery: it leaves *recovering* for *idle* when it closes the last open step; it changes no other phase.
        ignores: why nothing happens, where nothing does.
    """

    name: str
    act: Act
    to: frozenset[Phase] = frozenset()
    ends_recovery: bool = False
    ignores: Ignored | None = None


def ignored(why: Ignored) -> Rule:
    """Return the rule of a pair in which nothing happens."""
    return Rule(name=why, act=lambda row, _data, _now, _cadences: Decision(row, ignored=why), ignores=why)


def _missed_call(row: Row, data: LeadOpened | LeadCalledAgain, now: datetime, cadences: Cadences) -> Decision:
    if not may_start(row, data, now):
        return _callback_only(row, data, now, cadences)
    return Decision(*sequence.start(row, data, _cadence(data, cadences), now))


def _callback_only(row: Row, data: LeadOpened | LeadCalledAgain, now: datetime, _: Cadences) -> Decision:
    return Decision(*sequence.callback_only(row, data, now))


def _refuse(row: Row, data: LeadOpened | LeadCalledAgain, now: datetime, cadences: Cadences) -> Decision:
    if not may_start(row, data, now):
        return Decision(row, ignored="texting_stopped")
    return Decision(*sequence.refuse(row, data, _cadence(data, cadences), Stop.OPTED_OUT, now))


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
        return Decision(row, ignored="nothing_to_do")  # the leads service goes on with the task
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
    if state.status is StepStatus.SENT:
        return Decision(row, ignored="passed")
    row, effects = sequence.sent(row, sequence.cadence_of(row, cadences), state, at=data.sent_at, now=now)
    return Decision(sequence.settled(row), effects)


def _suppressed(row: Row, data: TouchSuppressed, now: datetime, cadences: Cadences) -> Decision:
    state = _of(row, data)
    if not isinstance(state, StepState):
        return Decision(row, ignored=state)
    if state.status is not StepStatus.DUE or data.attempt != state.attempt:
        return Decision(row, ignored="passed")
    cadence = sequence.cadence_of(row, cadences)
    if data.reason == "already_sent":  # another attempt of this step has left: that is what counts
        row, effects = sequence.sent(row, cadence, state, at=now, now=now)
    elif data.until is not None:
        by_law = data.reason == "quiet_hours"
        row, effects = sequence.again(row, cadence, state, until=data.until, now=now, by_law=by_law)
    else:
        row, effects = sequence.not_sent(row, cadence, state, now)
    return Decision(sequence.settled(row), effects)


def _failed(row: Row, data: TouchFailed, now: datetime, cadences: Cadences) -> Decision:
    state = _of(row, data)
    if not isinstance(state, StepState):
        return Decision(row, ignored=state)
    # A text that was sent may still fail at the carrier; nothing else that is over changes again.
    if state.status not in (StepStatus.DUE, StepStatus.SENT) or data.attempt != state.attempt:
        return Decision(row, ignored="passed")
    cadence = sequence.cadence_of(row, cadences)
    if data.retriable and data.attempt < MAX_FAILURES:
        row, effects = sequence.again(row, cadence, state, until=data.until or now + RETRY_AFTER, now=now)
    else:
        row, effects = sequence.not_sent(row, cadence, state, now)
    return Decision(sequence.settled(row), effects)


def _task_requested(row: Row, data: TouchTaskRequested, now: datetime, cadences: Cadences) -> Decision:
    state = _of(row, data)
    if not isinstance(state, StepState):
        return Decision(row, ignored=state)
    if data.kind != "text_not_sent" or state.status is not StepStatus.DUE or data.attempt != state.attempt:
        return Decision(row, ignored="passed")
    row, effects = sequence.not_sent(row, sequence.cadence_of(row, cadences), state, now)
    return Decision(sequence.settled(row), effects)


def _tick(row: Row, data: TimerDue, _now: datetime, cadences: Cadences) -> Decision:
    state = sequence.open_timer(row, data.step, data.timer_id)
    if state is None:
        return Decision(row, ignored="no_open_timer")
    row, effects = sequence.fire(row, sequence.cadence_of(row, cadences), state)
    return Decision(sequence.settled(row), effects)


START_RECOVERY = Rule(name="start_recovery", act=_missed_call, to=frozenset({Phase.RECOVERING}))
CALLBACK_ONLY = Rule(name="callback_only", act=_callback_only)
REFUSE_SEQUENCE = Rule(name="refuse_sequence", act=_refuse)
STOP_ON_REPLY = Rule(
    name="stop_on_reply", act=_stopping(Stop.REPLIED, Phase.CONVERSING), to=frozenset({Phase.CONVERSING})
)
HAND_OVER = Rule(
    name="hand_over", act=_stopping(Stop.HANDED_OVER, Phase.HANDED_OVER), to=frozenset({Phase.HANDED_OVER})
)
OPT_OUT = Rule(name="opt_out", act=_stopping(Stop.OPTED_OUT, Phase.STOPPED), to=frozenset({Phase.STOPPED}))
OPT_IN = Rule(name="opt_in", act=_opted_in, to=frozenset({Phase.IDLE}))
NURTURE = Rule(name="nurture", act=_attempted, to=frozenset({Phase.NURTURING}))
STOP_ON_CONTACT = Rule(name="stop_on_contact", act=_stopping(Stop.CONTACTED, Phase.IDLE), to=frozenset({Phase.IDLE}))
STOP_ON_CLOSING = Rule(name="stop_on_closing", act=_stopping(Stop.CLOSED, Phase.IDLE), to=frozenset({Phase.IDLE}))
TEXT_SENT = Rule(name="text_sent", act=_sent, ends_recovery=True)
TEXT_SUPPRESSED = Rule(name="text_suppressed", act=_suppressed, ends_recovery=True)
TEXT_FAILED = Rule(name="text_failed", act=_failed, ends_recovery=True)
TEXT_NOT_SENT = Rule(name="text_not_sent", act=_task_requested, ends_recovery=True)
STEP_DUE = Rule(name="step_due", act=_tick, ends_recovery=True)
NOTHING_TO_DO = ignored("nothing_to_do")
TEXTING_STOPPED = ignored("texting_stopped")
NOT_STOPPED = ignored("not_stopped")

_TABLE: Mapping[type[EventData], tuple[Rule, Rule, Rule, Rule, Rule, Rule]] = {
    # Nobody emits lead.qualified, lead.handed_over, lead.attempted and lead.closed yet: see NOT_EMITTED_YET.
    #                     idle             recovering       conversing       handed_over      nurturing        stopped
    LeadOpened:         (START_RECOVERY,  START_RECOVERY,  START_RECOVERY,  CALLBACK_ONLY,   START_RECOVERY,  REFUSE_SEQUENCE),
    LeadCalledAgain:    (START_RECOVERY,  START_RECOVERY,  START_RECOVERY,  CALLBACK_ONLY,   START_RECOVERY,  REFUSE_SEQUENCE),
    LeadAssigned:       (NOTHING_TO_DO,   NOTHING_TO_DO,   NOTHING_TO_DO,   NOTHING_TO_DO,   NOTHING_TO_DO,   NOTHING_TO_DO),
    LeadReplied:        (STOP_ON_REPLY,   STOP_ON_REPLY,   STOP_ON_REPLY,   NOTHING_TO_DO,   STOP_ON_REPLY,   TEXTING_STOPPED),
    LeadQualified:      (STOP_ON_REPLY,   STOP_ON_REPLY,   STOP_ON_REPLY,   NOTHING_TO_DO,   STOP_ON_REPLY,   TEXTING_STOPPED),
    LeadHandedOver:     (HAND_OVER,       HAND_OVER,       HAND_OVER,       HAND_OVER,       HAND_OVER,       TEXTING_STOPPED),
    LeadOptedOut:       (OPT_OUT,         OPT_OUT,         OPT_OUT,         OPT_OUT,         OPT_OUT,         OPT_OUT),
    LeadOptedIn:        (NOT_STOPPED,     NOT_STOPPED,     NOT_STOPPED,     NOT_STOPPED,     NOT_STOPPED,     OPT_IN),
    LeadAttempted:      (NURTURE,         NURTURE,         NURTURE,         NURTURE,         NURTURE,         TEXTING_STOPPED),
    LeadContacted:      (STOP_ON_CONTACT, STOP_ON_CONTACT, STOP_ON_CONTACT, STOP_ON_CONTACT, STOP_ON_CONTACT, TEXTING_STOPPED),
    LeadClosed:         (STOP_ON_CLOSING, STOP_ON_CLOSING, STOP_ON_CLOSING, STOP_ON_CLOSING, STOP_ON_CLOSING, TEXTING_STOPPED),
    TouchSent:          (TEXT_SENT,       TEXT_SENT,       TEXT_SENT,       TEXT_SENT,       TEXT_SENT,       TEXT_SENT),
    TouchDelivered:     (NOTHING_TO_DO,   NOTHING_TO_DO,   NOTHING_TO_DO,   NOTHING_TO_DO,   NOTHING_TO_DO,   NOTHING_TO_DO),
    TouchFailed:        (TEXT_FAILED,     TEXT_FAILED,     TEXT_FAILED,     TEXT_FAILED,     TEXT_FAILED,     TEXT_FAILED),
    TouchSuppressed:    (TEXT_SUPPRESSED, TEXT_SUPPRESSED, TEXT_SUPPRESSED, TEXT_SUPPRESSED, TEXT_SUPPRESSED, TEXT_SUPPRESSED),
    TouchTaskRequested: (TEXT_NOT_SENT,   TEXT_NOT_SENT,   TEXT_NOT_SENT,   TEXT_NOT_SENT,   TEXT_NOT_SENT,   TEXT_NOT_SENT),
    TimerDue:           (STEP_DUE,        STEP_DUE,        STEP_DUE,        STEP_DUE,        STEP_DUE,        TEXTING_STOPPED),
}  # fmt: skip

NOT_EMITTED_YET: frozenset[type[EventData]] = frozenset({LeadQualified, LeadHandedOver, LeadAttempted, LeadClosed})
"""Events that have a schema and rules, and that no service emits today."""

RULES: Mapping[tuple[Phase, type[EventData]], Rule] = {
    (phase, event): rule for event, row in _TABLE.items() for phase, rule in zip(Phase, row, strict=True)
}
"""Total over Phase x CallerEvent; a test proves it."""

CALLER_EVENTS: tuple[type[EventData], ...] = tuple(_TABLE)
