"""One word, one meaning: a class name stands once in the services, or means the same thing wherever it stands."""

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

SAME_MEANING: Final = {
    "Claim": "a document that one instance works on until its lease ends",
    "Connections": "a service's clients, opened and closed together",
    "Decision": "what a pure `decide` makes of one fact",
    "Shell": "the only caller of both domain and adapters of a service",
    "Webhook": "one request of a phone system: ingest takes it, the replayer sends it",
}
"""Names that two services give to the same thing. A new one belongs here only if it means exactly the same."""


def classes() -> dict[str, list[str]]:
    """Return the files that define a public class, by its name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "services").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    return found


def doubled() -> dict[str, list[str]]:
    return {name: files for name, files in classes().items() if len(files) > 1}


def test_no_two_classes_of_one_name_mean_different_things() -> None:
    assert {name: files for name, files in doubled().items() if name not in SAME_MEANING} == {}


def test_every_allowed_name_is_still_doubled() -> None:
    assert set(SAME_MEANING) - set(doubled()) == set(), "take it off the list"
