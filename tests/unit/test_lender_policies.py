"""What the lender's policies make of a missed call, through the code of leads, the sequencer and the notifier."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from schemas.base import EventData
from schemas.envelope import Event, decode
from schemas.touches import TimerDue, TimerSet, TouchDue, TouchResult, TouchSuppressed, TouchTaskRequested
from services.policy.directory import Policies, StatePolicy
from services.sequencer.adapters.cadences import load_cadences
from services.sequencer.domain.emit import events
from services.sequencer.domain.machine import decide
from services.sequencer.domain.row import EMPTY
from tests.unit.leads.events import InboundCall
from tests.unit.leads.events import text as borrower_text
from tests.unit.leads.rig import Rig as LeadsRig
from tests.unit.notifier.build import DIRECTORY
from tests.unit.notifier.rig import Rig as NotifierRig

CADENCES = load_cadences()
NIGHT_S = 11.5 * 3600
"""The tests' day begins on a Tuesday at noon in New York: this is 23:30."""
TALKS_S = 21.0


@dataclass
class Recovery:
    """One missed call of a New York number, worked on until nothing is left to do."""

    policies: Policies
    offset_s: float = 0.0
    leads: LeadsRig = field(init=False)
    results: list[TouchResult] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lender = DIRECTORY.model_copy(update={"policies": self.policies})
        self.leads = LeadsRig(lender=self.lender)

    async def run(self, *before: Event[EventData]) -> None:
        await self.leads.seed()
        self.leads.clock.virtual += timedelta(seconds=self.offset_s + TALKS_S)
        await self.leads.give(*before, *InboundCall(offset_s=self.offset_s).missed())
        notifier = NotifierRig(directory=self.lender)
        notifier.store.leads, notifier.store.officers = dict(self.leads.store.leads), dict(self.leads.store.officers_)
        todo = [decode(record.key, record.value, record.headers) for record in self.leads.producer.records]
        timers: list[Event[EventData]] = []
        row = EMPTY
        while todo or timers:
            told = todo.pop(0) if todo else timers.pop(0)
            if isinstance(told.data, TouchDue):
                notifier.clock.virtual = told.data.due_at
                await notifier.shell.on_touch(told, notifier)
                await notifier.shell.deliver(notifier.taken.pop())
                todo += notifier.producer.sent
                notifier.producer.sent.clear()
            elif isinstance(told.data, TimerSet):
                due = TimerDue(timer_id=told.data.timer_id, due_at=told.data.due_at, step=told.data.step)
                timers.append(told.caused(due.timer_id, due, "ringback/timekeeper", due.due_at))
                timers.sort(key=lambda timer: timer.time)
            else:
                if isinstance(told.data, TouchResult):
                    self.results.append(told.data)
                    await self.leads.give(told)
                decision = decide(row, told, CADENCES)
                row = decision.row
                todo += events(decision.effects, row, told)
        self.texts = [text.template for text, _, _ in notifier.provider.texts]

    def dropped(self) -> dict[str, str]:
        """Return step -> reason of every step that was held for good."""
        held = [one for one in self.results if isinstance(one, TouchSuppressed)]
        assert [one.until for one in held] == [None] * len(held)
        return {one.step: one.reason for one in held}

    def calls_asked_for(self) -> list[str]:
        return [one.step for one in self.results if isinstance(one, TouchTaskRequested)]


async def test_lender_without_policies_of_its_own_sends_both_texts_at_night_and_asks_for_the_morning_call() -> None:
    found = Recovery(Policies(), NIGHT_S)
    await found.run()
    assert found.texts == ["missed_call_first", "missed_call_second"]
    assert (found.dropped(), found.calls_asked_for()) == ({}, ["call-morning"])


async def test_no_text_after_hours_drops_both_texts_of_a_night_call_and_keeps_the_morning_call() -> None:
    found = Recovery(Policies(after_hours_text=False), NIGHT_S)
    await found.run()
    assert found.texts == []
    assert found.dropped() == {"text-now": "after_hours_policy", "text-10min": "first_text_missing"}
    assert found.calls_asked_for() == ["call-morning"]
    task = found.leads.lead()["task"]
    assert task["due_at"] == datetime(2026, 3, 4, 13, 30, tzinfo=UTC), "Wednesday 8:30 in New York, and not at once"
    assert task["reasons"][0] == "missed_call"


async def test_no_text_after_hours_changes_nothing_about_a_call_at_noon() -> None:
    found = Recovery(Policies(after_hours_text=False))
    await found.run()
    assert found.texts == ["missed_call_first", "missed_call_second"]


async def test_second_text_that_needs_consent_is_dropped_with_its_reason_and_the_morning_call_stays() -> None:
    found = Recovery(Policies(second_text_needs_consent=True))
    await found.run()
    assert found.texts == ["missed_call_first"]
    assert (found.dropped(), found.calls_asked_for()) == ({"text-10min": "consent_needed"}, ["call-morning"])


async def test_borrower_who_texted_before_the_call_has_consented_to_the_second_text() -> None:
    found = Recovery(Policies(second_text_needs_consent=True))
    await found.run(borrower_text("Are you open on Monday?", "SM1", -400))
    assert found.texts == ["missed_call_first", "missed_call_second"]


@pytest.mark.parametrize(("state", "texts"), [("NY", ["missed_call_first", "missed_call_second"]), ("FL", [])])
async def test_rule_of_the_callers_state_overrides_the_lenders(state: str, texts: list[str]) -> None:
    own = StatePolicy(after_hours_text=True, second_text_needs_consent=False)
    found = Recovery(Policies(after_hours_text=False, second_text_needs_consent=True, states={state: own}), NIGHT_S)
    await found.run()
    assert found.texts == texts
