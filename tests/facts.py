"""`make facts`: each fact that is done (tests/facts.txt), the tests whose docstring cites it, and how they end.

    python -m tests.facts          the unit tests; the others are listed as not run
    python -m tests.facts --all    every level: needs what `make test` needs

Exits with 1 when a fact of the list has no passing test, or a failing one.
"""

import contextlib
import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import pytest

from tests.citations import ROOT, citing_tests, known_facts

LIST: Final = ROOT / "tests/facts.txt"
WIDTH: Final = 100
Test = tuple[str, str]


def done() -> list[str]:
    """Return the facts that are done, as listed."""
    lines = (line.partition("#")[0].strip() for line in LIST.read_text().splitlines())
    return [line for line in lines if line]


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Recorder:
    """A pytest plugin that keeps how each test function ended; of several cases, the worst."""

    results: dict[Test, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a result."""
        path, _, name = report.nodeid.partition("::")
        test = path, name.partition("[")[0]
        if report.failed:
            self.results[test] = "failed"
        elif report.skipped:
            self.results.setdefault(test, "skipped")
        elif report.when == "call" and self.results.get(test) != "failed":
            self.results[test] = "passed"


def run(tests: Iterable[Test]) -> dict[Test, str]:
    """Run tests; return how each ended. What pytest has to say is printed only when one fails."""
    recorder, said = Recorder(), io.StringIO()
    names = sorted({f"{path}::{name}" for path, name in tests})
    with contextlib.redirect_stdout(said):
        code = pytest.main([*names, "-q", "-p", "no:cacheprovider"], plugins=[recorder])
    if code != pytest.ExitCode.OK:
        print(said.getvalue())
    return recorder.results


def report(facts: Iterable[str], cited: dict[str, list[Test]], results: dict[Test, str]) -> list[str]:
    """Print every fact with its tests; return the facts that are not shown to hold."""
    unproved = []
    for fact in facts:
        words = known_facts().get(fact, "(no such fact)")
        print(f"{fact:4} {words if len(words) <= WIDTH else words[: WIDTH - 3] + '...'}")
        ended = [(results.get(test, "not run"), test) for test in cited.get(fact, ())]
        for result, (path, name) in ended:
            print(f"       {result:8} {path}::{name}")
        said = {result for result, _ in ended}
        if "passed" not in said or "failed" in said:
            print("       NOT PROVED")
            unproved.append(fact)
    return unproved


def main(arguments: list[str]) -> int:
    """Run, print, and return the exit code."""
    if arguments not in ([], ["--all"]):
        print("usage: python -m tests.facts [--all]", file=sys.stderr)
        return 2
    facts, cited = done(), citing_tests()
    wanted = {test for fact in facts for test in cited.get(fact, ()) if arguments or test[0].startswith("tests/unit/")}
    unproved = report(facts, cited, run(wanted) if wanted else {})
    print(f"\n{len(facts) - len(unproved)} of {len(facts)} facts are shown to hold; {len(known_facts())} facts in all")
    if unproved:
        print(f"not proved: {', '.join(unproved)}", file=sys.stderr)
    return 1 if unproved else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
