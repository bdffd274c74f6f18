"""A caller's records as lines in the order in which things happened. Pure: documents in, lines out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from services.policy.directory import Directory

Document = Mapping[str, Any]

FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""Where a record without any time goes: to the end, visibly."""
DECIDED_BY: Final = {
    "facts": "every fact is in",
    "after_end": "3 s after the end",
    "incomplete": "start or end never came",
    "reconciler": "by the provider's list; not known whether a key was pressed",
}
RANKS: Final = (
    "call", "answer", "end", "decision", "voicemail", "lead", "task", "timer", "reply", "touch", "text", "receipt", "closed",
)  # fmt: skip
"""What comes first of things of one instant: a cause before its effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything that MongoDB holds about one caller."""

    lead: Document | None = None
    calls: Sequence[Document] = ()
    messages: Sequence[Document] = ()
    deliveries: Sequence[Document] = ()
    timers: Sequence[Document] = ()
    task_log: Sequence[Document] = ()


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Line:
    """One thing that happened."""

    at: datetime
    rank: int
    kind: str = field(compare=False)
    what: str = field(compare=False)
    why: str = field(compare=False, default="")


def _line(at: datetime | None, rank: str, kind: str, what: str, why: str = "") -> Line:
    # What is no time fails here, where its record is known, and not in sorting.
    return Line(at=(at or FAR).astimezone(UTC), rank=RANKS.index(rank), kind=kind, what=str(what), why=str(why))


def head_of(lead: Document | None, directory: Directory) -> str:
    """Return where a lead stands, in one line."""
    if lead is None:
        return "no lead"
    branch = next((b.name for b in directory.branches if b.id == lead.get("branch_id")), "no branch")
    status = str(lead.get("status", "status unknown")).replace("_", " ")
    return (
        f"lead {lead.get('_id')}, {branch}, {status}, texting {lead.get('texting', 'unknown')}, "
        f"owner {_officer(lead.get('owner_id'), directory)}"
    )


def story_of(records: Records, directory: Directory) -> list[Line]:
    """Return a caller's whole story, oldest first; a record that cannot be told is one line at the end."""

    def of_lead(lead: Document) -> Iterator[Line]:
        return _of_lead(lead, records.calls, directory)

    leads = () if records.lead is None else (records.lead,)
    return sorted(
        [
            *_told(_of_call, records.calls),
            *_told(of_lead, leads),
            *_told(_of_message, records.messages),
            *_told(_of_delivery, records.deliveries),
            *_told(_of_timer, records.timers),
            *_told(_of_closed_task, records.task_log),
        ]
    )


def _told(tell: Callable[[Document], Iterator[Line]], documents: Iterable[Document]) -> Iterator[Line]:
    for document in documents:
        try:
            yield from list(tell(document))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            lacks = f"no field {error}" if isinstance(error, KeyError) else "a field is not what it should be"
            yield _line(
                None, "closed", "unreadable", f"unreadable record {document.get('_id', 'without an id')}", lacks
            )


def _officer(officer_id: str | None, directory: Directory) -> str:
    found = directory.officer(officer_id or "")
    return found.name if found else "nobody"


def _began(call: Document) -> datetime | None:
    found: datetime | None = call.get("started_at") or call.get("newest_fact_at") or call.get("ended_at")
    return found


def _decided(call: Document) -> datetime | None:
    found: datetime | None = call.get("decided_at") or call.get("ended_at") or _began(call)
    return found


def _of_call(call: Document) -> Iterator[Line]:
    began, ended = _began(call), call.get("ended_at")
    phones = call.get("legs_dialled")
    called = {None: "not known how many phones", 0: "no phone of ours", 1: "1 phone"}.get(phones, f"{phones} phones")
    yield _line(began, "call", "call", f"called {call.get('dialled') or 'an unknown number'}", f"{called} called")
    for leg in call.get("legs", ()):
        if leg.get("answered_at"):
            who = leg.get("officer_id") or "an officer"
            yield _line(leg["answered_at"], "answer", "call", f"{who} pressed the key", "answered")
    if ended:
        yield _line(ended, "end", "call", f"ended ({call.get('end_status') or 'reported whole'})")
    if call.get("outcome"):
        voicemail = " with voicemail" if call.get("voicemail") else ""
        why = DECIDED_BY.get(call.get("decided_by", ""), "")
        yield _line(_decided(call), "decision", "decision", call["outcome"] + voicemail, why)
    for voicemail in call.get("voicemails", ()):
        words = f'"{voicemail["transcript"]}"' if voicemail.get("transcript") else "no words yet"
        at = max((at for at in (ended or began, _decided(call)) if at), default=None)
        yield _line(at, "voicemail", "voicemail", f"{voicemail.get('duration_s', 0):.0f} s", words)


def _opened(lead: Document, calls: Iterable[Document]) -> datetime:
    """Return when a lead was opened: when the call that caused it was decided, or with the text that did.

    `first_contact_at` is the start of that call, when nobody knew yet that it would be missed.
    """
    call = next((call for call in calls if call.get("_id") == lead.get("opened_by_call")), None)
    found: datetime = (_decided(call) if call is not None else None) or lead["first_contact_at"]
    return found


def _of_lead(lead: Document, calls: Iterable[Document], directory: Directory) -> Iterator[Line]:
    opened = _opened(lead, calls)
    rank = "lead" if lead.get("opened_by_call") else "reply"
    yield _line(opened, rank, "lead", f"opened, owned by {_officer(lead.get('owner_id'), directory)}", lead["source"])
    if task := lead.get("task"):
        reasons = ", ".join(task.get("reasons", ()))
        yield _line(task["created_at"], "task", "task", f"{task['kind']} due, {task['urgency']}", reasons)
    if lead.get("contacted_at"):
        yield _line(lead["contacted_at"], "task", "lead", "contacted", "a person of ours talked to them")


def _of_message(message: Document) -> Iterator[Line]:
    if message.get("direction") == "in":
        intents = ", ".join(message.get("intents", ())) or "borrower's text"
        yield _line(message["at"], "reply", "reply", f'"{message.get("body", "")}"', intents)


def _of_delivery(found: Document) -> Iterator[Line]:
    step = f"{found['step']}" + (f" (attempt {found['attempt']})" if found["attempt"] > 1 else "")
    # A touch's due time may be the end of the call that a later decision caused it by.
    due = max(found["due_at"], found["at"])
    expires = f"{found['template']}, expires {found['expires_at']:%H:%M:%S} UTC"
    yield _line(due, "touch", "touch", f"{step} due", expires)
    if found.get("sent_at"):
        rule = f"variant {found.get('variant')} v{found.get('template_version')}, rule {found.get('rule')}"
        yield _line(found["sent_at"], "text", "text", f'"{found["body"]}"', rule)
        if found.get("ended_at") or found["state"] in ("delivered", "undelivered"):
            code = f"error {found['error_code']}" if found.get("error_code") else ""
            yield _line(found.get("ended_at") or found["sent_at"], "receipt", "receipt", found["state"], code)
    elif found["state"] not in ("accepted", "posting"):
        ended = max(found.get("ended_at") or due, due)
        yield _line(ended, "text", "held", f"{step}: {found['state']}", found.get("reason") or "")


def _of_timer(timer: Document) -> Iterator[Line]:
    yield _line(timer["due"], "timer", "timer", f"{timer.get('step') or 'something'} comes due", timer.get("state", ""))


def _of_closed_task(task: Document) -> Iterator[Line]:
    outcome = task.get("outcome") or ""
    yield _line(task.get("closed_at"), "closed", "task", f"{task.get('kind')} closed", outcome)
