"""`ringback explain +1212...`: one caller's whole story in order: event, decision, reason, touch, receipt."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.cli.exits import Cannot, WrongUse
from services.cli.explaining.documents import read_records, source_of
from services.cli.explaining.story import Line, head_of, story_of
from services.policy.numbers import normalize_caller

console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def explain(
    number: Annotated[str, typer.Argument(help="the caller's number: +12125550123")],
    run: Annotated[
        str, typer.Option(help="without RINGBACK_MONGODB_URL: which local run to read, demo or replay")
    ] = "demo",
) -> None:
    """Tell one caller's whole story in order."""
    caller = normalize_caller(number).e164
    if caller is None:
        raise WrongUse(f"{number!r} is not a phone number", "write + and the country code first, like +12125550123")
    with source_of(run) as source:
        records = asyncio.run(read_records(source, caller))
    lines = story_of(records, source.directory)
    if not lines:
        raise Cannot(f"{caller} has never called, and nothing was ever sent to it")
    branches = source.directory.branches
    branch = next((b for b in branches if records.lead and b.id == records.lead.get("branch_id")), branches[0])
    show(caller, head_of(records.lead, source.directory), lines, branch.zone)


def show(caller: str, head: str, lines: Sequence[Line], zone: ZoneInfo) -> None:
    """Print a story, times in the branch's zone."""
    console.print(f"[bold]{caller}[/]  {escape(head)}")
    table = Table(box=None, padding=(0, 1))
    for name in (f"when ({zone.key})", "", "what", "why"):
        table.add_column(name, overflow="fold")
    shown = ""
    for line in lines:
        local = line.at.astimezone(zone)
        day = f"{local:%a %d %b} " if f"{local:%F}" != shown else "           "
        shown = f"{local:%F}"
        table.add_row(f"{day}{local:%H:%M:%S}", line.kind, escape(line.what), escape(line.why))
    console.print(table)
