"""`ringback replay FILE`: play a phone system's call log through the whole system, on a clock that moves as fast as you like."""

import asyncio
import re
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.system import ACCOUNT_SID, AUTH_TOKEN, EXAMPLE_DIRECTORY
from services.cli.calllog import CompletedMeans, LoggedCall, Tally, calls_of_day, read_call_log
from services.cli.exits import CANNOT, DONE, WrongUse, called_as
from services.cli.local_run import Run, local_run
from services.cli.replaying.driver import LEAD_IN, Replay
from services.cli.replaying.summary import Summary, summarize
from services.policy.directory import load_directory

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
FOLLOW_UP = timedelta(days=4)
"""How long after the last call timers still run: over a long weekend to the next business morning."""


def parse_speed(text: str) -> float | None:
    """Return virtual seconds a second, or None for `max`.

    Raises:
        WrongUse: neither `max` nor a number such as `60x`.
    """
    if text == "max":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)x?", text)
    if not found or not 0 < float(found[1]) <= 10_000:
        raise WrongUse(
            f"--speed {text!r} is not a speed", "write `max`, or a factor such as 60x (more than 0, at most 10000x)"
        )
    return float(found[1])


def read_calls(
    file: Path, day: str | None, completed_means: CompletedMeans | None = None
) -> tuple[list[LoggedCall], Tally]:
    """Read a log, or one local day (of the first branch's zone) of it.

    Raises:
        WrongUse: `day` is not a date; the log has no inbound call, or none on that day; or it says itself who talked, and
            `completed_means` is given.
        CallLogError: the file is not a call log.
    """
    tally = Tally()
    zone = ZoneInfo(load_directory(EXAMPLE_DIRECTORY).branches[0].time_zone)
    wanted = parse_day(day) if day is not None else None
    calls = list(read_call_log(file, tally, completed_means))
    speaks = tally.has_legs or (calls and calls[0].provider != "twilio")
    if completed_means is not None and speaks and not tally.judged:
        raise WrongUse(
            f"--completed-means is for completed calls without outbound-dial rows; {file} says itself who talked",
            "leave it out",
        )
    if not calls:
        bad = f"; {tally.bad} rows are unreadable, the first at {tally.problems[0]}" if tally.bad else ""
        raise WrongUse(f"{file} has no inbound calls{bad}", "docs/call-log.md says what is read from a log")
    if wanted is None:
        return calls, tally
    first, last = (call.started_at.astimezone(zone).date() for call in (calls[0], calls[-1]))
    calls = list(calls_of_day(calls, wanted, zone))
    if not calls:
        raise WrongUse(f"{file} has no inbound calls on {wanted}", f"its calls are from {first} to {last}")
    return calls, tally


def parse_day(text: str) -> date:
    """Return a date.

    Raises:
        WrongUse: it is not a date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise WrongUse(f"--day {text!r} is not a date", "write year, month and day like 2026-03-10") from error


def replay(
    file: Annotated[Path, typer.Argument(help="Twilio Calls CSV or RingCentral call log JSON, gzipped or not")],
    speed: Annotated[str, typer.Option(help="`max`, or how many times faster than life: 60x")] = "max",
    day: Annotated[str | None, typer.Option(help="only this local day: 2026-03-10")] = None,
    completed_means: Annotated[
        CompletedMeans | None,
        typer.Option(
            help="what a completed call without outbound-dial rows of a Twilio export was; without it: answered from 30 s on"
        ),
    ] = None,
    once: Annotated[bool, typer.Option(help="end after the summary instead of leaving the page open")] = True,
) -> None:
    """Play a call log through ingest's real webhooks, with real signatures, and summarize the result."""
    factor = parse_speed(speed)
    calls, tally = read_calls(file, day, completed_means)
    play_to_the_end("replay", title_of(file, day, calls, tally), calls, factor, once=once)


def title_of(file: Path, day: str | None, calls: Sequence[LoggedCall], tally: Tally) -> str:
    """Return the first line: which calls are played, and what the log cannot say."""
    title = f"{file.name}: {len(calls)} calls{f' on {day}' if day else ''}"
    if tally.bad:
        title += f", {tally.bad} unreadable rows (first: {tally.problems[0]})"
    if tally.judged:
        missing = (
            "completed calls without outbound-dial rows: who talked in these is"
            if tally.has_legs
            else "no outbound-dial rows: who talked is"
        )
        title += (
            f", and {missing} not in this export, so it is judged ({judgment_of(calls)}; --completed-means overrides)"
        )
    return title


def judgment_of(calls: Iterable[LoggedCall]) -> str:
    """Return how many completed calls were judged to be what."""
    judged = Counter(call.answered for call in calls if call.judged)
    return f"{judged[True]} completed calls count as answered, {judged[False]} as missed"


def play_to_the_end(name: str, title: str, calls: Sequence[LoggedCall], speed: float | None, *, once: bool) -> None:
    """Start everything, play, print; exit 1 when a promise was broken."""
    console.print(title, markup=False)
    try:
        kept = asyncio.run(_until_told(lambda: _play(name, calls, speed, once=once)))
    except asyncio.CancelledError as error:  # SIGTERM or SIGINT, told by `_until_told`
        raise KeyboardInterrupt from error
    raise typer.Exit(DONE if kept else CANNOT)


async def _until_told(work: Callable[[], Awaitable[bool]]) -> bool:
    """Run until done or told to stop; SIGTERM stops everything in order, as Ctrl-C does."""
    task = asyncio.ensure_future(work())
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    return await task


async def _play(name: str, calls: Sequence[LoggedCall], speed: float | None, *, once: bool) -> bool:
    start = calls[0].started_at - LEAD_IN

    def say(line: str) -> None:
        console.print(f"  {line}")

    async with local_run(name, start, say, sandbox_args=("--borrowers", "--step-s", "0", *_quiet())) as run:
        say(f"sandbox (every text on a phone): [bold]{run.system.sandbox_url}[/]")
        say(f"playing {len(calls)} calls")
        with Progress(
            TextColumn("playing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("calls"),
            TextColumn("[cyan]{task.fields[at]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as bar:
            task = bar.add_task("calls", total=len(calls), at="")

            def on_clock(at: datetime) -> None:
                bar.update(task, at=f"{at:%a %H:%M} UTC")

            def on_call(call: LoggedCall) -> None:
                bar.advance(task)
                if call is calls[-1] and speed is None:
                    say("following up until nothing is due: second texts, replies, the next morning's tasks")

            player = Replay(
                target=run,
                clock_path=run.clock_path,
                account_sid=ACCOUNT_SID,
                auth_token=AUTH_TOKEN,
                speed=speed,
                on_call=on_call,
                on_clock=on_clock,
            )
            await player.run(calls, until=calls[-1].ended_at + FOLLOW_UP)
        say("reading the records")
        summary = await summarize(run.db, run.stack.kafka, run.system.sandbox_url, len(calls))
        show(summary, run, calls)
        if not once:
            console.print(f"\nThe sandbox's page stays open at [bold]{run.system.sandbox_url}[/] until Ctrl-C.")
            await asyncio.Event().wait()
    return not summary.problems


def _quiet() -> list[str]:
    officers = load_directory(EXAMPLE_DIRECTORY).officers
    return [part for officer in officers for part in ("--quiet", officer.phone)]


def show(found: Summary, run: Run, played: Sequence[LoggedCall]) -> None:
    """Print the summary, for somebody who runs a lender."""
    calls = found.calls
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("Calls", str(sum(calls.values())), f"{calls['answered']} answered by a person")
    table.add_row(
        "Missed", str(found.missed), f"{calls['missed']} unanswered, {calls['abandoned']} hung up while it rang"
    )
    table.add_row("", "", f"{found.withheld_missed} with a withheld number: counted, nobody to text")
    if any(call.judged for call in played):
        table.add_row(
            "Judged", str(sum(call.judged for call in played)), f"by length or --completed-means: {judgment_of(played)}"
        )
    table.add_row(
        "Texted once", str(found.texted_once), f"of {found.missed_callers} callers with a number who were missed"
    )
    table.add_row(
        "Webhook to text",
        f"{found.accepted_ms(0.5):.0f} ms",
        f"p50; p95 {found.accepted_ms(0.95):.0f}, p99 {found.accepted_ms(0.99):.0f}, max {found.accepted_ms(1.0):.0f} ms,"
        " from the deciding webhook to the accepted text",
    )
    table.add_row("Second texts", str(found.second_texts), "ten minutes later, to those who had not answered")
    table.add_row("Replies", str(found.replies), f"texts from borrowers; {found.opt_outs} numbers opted out")
    table.add_row("Callback tasks", str(found.tasks), "each with one named officer")
    if found.held:
        table.add_row(
            "Held back", str(sum(found.held.values())), ", ".join(f"{n} {why}" for why, n in found.held.most_common())
        )
    console.print()
    console.print(table)
    if slowest := found.slowest():
        console.print("\nThe slowest first texts, and where their time went (ms):")
        detail = Table(box=None, padding=(0, 2))
        detail.add_column("caller")
        for stage in slowest[0].stages:
            detail.add_column(stage, justify="right", no_wrap=True)
        detail.add_column("in all", justify="right")
        for timing in slowest:
            detail.add_row(
                timing.caller, *(f"{ms:.0f}" for ms in timing.stages.values()), f"{timing.to_accepted_ms:.0f}"
            )
        console.print(detail)
        console.print(f"\nOne caller's whole story: [bold]{called_as()} explain {slowest[0].caller}[/]")
    console.print(f"\nOn {'; '.join(run.stack.uses)}.")
    for problem in found.problems:
        console.print(f"[red]PROMISE BROKEN: {problem}[/]")
