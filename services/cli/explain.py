"""`ringback explain +1212...`: one caller's whole story in order: event, decision, reason, touch, receipt."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from deploy.local.kafka import DEFAULT_STATE
from deploy.local.mongo import LocalMongo
from deploy.local.process import StartError, listens
from deploy.local.system import EXAMPLE_DIRECTORY
from services.cli.local_run import RECORD, open_database
from services.policy.directory import Directory, load_directory
from services.policy.numbers import normalise_caller
from services.runtime.settings import LenderSettings, MongoSettings, SettingsError

console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
FAR = datetime(9999, 1, 1, tzinfo=UTC)


class Whose(MongoSettings, LenderSettings):
    """Which database, which lender."""


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One thing that happened."""

    at: datetime
    rank: int
    kind: str
    what: str
    why: str = ""


def explain(
    number: Annotated[str, typer.Argument(help="the caller's number: +12125550123")],
    run: Annotated[
        str, typer.Option(help="without RINGBACK_MONGODB_URL: which local run to read, demo or replay")
    ] = "demo",
) -> None:
    """Tell one caller's whole story in order."""
    caller = normalise_caller(number)
    if caller.e164 is None:
        raise typer.BadParameter(f"{number!r} is not a phone number ({caller.reason}); write it like +12125550123")
    with contextlib.ExitStack() as stack:
        url, name, directory = _whose(run, stack)
        lines, zone, head = asyncio.run(_story(url, name, directory, caller.e164))
    if not lines:
        console.print(f"{caller.e164} has never called, and nothing was ever sent to it.")
        raise typer.Exit(1)
    show(caller.e164, head, lines, zone)


def _whose(run: str, stack: contextlib.ExitStack) -> tuple[str, str, Directory]:
    with contextlib.suppress(SettingsError):
        settings = Whose.load(service="explain", kafka_bootstrap_servers="unused:0")
        return settings.mongodb_url.get_secret_value(), settings.mongodb_database, load_directory(settings.directory)
    folder = DEFAULT_STATE / run
    try:
        record = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"no local run called {run!r} here; run `make demo`, or set RINGBACK_MONGODB_URL and RINGBACK_DIRECTORY"
        ) from error
    directory = load_directory(EXAMPLE_DIRECTORY)
    port = urlsplit(record["mongodb"]).port
    if (folder / "mongo").exists() and port is not None and not listens(port):
        # The run is over, its documents are still there: open them for as long as we look. The same port, because a
        # replica set knows its members by it.
        try:
            stack.enter_context(LocalMongo(folder / "mongo", port=port))
        except StartError as error:
            raise typer.BadParameter(f"the documents of {run!r} cannot be opened: {error}") from error
    return record["mongodb"], record["database"], directory


async def _story(url: str, name: str, directory: Directory, caller: str) -> tuple[list[Line], ZoneInfo, str]:
    db = open_database(url, name)
    lead = await db.leads.find_one({"lender_id": directory.lender_id, "caller": caller})
    calls = [doc async for doc in db.calls.find({"caller": caller}).sort("started_at", 1)]
    messages = [doc async for doc in db.messages.find({"caller": caller})]
    deliveries = [doc async for doc in db.deliveries.find({"caller": caller})]
    timers = [doc async for doc in db.timers.find({"key": f"{directory.lender_id}:{caller}"})]
    log = [doc async for doc in db.task_log.find({"lead_id": lead["_id"]})] if lead else []
    branch = next((b for b in directory.branches if b.id == (lead or {}).get("branch_id")), directory.branches[0])
    lines = [
        *_of_calls(calls), *_of_lead(lead, directory), *_of_messages(messages), *_of_deliveries(deliveries),
        *_of_timers(timers), *_of_log(log),
    ]  # fmt: skip
    head = "no lead"
    if lead:
        officer = directory.officer(lead.get("owner_id") or "")
        head = (
            f"lead {lead['_id']}, {branch.name}, {lead['status'].replace('_', ' ')}, texting {lead['texting']}, "
            f"owner {officer.name if officer else 'nobody'}"
        )
    return sorted(lines), branch.zone, head


def _of_calls(calls: list[Any]) -> Iterator[Line]:
    for call in calls:
        at = call.get("started_at") or call.get("newest_fact_at") or call.get("ended_at")
        yield Line(
            at or FAR, 0, "call", f"rang {call.get('dialled', '?')}", f"{call.get('legs_dialled', '?')} phones rung"
        )
        for leg in call.get("legs", ()):
            if leg.get("answered_at"):
                yield Line(
                    leg["answered_at"],
                    1,
                    "call",
                    f"{leg.get('officer_id') or 'an officer'} pressed the key",
                    "answered",
                )
        if call.get("ended_at"):
            yield Line(call["ended_at"], 2, "call", f"ended ({call.get('end_status', 'reported whole')})")
        if call.get("outcome"):
            why = {
                "facts": "every fact is in",
                "after_end": "3 s after the end",
                "incomplete": "start or end never came",
            }
            yield Line(
                call.get("ended_at") or at or FAR, 3, "decision",
                call["outcome"] + (" with voicemail" if call.get("voicemail") else ""), why.get(call.get("decided_by"), ""),
            )  # fmt: skip
        for voicemail in call.get("voicemails", ()):
            text = f'"{voicemail["transcript"]}"' if voicemail.get("transcript") else "no words yet"
            yield Line(
                call.get("ended_at") or at or FAR, 4, "voicemail", f"{voicemail.get('duration_s', 0):.0f} s", text
            )


def _of_lead(lead: Any, directory: Directory) -> Iterator[Line]:
    if not lead:
        return
    officer = directory.officer(lead.get("owner_id") or "")
    yield Line(
        lead["first_contact_at"], 5, "lead", f"opened, owned by {officer.name if officer else 'nobody'}", lead["source"]
    )
    if task := lead.get("task"):
        yield Line(
            task["created_at"], 6, "task", f"{task['kind']} due, {task['urgency']}", ", ".join(task.get("reasons", ()))
        )
    if lead.get("contacted_at"):
        yield Line(lead["contacted_at"], 6, "lead", "contacted", "a person of ours talked to them")


def _of_messages(messages: list[Any]) -> Iterator[Line]:
    for message in messages:
        if message.get("direction") == "in":
            intents = ", ".join(message.get("intents", ())) or "borrower's text"
            yield Line(message["at"], 7, "reply", f'"{message.get("body", "")}"', intents)


def _of_deliveries(deliveries: list[Any]) -> Iterator[Line]:
    for found in deliveries:
        step = f"{found['step']}" + (f" (attempt {found['attempt']})" if found["attempt"] > 1 else "")
        yield Line(
            found["due_at"],
            8,
            "touch",
            f"{step} due",
            f"{found['template']}, expires {found['expires_at']:%H:%M:%S} UTC",
        )
        if found.get("sent_at"):
            yield Line(
                found["sent_at"], 9, "text", f'"{found["body"]}"',
                f"variant {found.get('variant')} v{found.get('template_version')}, rule {found.get('rule')}",
            )  # fmt: skip
            if found.get("ended_at") or found["state"] in ("delivered", "undelivered"):
                code = f"error {found['error_code']}" if found.get("error_code") else ""
                yield Line(found.get("ended_at") or found["sent_at"], 10, "receipt", found["state"], code)
        elif found["state"] not in ("accepted", "posting"):
            yield Line(
                found.get("ended_at") or found["at"], 9, "held", f"{step}: {found['state']}", found.get("reason") or ""
            )


def _of_timers(timers: list[Any]) -> Iterator[Line]:
    for timer in timers:
        yield Line(timer["due"], 7, "timer", f"{timer.get('step', '?')} comes due", timer.get("state", ""))


def _of_log(log: list[Any]) -> Iterator[Line]:
    for task in log:
        yield Line(task.get("closed_at") or FAR, 11, "task", f"{task.get('kind')} closed", task.get("outcome") or "")


def show(caller: str, head: str, lines: list[Line], zone: ZoneInfo) -> None:
    """Print a story, times in the branch's zone."""
    console.print(f"[bold]{caller}[/]  {head}")
    table = Table(box=None, padding=(0, 1))
    for name in (f"when ({zone.key})", "", "what", "why"):
        table.add_column(name, overflow="fold")
    shown = ""
    for line in lines:
        local = line.at.astimezone(zone)
        day = f"{local:%a %d %b} " if f"{local:%F}" != shown else "           "
        shown = f"{local:%F}"
        table.add_row(f"{day}{local:%H:%M:%S}", line.kind, line.what, line.why)
    console.print(table)
