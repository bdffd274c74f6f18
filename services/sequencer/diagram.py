"""Draws docs/sequencer.md from the table: `python -m services.sequencer.diagram`; a test says when it is stale."""

from pathlib import Path

from services.sequencer.domain.row import Phase
from services.sequencer.domain.transitions import CALLER_EVENTS, NOT_EMITTED_YET, RULES

PAGE = Path(__file__).parents[2] / "docs" / "sequencer.md"

HEAD = """# The sequencer's state machine

Drawn from `services/sequencer/domain/transitions.py` by `python -m services.sequencer.diagram`. Do not edit.

One row for each caller. Before the table is asked, every event of a lead sets the row's `lead_seq`, and its `texting`
overrides the row: `stopped` drops every open step and moves the caller to *stopped* from any phase; any other value ends
*stopped*. An arrow is a phase that the rule may lead to; a caller leaves *recovering* as soon as no step is open.
"""


def page() -> str:
    """Return the page as it should be."""
    return f"{HEAD}\n```mermaid\n{_mermaid()}\n```\n\n## The whole table\n\n{_table()}\n"


def _mermaid() -> str:
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, _), rule in RULES.items():
        ends = {Phase.IDLE} if rule.ends_recovery and phase is Phase.RECOVERING else set()
        for to in (rule.to | ends) - {phase}:
            if rule.name not in arrows.setdefault((phase, to), []):
                arrows[phase, to].append(rule.name)
    lines = [f"    {a} --> {b}: {', '.join(sorted(names))}" for (a, b), names in sorted(arrows.items())]
    return "\n".join(["stateDiagram-v2", "    direction LR", "    [*] --> idle", *lines])


def _table() -> str:
    rows = [["event", *(phase.value for phase in Phase)], ["---"] * (len(Phase) + 1)]
    for event in CALLER_EVENTS:
        cells = [RULES[phase, event] for phase in Phase]
        name = f"`{event.TYPE}`" + (" (1)" if event in NOT_EMITTED_YET else "")
        rows.append([name, *(f"*{rule.name}*" if rule.ignores else rule.name for rule in cells)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\nIn italics: nothing happens, and why. (1): no service emits this event yet."


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    print(f"wrote {PAGE.name}")
