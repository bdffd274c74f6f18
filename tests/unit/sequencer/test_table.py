"""The table is total, its names are its rules', and the diagram is drawn from it."""

import ast
from pathlib import Path
from typing import get_args

import pytest

from schemas.base import EventData
from schemas.leads import LEAD_EVENTS
from schemas.touches import TimerDue, TouchResult
from services.sequencer import diagram
from services.sequencer.domain import transitions
from services.sequencer.domain.row import Phase

ROOT = Path(__file__).parents[3]


def test_table_is_total_over_phase_and_event() -> None:
    assert set(transitions.RULES) == {(phase, event) for phase in Phase for event in transitions.CALLER_EVENTS}


def test_every_event_that_reaches_a_caller_is_in_the_table() -> None:
    results = set(TouchResult.__subclasses__())
    assert set(transitions.CALLER_EVENTS) == {*LEAD_EVENTS, *results, TimerDue}


@pytest.mark.parametrize("event", transitions.CALLER_EVENTS, ids=lambda event: event.TYPE)
def test_pair_that_may_not_happen_says_why(event: type[EventData]) -> None:
    for phase in Phase:
        rule = transitions.RULES[phase, event]
        assert rule.ignores is None or rule.ignores in get_args(transitions.Ignored)


def test_diagram_in_the_docs_is_the_table() -> None:
    assert diagram.PAGE.read_text() == diagram.page(), "run `python -m services.sequencer.diagram`"


def test_rule_has_the_name_of_its_constant() -> None:
    named = {name: rule for name, rule in vars(transitions).items() if isinstance(rule, transitions.Rule)}
    assert set(transitions.RULES.values()) <= set(named.values())
    assert {name: rule.name for name, rule in named.items()} == {name: name.lower() for name in named}


def test_leads_events_that_nothing_emits_yet_are_those_that_the_table_says() -> None:
    """An event's rows are the specification; whoever reads them must know which of them are not in use."""
    code = list((ROOT / "services/leads").rglob("*.py"))
    used = {node.id for path in code for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert {event for event in LEAD_EVENTS if event.__name__ not in used} == transitions.NOT_EMITTED_YET
    assert {f"`{event.TYPE}` (1)" in diagram.page() for event in transitions.NOT_EMITTED_YET} == {True}
