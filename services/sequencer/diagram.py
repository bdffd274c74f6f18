"""Draws docs/sequencer.md from the table: `python -m services.sequencer.diagram`; a test says when it is stale."""

from pathlib import Path

from services.sequencer.domain.row import Phase
from services.sequencer.domain.transitions import CALLER_EVENTS, RULES

PAGE = Path(__file__).parents[2] / "docs" / "sequencer.md"

HEAD = """# The sequencer's state machine

Drawn from `services/sequencer/domain/transitions.py` by `python -m services.sequencer.diagram`. Do not edit.

One row per caller. Before the table is asked, every event of a lead sets the row's `lead_seq`, and its `texting` beats
the row: `stopped` drops every open step and moves the caller to *stopped* whatever the phase, anything else lifts
*stopped*. An arrow is a phase that the rule may lead to; a caller leaves *recovering* by itself once no step is open.
"""


def page() -> str:
    """Return the page as it should be."""
    return f"{HEAD}\n```mermaid\n{_mermaid()}\n```\n\n## The whole table\n\n{_table()}\n"


def _mermaid() -> str:
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, _), rule in RULES.items():
        for to in Phase:
            # A result or tick ends a sequence only where one runs.
            ends = to is Phase.IDLE and rule.name in ENDING and phase is not Phase.RECOVERING
            if to in rule.to and to is not phase and not ends and rule.name not in arrows.get((phase, to), []):
                arrows.setdefault((phase, to), []).append(rule.name)
    lines = [f"    {a} --> {b}: {', '.join(sorted(names))}" for (a, b), names in sorted(arrows.items())]
    return "\n".join(["stateDiagram-v2", "    direction LR", "    [*] --> idle", *lines])


ENDING = {"text_sent", "text_suppressed", "text_failed", "text_not_sent", "step_due"}
"""Rules that leave *recovering* when they close the last open step, and change no other phase."""


def _table() -> str:
    rows = [["event", *(phase.value for phase in Phase)], ["---"] * (len(Phase) + 1)]
    for event in CALLER_EVENTS:
        cells = [RULES[phase, event] for phase in Phase]
        rows.append([f"`{event.TYPE}`", *(f"*{rule.name}*" if rule.ignores else rule.name for rule in cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n\nIn italics: nothing happens, and why."


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    print(f"wrote {PAGE.name}")
