"""`ringback bench`: latency end to end at a steady rate, and the sequencer beside a bare loop; measured, printed, kept."""

import asyncio
import json
import os
import platform
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.cli.benching.latency import measure_latency
from services.cli.benching.sequencer import measure_sequencer
from services.cli.exits import WrongUse

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


class What(StrEnum):
    """What can be measured alone."""

    ALL = "all"
    LATENCY = "latency"
    SEQUENCER = "sequencer"


def bench(
    seconds: Annotated[int, typer.Option(min=1, help="how long calls arrive")] = 60,
    rate: Annotated[
        float, typer.Option(min=0.1, help="calls a second, open loop: a slow system does not slow the callers")
    ] = 50.0,
    events: Annotated[int, typer.Option(min=2, help="events for the sequencer and for the bare loop")] = 20_000,
    only: Annotated[What, typer.Option(help="what to measure")] = What.ALL,
    out: Annotated[Path, typer.Option(help="where the figures go, as JSON")] = Path("bench.json"),
) -> None:
    """Measure, print a short table and write bench.json. Nothing is asserted: read the figures."""
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        # Said now, and not after minutes of measuring.
        raise WrongUse(f"--out {out} cannot be written", "name a file in a folder that exists")
    found: dict[str, Any] = {"machine": machine()}
    console.print(f"on {found['machine']}")
    if only in (What.ALL, What.LATENCY):
        found["latency"] = asyncio.run(measure_latency(rate, seconds, console))
        show_latency(found["latency"])
    if only in (What.ALL, What.SEQUENCER):
        found["sequencer"] = asyncio.run(measure_sequencer(events, console))
        show_sequencer(found["sequencer"])
    out.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written to {out}")


def machine() -> str:
    """Return what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def show_latency(found: dict[str, Any]) -> None:
    """Print the latency table."""
    table = Table(
        title=f"deciding webhook to request at the provider, {found['rate']:.0f} calls/s for {found['seconds']} s (ms)"
    )
    for name in ("stage", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, figures in found["stages_ms"].items():
        table.add_row(stage, *(f"{figures[name]:.1f}" for name in ("p50", "p95", "p99", "max")))
    console.print(table)
    used = sorted(found["cpu_ms_per_call"].items(), key=lambda item: -item[1])
    console.print(
        "processor ms per call: "
        + ", ".join(f"{name} {ms:.1f}" for name, ms in used)
        + f"; in all {sum(ms for _, ms in used):.1f}"
    )
    console.print(
        f"calls {found['calls']}, texted {found['texted']}, webhooks {found['webhooks']}; late sends by the generator: "
        f"p99 {found['generator_late_ms_p99']:.1f} ms"
    )


def show_sequencer(found: dict[str, Any]) -> None:
    """Print the sequencer's rates."""
    table = Table(title=f"sequencer, {found['events']} events, one worker, same decide")
    for name in ("what", "events/s", "of bare"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, rate in found["events_per_s"].items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / found['events_per_s']['bare aiokafka loop']:.2f}")
    console.print(table)
