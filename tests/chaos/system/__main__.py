"""`python -m tests.chaos.system`: one seeded run, several, or an outage; exit 1 on any breach."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.system.calibrate import rate_of
from tests.chaos.system.run import Outcome, Plan, run, scene_plan
from tests.chaos.system.schedule import SCENES


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.system", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="repeatable; default 1")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="of load; the end of a run takes about as long again"
    )
    parser.add_argument(
        "--rate", type=float, help="calls a second; default: the highest that this machine keeps up with, measured once"
    )
    parser.add_argument("--instances", type=int, default=2, help="of each service")
    parser.add_argument("--every", type=float, default=6.0, help="mean seconds between two faults")
    parser.add_argument("--min-kills", type=int, default=0, help="kill -9 at least so often")
    parser.add_argument("--provider-faults", type=float, default=0.0, help="share of sends that fail in some way")
    parser.add_argument("--scene", choices=SCENES, help="one outage under load instead of drawn faults")
    parser.add_argument("--outage-s", type=float, help="another length of the scene's outage")
    parser.add_argument(
        "--no-faults", action="store_true", help="load alone: what the checker says must then be nothing"
    )
    parser.add_argument("--folder", type=Path, help="keep logs and outcome.json here; default: a temporary one")
    parser.add_argument("--json", type=Path, help="write every outcome into this file too")
    return parser.parse_args(argv)


def show(outcome: Outcome, console: Console) -> None:
    """Print one outcome."""
    plan = outcome.plan
    table = Table(title=f"{plan.scene or 'seed'} {plan.seed}: {outcome.took_s:.0f} s", show_header=False)
    for name, count in outcome.report.counts.items():
        table.add_row(name, str(count))
    table.add_row("webhooks never acknowledged", str(outcome.unacknowledged))
    table.add_row("first text, p50 / p99 ms", " / ".join(f"{ms:.0f}" for ms in outcome.first_text_ms.values()))
    table.add_row("slowest TwiML, ms", f"{outcome.voice_ms_max:.0f}")
    table.add_row("faults", str(len(outcome.done)))
    table.add_row("of these kills", str(outcome.kills))
    table.add_row("processes that ended", str(sum(len(codes) for codes in outcome.exits.values())))
    console.print(table)
    for breach in outcome.report.breaches[:40]:
        console.print(f"[red]{breach.check}[/red]: {breach.about}: {breach.why}", highlight=False)
    console.print("no breach" if outcome.report.is_clean else f"{len(outcome.report.breaches)} breaches")


def plans(given: argparse.Namespace, rate: float) -> Sequence[Plan]:
    """Return what to run."""
    seeds: Sequence[int] = given.seed or [1]
    if given.scene:
        return [
            scene_plan(given.scene, seed=seed, rate=rate, instances=given.instances, for_s=given.outage_s)
            for seed in seeds
        ]
    return [
        Plan(
            seed=seed,
            seconds=given.minutes * 60,
            rate=rate,
            instances=given.instances,
            every_s=given.every,
            min_kills=given.min_kills,
            provider_faults=given.provider_faults,
            faults=() if given.no_faults else None,
        )
        for seed in seeds
    ]


def main() -> int:
    """Run everything asked for; return the exit code."""
    given, console, outcomes = parse(), Console(width=120), []

    def say(line: str) -> None:
        console.print(line, highlight=False)

    folder = given.folder.absolute() if given.folder else Path(tempfile.mkdtemp(prefix="ringback-chaos-"))
    rate = given.rate or asyncio.run(rate_of(given.instances, folder / "rate", say))
    for plan in plans(given, rate):
        own = folder / f"{plan.scene or 'seed'}-{plan.seed}"
        say(f"seed {plan.seed}: {rate:g} calls/s, logs in {own}")
        outcome = asyncio.run(run(plan, own, say))
        show(outcome, console)
        outcomes.append(outcome)
    if given.json:
        given.json.write_text(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
    return 0 if all(outcome.report.is_clean for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
