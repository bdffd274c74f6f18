"""`make chaos-full`: everything that takes long, part by part; a table for docs/reliability.md; exit 1 when a part failed.

A part that fails stops no other. What is done is kept with its commit, so that `--resume` goes on where a run ended.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.local.kafka import DEFAULT_STATE
from services.runtime.clock import monotonic_s
from tests.chaos.system.calibrate import machine

KEPT: Final = DEFAULT_STATE / "chaos-full"
PAGE: Final = Path("docs/reliability.md")
BEGIN: Final = "<!-- chaos-full: begin; written by `make chaos-full` -->"
END: Final = "<!-- chaos-full: end -->"
SEEDS: Final = tuple(range(1, 11))
FAULTS: Final = ("--provider-faults", "0.2")
HEADS: Final = ("run", "calls/s", "faults / kills", "calls", "texts", "missed callers texted")
CHECKS: Final[Mapping[str, Sequence[str]]] = {
    "lost": ("call lost", "borrower's text lost", "caller lost", "record lost", "doubt without a task"),
    "twice": ("sent twice", "two leads of a caller"),
    "late after STOP": ("late after a stop",),
    "answered, texted": ("answered caller texted",),
}
"""More columns of the table, and the checks that each counts; all others are counted together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One command of the whole.

    Attributes:
        group: what `--only` names.
        name: in the table.
        command: after `python`.
        limit_s: longest run.
        env: beside ours.
    """

    group: str
    name: str
    command: tuple[str, ...]
    limit_s: float
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_system(self) -> bool:
        """Whether it is a run of the system, with an outcome of its own."""
        return "tests.chaos.system" in self.command


def parts() -> list[Part]:
    """Return everything, in the order in which it runs."""
    system = ("-m", "tests.chaos.system")
    found = [
        Part(
            group="seeds",
            name=f"seed {seed}, 3 min",
            command=(*system, "--seed", str(seed), "--minutes", "3", *FAULTS),
            limit_s=1200,
        )
        for seed in SEEDS
    ]
    found.append(
        Part(
            group="long",
            name="seed 11, 10 min, at least 30 kills",
            command=(*system, "--seed", "11", "--minutes", "10", "--min-kills", "30", *FAULTS),
            limit_s=1800,
        )
    )
    for scene, what in (("kafka-down", "Kafka stopped for 5 min"), ("mongo-down", "mongod stopped for 2 min")):
        found.append(Part(group=scene, name=what, command=(*system, "--scene", scene, "--seed", "12"), limit_s=1500))
    found.append(
        Part(
            group="fence",
            name="the fence alone, 60 rounds; a partition without a leader for a minute",
            command=(
                "-m",
                "pytest",
                "tests/chaos/fence",
                "tests/integration/sequencer/test_without_leader.py",
                "--chaos-full",
                "-q",
            ),
            limit_s=3600,
            env={"RINGBACK_CHAOS_ROUNDS": "60", "RINGBACK_LEADERLESS_S": "60"},
        )
    )
    if importlib.util.find_spec("tests.mutations") is not None:
        found.append(
            Part(
                group="mutants",
                name="each fix taken away",
                command=("-m", "tests.mutations", "--level", "all"),
                limit_s=7200,
            )
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a part came to; `outcome` is a system run's own."""

    name: str
    group: str
    commit: str
    code: int
    took_s: float
    outcome: Mapping[str, Any] | None = None


def run(part: Part, commit: str) -> Result:
    """Run one part; its output goes to a log beside its result."""
    slug = "".join(x if x.isalnum() else "-" for x in part.name)
    log, told = KEPT / f"{slug}.log", KEPT / f"{slug}.outcome.json"
    told.unlink(missing_ok=True)
    extra = ("--json", str(told), "--folder", str(KEPT / slug)) if part.is_system else ()
    began = monotonic_s()
    with log.open("wb") as out:
        try:
            code = subprocess.run(
                [sys.executable, *part.command, *extra],
                stdout=out,
                stderr=out,
                timeout=part.limit_s,
                env={**os.environ, **part.env},
            ).returncode
        except subprocess.TimeoutExpired:
            code = 124
    outcome = json.loads(told.read_text())[0] if told.exists() else None
    return Result(
        name=part.name,
        group=part.group,
        commit=commit,
        code=code,
        took_s=round(monotonic_s() - began),
        outcome=outcome,
    )


def row(result: Result) -> str:
    """Return a part's line of the table."""
    verdict = "clean" if result.code == 0 else f"**failed** ({result.code})"
    found = result.outcome
    if found is None:
        return f"| {result.name} | | | | | {'| ' * (len(CHECKS) + 1)}| {result.took_s:.0f} | {verdict} |"
    counts, breaches = found["counts"], [breach["check"] for breach in found["breaches"]]
    named = {check for checks in CHECKS.values() for check in checks}
    cells = [
        result.name,
        f"{found['rate']:g}",
        f"{len(found['faults'])} / {found['kills']}",
        counts["calls acknowledged"],
        counts["texts accepted"],
        f"{counts['of these texted, in percent']} %",
        *(sum(breach in checks for breach in breaches) for checks in CHECKS.values()),
        sum(breach not in named for breach in breaches),
        f"{result.took_s:.0f}",
        verdict,
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def table(results: Sequence[Result]) -> str:
    """Return the table as Markdown, with the command and the machine."""
    commits = sorted({result.commit for result in results})
    heads = [*HEADS, *CHECKS, "other breaches", "s", ""]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *(row(result) for result in results)]
    return "\n".join([f"`make chaos-full` on {machine()}; commit {', '.join(commits)}.", "", *lines])


def written(page: str, block: str) -> str:
    """Return a page with the table in its marked block; the block is appended where there is none."""
    if BEGIN not in page:
        return f"{page.rstrip()}\n\n{BEGIN}\n{block}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.partition(END)[2]}"


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], capture_output=True, text=True, check=True).stdout.strip()


def _kept() -> dict[str, Result]:
    try:
        return {name: Result(**found) for name, found in json.loads((KEPT / "results.json").read_text()).items()}
    except (OSError, ValueError, TypeError):
        return {}


def main(argv: list[str] | None = None) -> int:
    """Run every part that is asked for; return the exit code."""
    everything = parts()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.full", description=__doc__)
    groups = list(dict.fromkeys(part.group for part in everything))
    parser.add_argument("--only", action="append", choices=groups, help="repeatable")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many of the seeds")
    parser.add_argument("--resume", action="store_true", help="leave out what is clean on this commit already")
    given = parser.parse_args(argv)
    KEPT.mkdir(parents=True, exist_ok=True)
    commit, known = _git("rev-parse", "--short", "HEAD"), _kept()
    results: dict[str, Result] = {}
    for part in everything:
        if given.only and part.group not in given.only:
            continue
        if part.group == "seeds" and int(part.command[3]) > given.seeds:
            continue
        before = known.get(part.name)
        if given.resume and before is not None and before.commit == commit and before.code == 0:
            results[part.name] = before
            continue
        print(f"{part.name} ...", end=" ", flush=True)
        results[part.name] = done = run(part, commit)
        print(
            "clean" if done.code == 0 else f"FAILED with {done.code}; see {KEPT}", f"({done.took_s:.0f} s)", flush=True
        )
        known[part.name] = done
        (KEPT / "results.json").write_text(json.dumps({name: asdict(one) for name, one in known.items()}, indent=2))
    shown = [known[part.name] for part in everything if part.name in known and known[part.name].commit == commit]
    print(block := table(shown))
    PAGE.write_text(written(PAGE.read_text(), block))
    return 1 if any(result.code for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
