"""`python -m tests.chaos.system`: one seeded run, or several; exit 1 on any breach."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.system.run import Outcome, Plan, run


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.system", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="repeatable; default 1")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="of load; the end of a run takes about as long again"
    )
    parser.add_argument("--rate", type=float, default=5.0, help="calls a second")
    parser.add_argument("--instances", type=int, default=1, help="of each service")
    parser.add_argument("--every", type=float, default=6.0, help="mean seconds between two faults")
    parser.add_argument("--provider-faults", type=float, default=0.0, help="share of sends that fail in some way")
    parser.add_argument(
        "--no-faults", action="store_true", help="load alone: what the checker says must then be nothing"
    )
    parser.add_argument("--folder", type=Path, help="keep logs and outcome.json here; default: a temporary one")
    parser.add_argument("--json", type=Path, help="write every outcome into this file too")
    return parser.parse_args(argv)


def show(outcome: Outcome, console: Console) -> None:
    """Print one outcome."""
    table = Table(title=f"seed {outcome.plan.seed}: {outcome.took_s:.0f} s", show_header=False)
    for name, count in outcome.report.counts.items():
        table.add_row(name, str(count))
    table.add_row("webhooks never acknowledged", str(outcome.unacknowledged))
    table.add_row("faults", str(len(outcome.plan.schedule())))
    table.add_row("processes that ended", str(sum(len(codes) for codes in outcome.exits.values())))
    console.print(table)
    for breach in outcome.report.breaches[:40]:
        console.print(f"[red]{breach.check}[/red]: {breach.about}: {breach.why}", highlight=False)
    console.print("no breach" if outcome.report.is_clean else f"{len(outcome.report.breaches)} breaches")


def main() -> int:
    """Run every seed; return the exit code."""
    given, console, outcomes = parse(), Console(width=120), []
    for seed in given.seed or [1]:
        plan = Plan(
            seed=seed,
            seconds=given.minutes * 60,
            rate=given.rate,
            instances=given.instances,
            every_s=given.every,
            provider_faults=given.provider_faults,
            faults=() if given.no_faults else None,
        )
        folder = (given.folder or Path(tempfile.mkdtemp(prefix="ringback-chaos-"))) / f"seed-{seed}"
        console.print(f"seed {seed}: logs in {folder}")
        outcome = asyncio.run(run(plan, folder, lambda line: console.print(line, highlight=False)))
        show(outcome, console)
        outcomes.append(outcome)
    if given.json:
        given.json.write_text(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
    return 0 if all(outcome.report.is_clean for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
