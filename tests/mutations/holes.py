"""The holes of docs/reliability.md, and whether a mutant takes the protection of each away."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.mutations.catalog import ROOT, TABLES, Mutant

PAGE: Final = ROOT / "docs/reliability.md"
WITHOUT: Final = TABLES / "without" / "holes.toml"
"""Holes that no mutant stands for, each with the reason."""
_QUOTED: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Hole:
    """A row of the first table: what can go wrong, and the tests that show that it does not."""

    name: str
    tests: tuple[str, ...]


def read_holes(page: str) -> list[Hole]:
    """Return the rows of the table whose head begins with `hole`."""
    found: list[Hole] = []
    inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == "hole":
            inside = True
        elif inside and not line.startswith("|---"):
            found.append(Hole(cells[0], tuple(_QUOTED.findall(cells[-1]))))
    return found


def reasons() -> dict[str, str]:
    """Return why some holes have no mutant, by how their names begin."""
    return {entry["hole"]: entry["why"] for entry in tomllib.loads(WITHOUT.read_text())["without"]}


def has_mutant(hole: Hole, mutants: Sequence[Mutant]) -> bool:
    """Say whether a test that shows the hole closed is one that some mutant must turn red."""
    tests = [test for mutant in mutants for test in mutant.tests]
    return any(
        test.startswith(named) if "/" in named else test.partition("::")[2].partition("[")[0] == named
        for named in hole.tests
        for test in tests
    )
