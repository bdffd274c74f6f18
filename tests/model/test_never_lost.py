"""Whatever crashes, repeats and orders there are: no step is lost, no text goes twice, every sequence ends.

The same machine, with one protection taken away, must find the loss: a model that cannot see a hole proves nothing.
"""

import json
import os
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from schemas.leads import LeadCalledAgain, LeadContacted, LeadEvent, LeadOpened, LeadReplied
from services.sequencer.domain.row import OPEN
from tests.model.invariants import wrong_in
from tests.model.notifier import ANSWERS, Answer, GateFixes
from tests.model.world import Fixes, World
from tests.unit.sequencer.build import CADENCES

EXAMPLES = int(os.environ.get("RINGBACK_MODEL_EXAMPLES", "400"))
"""Enough to notice what breaks often; ten times as many find what needs several things at once (tests/mutations)."""
WHOLE = 9
"""More effects than any text has."""
LONGEST = 20
"""More rounds than any sequence needs from wherever a test leaves it."""


class NeverLost(RuleBasedStateMachine):
    """One caller whose services crash between any two writes."""

    fixes = Fixes()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.fixes)

    @initialize()
    def a_call_is_missed(self) -> None:
        self.world.leads_says(LeadOpened)

    @rule(kind=st.sampled_from([LeadCalledAgain, LeadCalledAgain, LeadReplied, LeadContacted]))
    def leads_says(self, kind: type[LeadEvent]) -> None:
        self.world.leads_says(kind)

    @rule(stops=st.booleans(), read=st.booleans())
    def borrower_stops_or_starts(self, stops: bool, read: bool) -> None:
        self.world.borrower_says(stop=stops)
        if read:
            self.world.leads_reads()

    @rule()
    def leads_reads(self) -> None:
        self.world.leads_reads()

    @rule(
        nth=st.integers(0, 2),
        writes=st.sampled_from([1, 2, 6, 6]),
        which=st.integers(0, 3),
        then=st.sampled_from(["crash", "commit", "go on"]),
    )
    def sequencer_works(self, nth: int, writes: int, which: int, then: str) -> None:
        if topics := self.world.unread():
            self.world.take(topics[nth % len(topics)])
        for _ in range(writes):
            self.world.write(which)
        if then == "commit":
            self.world.commit()
        elif then == "crash":
            self.world.start()

    @rule(again=st.booleans())
    def a_committed_event_is_read_again(self, again: bool) -> None:
        """A commit is lost, as after a pause past the session."""
        if again and self.world.hand is None:
            for topic in self.world.finished:
                self.world.committed[topic] = max(0, self.world.committed[topic] - 1)
            self.world.start()

    @rule(
        answer=st.sampled_from(ANSWERS),
        effects=st.sampled_from([WHOLE, WHOLE, WHOLE, WHOLE, WHOLE, WHOLE, 1, 2, 3, 4, 5, 6]),
        dies=st.sampled_from([False, False, False, True]),
    )
    def notifier_works(self, answer: Answer, effects: int, dies: bool) -> None:
        self.world.accept()
        self.world.notifier.work(answer, effects)
        if dies:
            self.world.notifier.die()

    @rule(effects=st.sampled_from([1, 2, 3]), stops=st.booleans())
    def a_word_comes_while_a_text_is_on_its_way(self, effects: int, stops: bool) -> None:
        self.world.accept()
        self.world.notifier.work("accepted", effects)
        if stops:
            self.world.borrower_says(stop=True)
        else:
            self.world.leads_says(LeadContacted)
        self.world.notifier.work("accepted", WHOLE)

    @rule(nth=st.integers(0, 2))
    def receipt_comes(self, nth: int) -> None:
        self.world.notifier.receipt(nth)

    @rule()
    def notifier_settles_doubts(self) -> None:
        self.world.notifier.settle()

    @rule(commit=st.booleans(), mark=st.booleans())
    def timekeeper_works(self, commit: bool, mark: bool) -> None:
        self.world.keep_timers(commit=commit)
        self.world.fire(mark=mark)

    @rule(seconds=st.sampled_from([1, 31, 600, 3600, 86_400]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @invariant()
    def no_step_is_texted_twice(self) -> None:
        texts = self.world.texts()
        assert len(texts) == len(set(texts)), "two texts of one step"

    @invariant()
    def nothing_is_accepted_after_a_stop(self) -> None:
        """The gate is asked in the request's own hook, so no word that is in Kafka before the request is overlooked."""
        assert not any(one.after_stop for one in self.world.notifier.taken), "a text after a stop"

    @invariant()
    def no_answered_caller_is_texted(self) -> None:
        assert not any(one.after_contact for one in self.world.notifier.taken), "a text after a person had talked"

    @invariant()
    def row_is_sound(self) -> None:
        if self.world.row is not None:
            wrong = list(wrong_in(json.loads(self.world.row), CADENCES))
            assert not wrong, f"a row that cannot be: {wrong}"

    def teardown(self) -> None:
        """Let everything work in peace and time pass: nothing may be left that will never end."""
        for _ in range(LONGEST):
            while self.world.rest():
                pass
            self.world.now += timedelta(days=1)
        row = self.world.kept()
        assert row.sequence is not None, "no sequence for a missed call"
        stuck = [step.name for step in row.sequence.steps if step.status in OPEN]
        assert not stuck, f"steps that never end: {stuck}"
        told = self.world.told()
        steps = {(row.sequence_id, step.name) for step in CADENCES["missed-call"].steps if row.sequence.steps}
        assert steps <= told, f"steps that nobody told of: {sorted(step for _, step in steps - told)}"


def machine(**without: Any) -> type[NeverLost]:
    """Return the machine without some of the fixes."""
    return type("NeverLost", (NeverLost,), {"fixes": Fixes(**without)})


def run(fixes: type[NeverLost], examples: int) -> None:
    run_state_machine_as_test(
        fixes,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


def test_nothing_is_lost_doubled_or_left_open_whatever_crashes() -> None:
    run(machine(), EXAMPLES)


def test_rows_first_need_no_second_answer_from_the_notifier_or_the_timekeeper() -> None:
    """No consequence is read before its cause: so nobody has to say anything twice."""
    run(machine(answers_again=False), EXAMPLES)


@pytest.mark.parametrize(
    "without",
    [{"row_first": False, "answers_again": False}, {"effects_again": False}],
    ids=["a consequence is read before its cause", "a row is replaced before its effects were sent"],
)
def test_model_finds_the_loss_when_the_fix_is_taken_away(without: dict[str, bool]) -> None:
    """Without `row_first` alone nothing is lost here: who answers a repeated touch again makes good what was read too early.

    Each of the two is a protection by itself, so the loss shows only where both are gone.
    """
    with pytest.raises(AssertionError, match="steps that"):
        run(machine(**without), 4000)


@pytest.mark.parametrize(
    ("without", "found"),
    [
        ("tail", "after a stop"),
        ("last_look", "after a stop|had talked"),
        ("halt_seq", "had talked"),
    ],
)
def test_model_finds_the_text_when_what_stops_it_is_taken_away(without: str, found: str) -> None:
    with pytest.raises(AssertionError, match=found):
        run(machine(gate=GateFixes(**{without: False})), 4000)
