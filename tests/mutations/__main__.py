"""`python -m tests.mutations`: takes each protection away in a copy of the tree, and expects a test to turn red.

Exits with 1 when a mutant survives, does not run, or has drifted from the code, or when a test is red without any.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, get_args

from tests.mutations.catalog import ROOT, Level, Mutant, chosen, read_tables
from tests.mutations.run import SLOW_TEST_LIMIT_S, TEST_LIMIT_S, Outcome, run_all, trees

PAGE: Final = ROOT / "docs/mutations.md"
HEAD: Final = """# Each protection taken away

{count} mutants: each takes one protection of [reliability.md](reliability.md) or [design.md](design.md) away, and the test
beside it turns red. `make mutants` runs those that need neither Kafka nor MongoDB, `make mutants ARGS="--level all"` the
other {slow} too. This page is written by `python -m tests.mutations --page` from the tables in `tests/mutations`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments say; return the exit code."""
    args = _arguments().parse_args(argv)
    mutants = chosen(read_tables(), level=args.level, only=args.only)
    if not mutants:
        print("no mutant has such an id")
        return 1
    if args.list:
        print(table(mutants))
        return 0
    if args.page:
        PAGE.write_text(page(read_tables()))
        return 0
    drifted = [why for mutant in mutants if (why := mutant.drifted())]
    print(*drifted, sep="\n", end="\n" if drifted else "")
    began = time.monotonic()
    with trees(min(args.jobs, len(mutants))) as copies:
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        print(f"{len(tests)} tests without any mutant", flush=True)
        slow = any(mutant.level == "all" for mutant in mutants)
        before = copies[0].run(tests, limit_s=SLOW_TEST_LIMIT_S if slow else TEST_LIMIT_S, first_only=False)
        if before.no_result or before.reds:
            print(before.no_result, *(f"red without any mutant: {red.test}" for red in before.reds), sep="\n")
            return 1
        print(f"{before.passed} green after {time.monotonic() - began:.0f} s", flush=True)
        said = 0

        def say(outcome: Outcome) -> None:
            nonlocal said
            said += 1
            at = f"{time.monotonic() - began:4.0f} s {said:3}/{len(mutants)}"
            print(
                f"{at} {outcome.verdict:8} {outcome.id:34} {outcome.test.rpartition('::')[2] or outcome.how}",
                flush=True,
            )

        outcomes = run_all(mutants, copies, say)
    if args.json:
        args.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    bad = [outcome for outcome in outcomes if outcome.verdict != "killed"]
    print(f"\n{len(outcomes) - len(bad)} of {len(outcomes)} killed in {time.monotonic() - began:.0f} s")
    wrong = {mutant.id: mutant.why for mutant in mutants}
    for outcome in bad:
        print(f"{outcome.verdict}: {outcome.id} ({wrong[outcome.id]}): {outcome.how}")
    return 1 if bad or drifted else 0


def _arguments() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    found.add_argument("--level", choices=get_args(Level), default="unit", help="unit: needs no Kafka and no MongoDB")
    found.add_argument("--only", action="append", default=[], metavar="ID", help="ids that begin so, of any level")
    found.add_argument("--jobs", type=int, default=2, help="so many side by side")
    found.add_argument("--json", type=Path, help="write the outcomes here too")
    found.add_argument("--page", action="store_true", help="write docs/mutations.md and run nothing")
    found.add_argument("--list", action="store_true", help="print the table and run nothing")
    return found


def table(mutants: Sequence[Mutant]) -> str:
    """Return mutants as a table in Markdown."""
    lines = ["| mutant | what goes wrong without the protection | a test that turns red |", "|---|---|---|"]
    lines += [f"| {one.id} | {one.why} | {_named(one)} |" for one in mutants]
    return "\n".join(lines)


def _named(mutant: Mutant) -> str:
    """Return the first test of a mutant, without its folder."""
    return f"`{mutant.tests[0].rpartition('::')[2]}`" if mutant.tests else ""


def page(mutants: Sequence[Mutant]) -> str:
    """Return docs/mutations.md: the mutants of each part, each part a table."""
    parts = [HEAD.format(count=len(mutants), slow=sum(one.level == "all" for one in mutants))]
    for part in sorted({one.part for one in mutants}):
        parts += [f"## {part}", table([one for one in mutants if one.part == part])]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
