"""What follows from a history: who is to be texted, what was accepted, what a task says, and the counts of the table."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from services.leads.domain.call_outcome import SETTLE_AFTER_END_S
from tests.chaos.system.history import Appended, Document, History, Posted

FIRST_STEP: Final = "text-now"
MISSES: Final = frozenset({"missed", "abandoned"})
CALL_REASONS: Final = frozenset({"missed_call", "abandoned_call", "voicemail", "called_again", "call-morning"})
"""Why there is a task at all; none of these says why there is no text."""
SPOOLED_AFTER_S: Final = 0.1
"""A record that is in Kafka so much later than its webhook's answer was in a spool, or in nothing."""


def accepted_in(history: History) -> Iterator[Posted]:
    """Return the requests that made a text."""
    return (post for post in history.posted if post.accepted)


def steps_of(history: History) -> Mapping[str, tuple[str, str]]:
    """Return sequence and step of each touch."""
    return {document["_id"]: (document["sequence_id"], document["step"]) for document in history.delivery_documents}


def textable_in(history: History) -> set[str]:
    """Return the callers with a number who were missed and never answered."""
    talked = {call.caller for call in history.calls if call.answered}
    return {call.caller for call in history.calls if call.is_known and call.caller} - talked - {None}


def first_texts_in(history: History) -> Counter[str]:
    """Return how many first texts each caller got."""
    touches = steps_of(history)
    return Counter(
        post.to for post in accepted_in(history) if touches.get(post.touch_id or "", ("", ""))[1] == FIRST_STEP
    )


def tasks_of(history: History, lead: Document) -> Sequence[Document]:
    """Return the tasks of a lead: the open one, and those that were closed."""
    closed = [document for document in history.task_log if lead and document.get("lead_id") == lead.get("_id")]
    return [*([lead["task"]] if lead.get("task") else []), *closed]


def says_why(lead: Document, tasks: Sequence[Document]) -> bool:
    """Return whether who looks at a task sees why there was no text: in its reasons, or on the card that it stands on."""
    if any(set(task.get("reasons", ())) - CALL_REASONS for task in tasks):
        return True
    first = lead.get("touches", {}).get(FIRST_STEP, {})
    return lead.get("texting") == "stopped" or bool(first.get("reason"))


def presses_that_died(history: History) -> frozenset[str]:
    """Return the key presses that were acknowledged and died with an ingest that held them in memory."""
    there = {event.event_id for event in history.appended}
    return frozenset(event_id for event_id in history.died_unsafe - there if event_id.endswith(":answered"))


def hung_up_in_time(history: History) -> frozenset[str]:
    """Return the calls of which Kafka had a leg's end, canceled, before their outcome could be decided."""
    ended: dict[str, float] = {}
    for event in history.appended:
        if event.type == "call.ended":
            ended[event.call_id] = min(event.at_s, ended.get(event.call_id, event.at_s))
    return frozenset(
        event.call_id
        for event in history.appended
        if event.type == "call.leg_ended"
        and event.status == "canceled"
        and event.at_s <= ended.get(event.call_id, event.at_s) + SETTLE_AFTER_END_S
    )


def keyword(event: Appended) -> str | None:
    """Return `stop` or `start` where a text is one."""
    word = event.body.strip().casefold()
    return word if word in ("stop", "start") else None


def counts_of(history: History) -> Mapping[str, int]:
    """Return what the table shows beside the breaches."""
    states: Mapping[str, int] = Counter(str(document.get("state")) for document in history.delivery_documents)
    accepted = list(accepted_in(history))
    textable, first = textable_in(history), first_texts_in(history)
    texted = sum(first[caller] > 0 for caller in textable)
    outcomes = {document["call_id"]: document.get("outcome") for document in history.call_documents}
    first_s: dict[str, float] = {}
    for event in history.appended:
        first_s[event.event_id] = min(event.at_s, first_s.get(event.event_id, event.at_s))
    return {
        "calls placed": len(history.calls),
        "calls acknowledged": sum(call.is_known for call in history.calls),
        "calls answered": sum(call.answered for call in history.calls),
        "borrowers' texts": len(history.texts),
        "requests at the provider": len(history.posted),
        "texts accepted": len(accepted),
        "leads": len(history.lead_documents),
        "first texts expired into tasks": _number(history.delivery_documents, "expired"),
        "texts unknown, each a task": _number(history.delivery_documents, "unknown"),
        "deliveries": sum(states.values()),
        "webhooks acknowledged": len(history.webhooks),
        "of these before Kafka had them (spooled)": sum(
            first_s.get(webhook.event_id, webhook.at_s) > webhook.at_s + SPOOLED_AFTER_S for webhook in history.webhooks
        ),
        "calls that went on without a safe event": history.unsafe,
        "key presses lost with a killed ingest": len(presses_that_died(history)),
        "TwiML after more than three seconds": sum(
            one.answered and one.took_s > 3.0 for call in history.calls for one in call.tries
        ),
        "calls that met no ingest at all": sum(
            bool(call.tries) and not any(one.answered for one in call.tries) for call in history.calls
        ),
        "told by the reconciler": sum(history.reconciled.values()),
        "textable missed callers": len(textable),
        "of these texted, in percent": round(100 * texted / len(textable)) if textable else 100,
        "rows": len(history.rows),
        "miss decided as another kind than without faults": sum(
            outcomes.get(call.sid) in MISSES and call.expected in MISSES and outcomes[call.sid] != call.expected
            for call in history.calls
        ),
    }


def _number(documents: Sequence[Document], state: str) -> int:
    return sum(document.get("state") == state for document in documents)
