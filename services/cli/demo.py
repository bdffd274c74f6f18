"""`ringback demo`: one day of a generated call log through all four services, on real Kafka and MongoDB, in half a minute."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.replay import parse_speed, play_to_the_end, read_calls, title_of

EXAMPLE_LOG = Path(__file__).parents[2] / "deploy" / "examples" / "calls-90d.csv.gz"
DAY = "2026-02-17"


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="end after the summary instead of leaving the page open")
    ] = False,
    day: Annotated[str, typer.Option(help="a local day of the example log, 2026-01-15 to 2026-04-14")] = DAY,
    speed: Annotated[str, typer.Option(help="`max`, or how many times faster than life: 600x")] = "max",
) -> None:
    """Replay a day of three branches' calls against the sandbox and print what a lender would want to know."""
    factor = parse_speed(speed)
    calls, tally = read_calls(EXAMPLE_LOG, day)
    play_to_the_end("demo", title_of(EXAMPLE_LOG, day, calls, tally), calls, factor, once=once)
