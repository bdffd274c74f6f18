"""The table is total, the diagram is drawn from it, and the domain stays pure."""

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
ALLOWED = {"schemas", "services.policy", "services.sequencer.domain", "services.sequencer.errors"}


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


@pytest.mark.parametrize("path", sorted((ROOT / "services/sequencer/domain").glob("*.py")), ids=lambda path: path.name)
def test_domain_imports_only_the_standard_library_schemas_and_policy(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            ours = name.split(".")[0] in {"services", "schemas", "deploy"}
            assert not ours or any(name == ok or name.startswith(ok + ".") for ok in ALLOWED), name
            assert ours or name.split(".")[0] in __import__("sys").stdlib_module_names, name
