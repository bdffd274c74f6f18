"""The tables of mutants: one protection taken away each, by replacing a text that stands exactly once in its file."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).resolve().parents[2]
TABLES: Final = Path(__file__).parent

Level = Literal["unit", "all"]

STARTS_NOTHING: Final = ("tests/unit/", "tests/contract/test_twilio_")
"""Tests under these need neither Kafka nor MongoDB, and take seconds."""


class BrokenMutant(ValueError):
    """A mutant that says nothing: its text is not there exactly once, or its table is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One protection taken away.

    Attributes:
        id: its hole in docs/reliability.md or the part that protects, and a name.
        file: what is changed, from the root.
        old: stands exactly once in the file.
        new: what stands there without the protection.
        why: what goes wrong then.
        tests: pytest's names of the tests of which at least one must turn red.
        tries: how often they are run before it counts as survived; more than once where what goes wrong is a race.
    """

    id: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...] = ()
    tries: int = 1

    @property
    def part(self) -> str:
        """The part of the system whose file is changed."""
        folder, name = self.file.split("/")[:2]
        return name if folder == "services" else folder

    @property
    def level(self) -> Level:
        """`unit` where no test of it starts anything."""
        return "unit" if all(test.startswith(STARTS_NOTHING) for test in self.tests) else "all"

    def applied(self, source: str) -> str:
        """Return the source without the protection.

        Raises:
            BrokenMutant: the text does not stand there exactly once.
        """
        if self.old == self.new:
            raise BrokenMutant(f"{self.id}: changes nothing")
        if (times := source.count(self.old)) != 1:
            raise BrokenMutant(f"{self.id}: its text stands {times} times in {self.file}, not once")
        return source.replace(self.old, self.new)

    def drifted(self, root: Path = ROOT) -> str | None:
        """Return why it does not fit the tree; None when it does."""
        try:
            self.applied((root / self.file).read_text())
        except (BrokenMutant, OSError) as error:
            return str(error)
        return None


def read_tables(folder: Path = TABLES) -> list[Mutant]:
    """Return the mutants of every table, in the order of the files.

    Raises:
        BrokenMutant: a table has something wrong in it; says which.
    """
    found: list[Mutant] = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["mutant"]:
            found.append(_mutant(path.name, entry))
    return found


def _mutant(table: str, entry: Mapping[str, object]) -> Mutant:
    texts = {name: entry.get(name) for name in ("id", "file", "old", "new", "why")}
    tests, tries = entry.get("tests", []), entry.get("tries", 1)
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(tests, list):
        raise BrokenMutant(f"{table}: {entry.get('id')}: needs id, file, old, new and why as texts, tests as a list")
    if not isinstance(tries, int) or (unknown := entry.keys() - {*texts, "tests", "tries"}):
        raise BrokenMutant(f"{table}: {entry.get('id')}: unknown {sorted(unknown)}, or tries is no number")
    return Mutant(**{name: str(text) for name, text in texts.items()}, tests=tuple(map(str, tests)), tries=tries)


def chosen(mutants: Iterable[Mutant], *, level: Level, only: Sequence[str] = ()) -> list[Mutant]:
    """Return the mutants of a level whose ids begin with one of `only`; named ones of any level."""
    if only:
        return [mutant for mutant in mutants if mutant.id.startswith(tuple(only))]
    return [mutant for mutant in mutants if level == "all" or mutant.level == "unit"]
