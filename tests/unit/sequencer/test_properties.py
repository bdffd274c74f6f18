"""What must hold for a caller whatever happens in whatever order, duplicates included."""

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from schemas.base import EventData
from schemas.envelope import Event
from schemas.leads import (
    LEAD_EVENTS,
    LeadCalledAgain,
    LeadEvent,
    LeadOpened,
    LeadOptedIn,
    LeadOptedOut,
)
from schemas.touches import (
    TimerDue,
    TimerSet,
    TouchDue,
    TouchFailed,
    TouchRef,
    TouchResult,
    TouchSent,
    TouchSuppressed,
    TouchTaskRequested,
)
from services.sequencer.domain import emit
from services.sequencer.domain.machine import SOURCE, decide
from services.sequencer.domain.row import EMPTY, Phase, Row, StepStatus
from services.sequencer.domain.row_json import dump, load
from services.sequencer.domain.transitions import RULES
from tests.unit.sequencer.build import CADENCES, T0, envelope, lead

SPOKEN = [kind for kind in LEAD_EVENTS if kind not in (LeadOpened, LeadCalledAgain, LeadOptedOut, LeadOptedIn)]

ORDER: dict[type[TouchResult], int] = {TouchTaskRequested: 0, TouchSent: 1, TouchFailed: 2, TouchSuppressed: 2}
"""What the notifier may say of one touch, each once and never going back: in doubt, sent after all, refused by the carrier."""


class Caller(RuleBasedStateMachine):
    """One caller, with a leads service, a notifier and a timekeeper that do whatever they may."""

    def __init__(self) -> None:
        super().__init__()
        self.row: Row = EMPTY
        self.now: datetime = T0
        self.seq = 0
        self.stopped = False
        self.past: list[Event[EventData]] = []
        self.emitted: dict[str, Event[EventData]] = {}
        self.touches: list[TouchDue] = []
        self.timers: list[TimerSet] = []
        self.again: set[tuple[str, str, int]] = set()
        self.answered: dict[str, int] = {}
        self.days: Counter[Any] = Counter()

    # -- what the world does --

    @initialize(minutes=st.integers(0, 60 * 24))
    def _begin(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self._lead(LeadOpened)

    @rule(minutes=st.sampled_from([0, 1, 10, 60, 600, 24 * 60, 15 * 24 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(kind=st.sampled_from([LeadOpened, LeadCalledAgain]))
    def calls(self, kind: type[LeadEvent]) -> None:
        self._lead(kind)

    @rule(kind=st.sampled_from(SPOKEN))
    def lead_says(self, kind: type[LeadEvent]) -> None:
        self._lead(kind)

    @rule()
    def opts_out(self) -> None:
        self.stopped = True
        self._lead(LeadOptedOut)

    @rule()
    def opts_in(self) -> None:
        self.stopped = False
        self._lead(LeadOptedIn)

    @rule(data=st.data(), kind=st.sampled_from([TouchSent, TouchFailed, TouchSuppressed, TouchTaskRequested]))
    def notifier_answers(self, data: st.DataObject, kind: type[TouchResult]) -> None:
        if not self.touches:
            return
        touch = data.draw(st.sampled_from(self.touches))
        if ORDER[kind] <= self.answered.get(touch.touch_id, -1) or (
            kind is TouchSuppressed and touch.touch_id in self.answered
        ):
            return
        self.answered[touch.touch_id] = ORDER[kind]
        back = data.draw(st.booleans())
        until = self.now + timedelta(seconds=data.draw(st.sampled_from([0, 30, 3600]))) if back else None
        known = touch.model_dump(include=set(TouchRef.model_fields))
        more: dict[type[TouchResult], dict[str, Any]] = {
            TouchSent: {
                "sid": "SM1",
                "body": "hi",
                "template": "t",
                "template_version": 1,
                "variant": "free",
                "sent_at": self.now,
                "from_number": "+12125550100",
            },
            TouchFailed: {"retriable": back, "until": until},
            TouchSuppressed: {"reason": data.draw(st.sampled_from(["reply_in_flight", "expired"])), "until": until},
            TouchTaskRequested: {"kind": "text_not_sent", "due_at": self.now, "reason": "unknown"},
        }
        if back and kind in (TouchFailed, TouchSuppressed):
            self.again.add((touch.sequence_id, touch.step, touch.attempt))
        made = kind.model_validate({**known, **more[kind]})
        self._take(envelope(made, f"{touch.touch_id}:{kind.TYPE}", self.now, "notifier"))

    @rule(data=st.data())
    def timer_fires(self, data: st.DataObject) -> None:
        if self.timers:
            timer = data.draw(st.sampled_from(self.timers))
            self.now = max(self.now, timer.due_at)
            due = TimerDue(timer_id=timer.timer_id, due_at=timer.due_at, step=timer.step)
            self._take(envelope(due, timer.timer_id, timer.due_at, "timekeeper"))

    @rule(data=st.data())
    def an_event_comes_again(self, data: st.DataObject) -> None:
        known = set(self.emitted)
        self._take(data.draw(st.sampled_from(self.past)), again=True)
        assert set(self.emitted) == known, "replaying an event added an effect"

    @rule()
    def own_results_are_read(self) -> None:
        for event in [event for event in self.emitted.values() if event.topic == "touch-results"]:
            assert decide(self.row, event, CADENCES).effects == ()

    # -- what must hold --

    def _lead(self, kind: type[LeadEvent]) -> None:
        self.seq += 1
        self._take(lead(kind, self.seq, self.now, "stopped" if self.stopped else "open"))

    def _take(self, event: Event[EventData], *, again: bool = False) -> None:
        before = self.row
        decision = decide(self.row, event, CADENCES)
        for made in emit.events(decision.effects, decision.row, event):
            self._check(made)
        if not again:
            self.past.append(event)
        self.row = decision.row
        reached = {
            phase for start in (before.phase, Phase.STOPPED, Phase.IDLE) for phase in RULES[start, type(event.data)].to
        }
        assert self.row.phase in {before.phase, Phase.STOPPED, Phase.IDLE, *reached}

    def _check(self, made: Event[EventData]) -> None:
        assert made.source == SOURCE
        first = self.emitted.get(made.id)
        if first is not None:
            assert made == envelope(first.data, first.id, first.time, SOURCE), "the same id with another content"
            return
        self.emitted[made.id] = made
        data = made.data
        if isinstance(data, TimerSet):
            self.timers.append(data)
        if not isinstance(data, TouchDue):
            return
        assert not self.stopped, "a text after an opt-out"
        assert data.expires_at >= data.due_at  # equal: a hold that ends no sooner than the expiry
        if data.attempt > 1:
            assert (data.sequence_id, data.step, data.attempt - 1) in self.again, "two touches of one step"
        self.days[data.sequence_id, data.step, data.attempt] += 1
        assert self.days[data.sequence_id, data.step, data.attempt] == 1
        self.touches.append(data)

    @invariant()
    def row_survives_its_codec_and_stays_small(self) -> None:
        raw = json.dumps(dump(self.row), separators=(",", ":")).encode()
        assert load(json.loads(raw)) == self.row
        assert len(raw) <= 1024

    @invariant()
    def stopped_row_has_nothing_open_but_what_the_notifier_holds(self) -> None:
        if self.row.phase is Phase.STOPPED and self.row.sequence is not None:
            open_here = {StepStatus.WAITING, StepStatus.TIMED}
            assert not open_here & {step.status for step in self.row.sequence.steps}


TestCaller = Caller.TestCase
TestCaller.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
