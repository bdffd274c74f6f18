"""One word, one meaning: a public class name stands once in the services, or means the same wherever it stands."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

SAME_MEANING: Final = {
    "Connections": "a service's clients, opened and closed together",
    "Decision": "what a pure `decide` makes of one fact",
    "Documents": "a collection in memory: documents by their ids",
    "Shell": "the only caller of both domain and adapters of a service",
    "Webhook": "one request of a phone system: ingest takes it, the replayer sends it",
}
"""Names that two services give to the same thing. A new one belongs here only if it means exactly the same."""


def public_names(source: str) -> Iterator[str]:
    """Yield a module's public classes, and the capitalized names that stand for types (`Verdict = Open | Hold`)."""
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name):
                found = [name]
            case ast.Assign(targets=targets):
                found = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                found = [name]
            case _:
                found = []
        yield from (name for name in found if name[0].isupper() and not name.isupper())


def doubled(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Return each public name that more than one of the sources defines, with those that do."""
    where: defaultdict[str, list[str]] = defaultdict(list)
    for path, source in sorted(sources.items()):
        for name in dict.fromkeys(public_names(source)):
            where[name].append(path)
    return {name: paths for name, paths in where.items() if len(paths) > 1}


def services() -> dict[str, str]:
    """Return the source of every file of the services, by its path."""
    return {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "services").rglob("*.py")}


def test_two_types_of_one_name_are_told_with_their_files() -> None:
    sources = {
        "a.py": "class Row: ...\nclass _Private: ...\nLIMIT = 1\nlog = None",
        "b.py": "Row = int | str\nclass _Private: ...\nLIMIT = 1\nlog = None",
        "c.py": "class Column: ...",
    }
    assert doubled(sources) == {"Row": ["a.py", "b.py"]}


def test_no_two_types_of_one_name_mean_different_things() -> None:
    assert {name: files for name, files in doubled(services()).items() if name not in SAME_MEANING} == {}


def test_every_allowed_name_is_still_doubled() -> None:
    assert set(SAME_MEANING) - set(doubled(services())) == set(), "take it off the list"
