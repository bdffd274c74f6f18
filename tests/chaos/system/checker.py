"""What must hold after any run, whatever was broken in it. Pure: a history in, breaches out.

Every check says in its docstring which promise it is about (docs/design.md); the names are what the table prints.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from services.sequencer.adapters.cadences import load_cadences
from services.sequencer.domain.cadence import Cadences
from tests.chaos.system.history import Appended, Document, History, Posted
from tests.model.invariants import wrong_in

AFTER_STOP_S: Final = 1.0
"""design 3: no POST starts more than a second after the opt-out's event is in Kafka."""
MAY_REPEAT: Final = frozenset({30001, 30003})
"""A receipt with one of these codes proves that the text was not delivered: its step may be sent once more."""
OPEN_STATES: Final = frozenset({"accepted", "posting"})
OPEN_STEPS: Final = frozenset({"waiting", "timed", "due"})
FIRST_STEP: Final = "text-now"
MISSES: Final = frozenset({"missed", "abandoned"})
SPOOLED_AFTER_S: Final = 0.1
"""A record that is in Kafka so much later than its webhook's answer was in a spool, or in nothing."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One promise that did not hold."""

    check: str
    about: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the checks found, and the counts that a reader wants beside them."""

    breaches: Sequence[Breach]
    counts: Mapping[str, int]

    @property
    def is_clean(self) -> bool:
        """Whether every promise held."""
        return not self.breaches


def check(history: History) -> Report:
    """Return everything that does not hold."""
    breaches = [Breach(name, about, why) for name, find in CHECKS.items() for about, why in find(history)]
    return Report(breaches=breaches, counts=_counts(history))


Found = Iterator[tuple[str, str]]


def lost_calls(history: History) -> Found:
    """Every call whose start and end were acknowledged has a document, and it is decided."""
    known = {document["call_id"]: document for document in history.call_documents}
    for call in history.calls:
        if not call.is_known:
            continue
        document = known.get(call.sid)
        if document is None:
            yield call.sid, "acknowledged, and there is no document of it"
        elif document.get("outcome") is None:
            yield call.sid, "never decided"


def lost_texts(history: History) -> Found:
    """Every text of a borrower that was acknowledged is kept."""
    kept = {document.get("message_id") for document in history.message_documents}
    for text in history.texts:
        if text.sid not in kept:
            yield text.sid, f"a {text.kind} was acknowledged and is not kept"


def lost_callers(history: History) -> Found:
    """Every missed caller with a number has exactly one first text, or none and a visible task with a reason."""
    leads = {document["caller"]: document for document in history.lead_documents}
    logged = {document.get("lead_id") for document in history.task_log}
    first = _first_texts(history)
    reasons = _reasons(history)
    for caller in sorted(_textable(history)):
        lead = leads.get(caller)
        if lead is None:
            yield caller, "missed, and there is no lead"
            continue
        count = first[caller]
        if count > 1:
            yield caller, f"{count} first texts"
        if count == 0:
            if lead.get("task") is None and lead["_id"] not in logged:
                yield caller, "no first text, and no task"
            elif not reasons.get(caller) and lead.get("texting") != "stopped":
                yield caller, "no first text, and nothing says why"


def answered_callers_texted(history: History) -> Found:
    """Nobody gets a first text after a person of ours has talked to them: the proof was in Kafka before the request."""
    proved: dict[str, float] = {}
    for event in history.appended:
        if event.type == "call.leg_answered":
            proved[event.caller] = min(event.at_s, proved.get(event.caller, event.at_s))
    steps = _steps(history)
    for post in _accepted(history):
        at = proved.get(post.to)
        if at is not None and post.at_s > at and steps.get(post.touch_id or "", ("", FIRST_STEP))[1] == FIRST_STEP:
            yield post.to, f"texted {post.at_s - at:.2f} s after a person had talked to them"


def late_after_stop(history: History) -> Found:
    """No request leaves more than a second after the opt-out was in Kafka, until the borrower opts in again."""
    said: dict[str, list[Appended]] = defaultdict(list)
    for event in history.appended:
        if event.type == "reply.received" and _keyword(event) is not None:
            said[event.caller].append(event)
    for post in history.posted:
        # In the order of their partition: what a spool sends at once has one time for all.
        there = [event for event in said.get(post.to, ()) if event.at_s <= post.at_s]
        newest = max((n for n, event in enumerate(there) if event.at_s + AFTER_STOP_S < post.at_s), default=None)
        if newest is None or _keyword(there[newest]) != "stop":
            continue
        if not any(_keyword(event) == "start" for event in there[newest + 1 :]):
            yield post.to, f"a request {post.at_s - there[newest].at_s:.2f} s after STOP was in Kafka"


def accepted_twice(history: History) -> Found:
    """No touch is accepted twice, and no step of a sequence, unless its first text is proved not delivered."""
    touches = Counter(post.touch_id for post in _accepted(history))
    for touch_id, count in touches.items():
        if count > 1:
            yield touch_id or "(no touch id)", f"accepted {count} times"
    by_step: dict[tuple[str, str], list[Posted]] = defaultdict(list)
    steps = _steps(history)
    for post in _accepted(history):
        if (whose := steps.get(post.touch_id or "")) is not None:
            by_step[whose].append(post)
    for (sequence, step), posts in by_step.items():
        spare = sum(1 for post in posts[:-1] if post.error_code in MAY_REPEAT)
        if len({post.touch_id for post in posts}) > 1 + min(spare, 1):
            yield f"{sequence}:{step}", f"accepted {len(posts)} times"


def unknown_texts(history: History) -> Found:
    """Every text that exists belongs to a delivery that says so."""
    sent = {document["_id"]: document for document in history.delivery_documents}
    for post in _accepted(history):
        document = sent.get(post.touch_id or "")
        if document is None:
            yield post.to, f"a text of touch {post.touch_id} exists, and there is no delivery of it"
        elif document.get("sid") not in (None, post.sid):
            yield post.to, f"touch {post.touch_id} is noted with another text's sid"


def left_open(history: History) -> Found:
    """Once the clock has moved on, no delivery is under way, no timer is pending, and no row has an open step."""
    for document in history.delivery_documents:
        if document.get("state") in OPEN_STATES:
            yield document["_id"], f"the delivery is still {document['state']}"
    for timer in history.pending_timers:
        yield timer["_id"], f"the timer of step {timer.get('step')} is still pending"
    for key, row in history.rows.items():
        sequence = row.get("s")
        for name, state, *_ in sequence[4] if sequence else ():
            if state in OPEN_STEPS:
                yield key, f"step {name} is still {state}"


def unsound_rows(history: History) -> Found:
    """Every row satisfies what the model holds of rows (`tests/model/invariants.py`)."""
    for key, row in history.rows.items():
        for why in wrong_in(dict(row), _cadences()):
            yield key, why


def rows_differ(history: History) -> Found:
    """The rows of the workers at work are those in the changelog, and those that fresh workers read from it."""
    held = dict(history.row_digests)
    kept = held.pop("the changelog", {})
    for whose, digests in held.items():
        for partition in sorted({*kept, *digests}):
            if kept.get(partition) != digests.get(partition):
                yield f"partition {partition}", f"the changelog's rows are not those of {whose}"


def lost_records(history: History) -> Found:
    """Every webhook that was acknowledged has its record in Kafka by the end.

    A call that went on without a safe event (`unsafe`) may lack the key press, which no list of the provider's shows; the
    call itself is still accounted for.
    """
    there = {event.event_id for event in history.appended}
    spare = history.unsafe
    for webhook in history.webhooks:
        if webhook.event_id in there:
            continue
        if webhook.event_id.endswith(":answered") and spare > 0:
            spare -= 1
            continue
        yield webhook.event_id, f"acknowledged by {webhook.route}, and there is no record of it"


def wrong_outcomes(history: History) -> Found:
    """A call is decided as answered where somebody answered it, and only there."""
    known = {document["call_id"]: document for document in history.call_documents}
    pressed = {event.call_id for event in history.appended if event.type == "call.leg_answered"}
    for call in history.calls:
        document = known.get(call.sid, {})
        outcome = document.get("outcome")
        if outcome is None:
            continue  # another check's
        if call.sid in pressed and outcome != "answered" and not document.get("late_answer"):
            yield call.sid, f"decided as {outcome}, and somebody had answered"
        elif call.sid not in pressed and outcome == "answered":
            yield call.sid, "decided as answered, and nobody had"


def doubts_without_a_task(history: History) -> Found:
    """A first text that was too late, or of which nobody knows whether it left, is a task, unless the caller was served."""
    leads = {document["caller"]: document for document in history.lead_documents}
    logged = {document.get("lead_id") for document in history.task_log}
    for document in history.delivery_documents:
        if document.get("state") not in ("unknown", "expired") or document.get("step") != FIRST_STEP:
            continue
        lead = leads.get(document["caller"], {})
        if lead.get("task") is None and lead.get("_id") not in logged:
            yield document["_id"], f"the delivery is {document['state']}, and there is no task"


def tasks_without_an_owner(history: History) -> Found:
    """Every open task has one owner."""
    for lead in history.lead_documents:
        if lead.get("task") is not None and not lead.get("owner_id"):
            yield lead["caller"], "a task that nobody owns"


def two_leads(history: History) -> Found:
    """One lead for each caller."""
    for caller, count in Counter(document["caller"] for document in history.lead_documents).items():
        if count > 1:
            yield caller, f"{count} leads"


def dead_letters(history: History) -> Found:
    """Nothing that we wrote ourselves becomes a dead letter."""
    for topic, count in history.dead_letters.items():
        if count:
            yield topic, f"{count} dead letters"


CHECKS: Final[Mapping[str, Callable[[History], Found]]] = {
    "call lost": lost_calls,
    "borrower's text lost": lost_texts,
    "caller lost": lost_callers,
    "answered caller texted": answered_callers_texted,
    "late after a stop": late_after_stop,
    "sent twice": accepted_twice,
    "text unknown to us": unknown_texts,
    "left open": left_open,
    "record lost": lost_records,
    "wrong outcome": wrong_outcomes,
    "doubt without a task": doubts_without_a_task,
    "row unsound": unsound_rows,
    "rows differ": rows_differ,
    "task without an owner": tasks_without_an_owner,
    "two leads of a caller": two_leads,
    "dead letters": dead_letters,
}


@cache
def _cadences() -> Cadences:
    return load_cadences()


def _accepted(history: History) -> Iterator[Posted]:
    return (post for post in history.posted if post.accepted)


def _steps(history: History) -> Mapping[str, tuple[str, str]]:
    return {document["_id"]: (document["sequence_id"], document["step"]) for document in history.delivery_documents}


def _textable(history: History) -> set[str]:
    """Return the callers with a number who were missed and never answered."""
    talked = {call.caller for call in history.calls if call.answered}
    return {call.caller for call in history.calls if call.is_known and call.caller} - talked - {None}


def _first_texts(history: History) -> Counter[str]:
    steps = _steps(history)
    return Counter(post.to for post in _accepted(history) if steps.get(post.touch_id or "", ("", ""))[1] == FIRST_STEP)


def _reasons(history: History) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for document in history.delivery_documents:
        if document.get("reason") or document.get("state") in ("unknown", "expired", "failed"):
            found[document["caller"]].append(str(document.get("reason") or document["state"]))
    for document in history.message_documents:
        if document.get("reason"):
            found[document["caller"]].append(str(document["reason"]))
    return found


def _keyword(event: Appended) -> str | None:
    word = event.body.strip().casefold()
    return word if word in ("stop", "start") else None


def _counts(history: History) -> Mapping[str, int]:
    states: Mapping[str, int] = Counter(str(document.get("state")) for document in history.delivery_documents)
    accepted = list(_accepted(history))
    textable, first = _textable(history), _first_texts(history)
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
