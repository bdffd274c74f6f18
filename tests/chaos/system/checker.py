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
from tests.chaos.system.derived import (
    FIRST_STEP,
    MISSES,
    accepted_in,
    counts_of,
    first_texts_in,
    hung_up_in_time,
    keyword,
    presses_that_died,
    says_why,
    steps_of,
    tasks_of,
    textable_in,
)
from tests.chaos.system.history import Appended, History, Posted
from tests.model.invariants import wrong_in

AFTER_STOP_S: Final = 1.0
"""design 3: no POST starts more than a second after the opt-out's event is in Kafka."""
MAY_REPEAT: Final = frozenset({30001, 30003})
"""A receipt with one of these codes proves that the text was not delivered: its step may be sent once more."""
OPEN_STATES: Final = frozenset({"accepted", "posting"})
OPEN_STEPS: Final = frozenset({"waiting", "timed", "due"})
NEW_LIFE_S: Final = 2.0
"""So long after an ingest is there again, or goes on after a halt, it first works off what has gathered."""


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
    return Report(breaches=breaches, counts=counts_of(history))


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
    first = first_texts_in(history)
    for caller in sorted(textable_in(history)):
        lead = leads.get(caller)
        if lead is None:
            yield caller, "missed, and there is no lead"
            continue
        count = first[caller]
        if count > 1:
            yield caller, f"{count} first texts"
        if count == 0:
            tasks = tasks_of(history, lead)
            if not tasks:
                yield caller, "no first text, and no task"
            elif not says_why(lead, tasks):
                yield caller, "no first text, and neither the task nor the card it stands on says why"


def answered_callers_texted(history: History) -> Found:
    """Nobody gets an automated text after a person of ours has talked to them: the proof was in Kafka before the request.

    Every step of the sequence counts, not the first text alone. A call that is missed after the talk begins anew.
    """
    proved: dict[str, float] = {}
    for event in history.appended:
        if event.type == "call.leg_answered":
            proved[event.caller] = min(event.at_s, proved.get(event.caller, event.at_s))
    steps = steps_of(history)
    missed: dict[str, list[float]] = defaultdict(list)
    for call in history.calls:
        if call.caller and not call.answered and call.ended_s is not None:
            missed[call.caller].append(call.ended_s)
    for post in accepted_in(history):
        at = proved.get(post.to)
        if at is None or post.at_s <= at or any(at < ended_s <= post.at_s for ended_s in missed[post.to]):
            continue
        _, step = steps.get(post.touch_id or "", ("", "no step we know"))
        yield post.to, f"texted ({step}) {post.at_s - at:.2f} s after a person had talked to them"


def late_after_stop(history: History) -> Found:
    """No request leaves more than a second after the opt-out was in Kafka, until the borrower opts in again."""
    said: dict[str, list[Appended]] = defaultdict(list)
    for event in history.appended:
        if event.type == "reply.received" and keyword(event) is not None:
            said[event.caller].append(event)
    for post in history.posted:
        # In the order of their partition: what a spool sends at once has one time for all.
        there = [event for event in said.get(post.to, ()) if event.at_s <= post.at_s]
        newest = max((n for n, event in enumerate(there) if event.at_s + AFTER_STOP_S < post.at_s), default=None)
        if newest is None or keyword(there[newest]) != "stop":
            continue
        if not any(keyword(event) == "start" for event in there[newest + 1 :]):
            yield post.to, f"a request {post.at_s - there[newest].at_s:.2f} s after STOP was in Kafka"


def accepted_twice(history: History) -> Found:
    """No touch is accepted twice, and no step of a sequence, unless its first text is proved not delivered."""
    touches = Counter(post.touch_id for post in accepted_in(history))
    for touch_id, count in touches.items():
        if count > 1:
            yield touch_id or "(no touch id)", f"accepted {count} times"
    by_step: dict[tuple[str, str], list[Posted]] = defaultdict(list)
    steps = steps_of(history)
    for post in accepted_in(history):
        if (whose := steps.get(post.touch_id or "")) is not None:
            by_step[whose].append(post)
    for (sequence, step), posts in by_step.items():
        spare = sum(1 for post in posts[:-1] if post.error_code in MAY_REPEAT)
        if len({post.touch_id for post in posts}) > 1 + min(spare, 1):
            yield f"{sequence}:{step}", f"accepted {len(posts)} times"


def unknown_texts(history: History) -> Found:
    """Every text that exists belongs to a delivery that says so."""
    sent = {document["_id"]: document for document in history.delivery_documents}
    for post in accepted_in(history):
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

    A call that went on without a safe event is made good before the run ends: ingest holds the event and tries it again, and
    the reconciler tells what the provider lists. One thing neither can: a key press that an ingest held when it was killed.
    It is counted by itself, and its caller has a task.
    """
    there = {event.event_id for event in history.appended}
    died = presses_that_died(history)
    for webhook in history.webhooks:
        if webhook.event_id not in there | died:
            yield webhook.event_id, f"acknowledged by {webhook.route}, and there is no record of it"
    leads = {document["caller"]: document for document in history.lead_documents}
    for call in history.calls:
        if call.pressed in died and call.caller and not tasks_of(history, leads.get(call.caller, {})):
            yield call.sid, "a key press died with its ingest, and the caller has no task"


def calls_kept_waiting(history: History) -> Found:
    """Every request for a call's TwiML that reaches an ingest that runs is answered, and in time.

    Only a request to an ingest that the run itself had killed, stopped or halted may fail; the phone company then asks the
    next one. So a call that nobody ever answered is a breach unless every one of its requests was such.
    """
    for call in history.calls:
        for one in call.tries:
            if one.answered and one.took_s <= history.twiml_limit_s:
                continue
            ends_s = one.at_s + one.took_s
            broken = any(
                away.instance == one.instance and away.from_s <= ends_s and one.at_s <= away.to_s + NEW_LIFE_S
                for away in history.away
            )
            if not broken:
                yield call.sid, f"{'answered' if one.answered else 'not answered'} after {one.took_s:.1f} s"


def wrong_outcomes(history: History) -> Found:
    """A call is decided as answered where somebody answered it, and only there; a miss is of the kind it was.

    One reason for another kind is documented (design 3): the leads service waits three seconds after a call's end for the ends
    of its legs. Where none of them was in Kafka by then, nothing says that the caller hung up, and the call is `missed`.
    """
    known = {document["call_id"]: document for document in history.call_documents}
    pressed = {event.call_id for event in history.appended if event.type == "call.leg_answered"}
    recorded = {event.call_id for event in history.appended if event.type == "voicemail.recorded"}
    hung_up = hung_up_in_time(history)
    for call in history.calls:
        document = known.get(call.sid, {})
        outcome = document.get("outcome")
        if outcome is None:
            continue  # another check's
        if call.sid in pressed and outcome != "answered" and not document.get("late_answer"):
            yield call.sid, f"decided as {outcome}, and somebody had answered"
        elif call.sid not in pressed and outcome == "answered":
            yield call.sid, "decided as answered, and nobody had"
        elif document.get("voicemail") and call.sid not in recorded:
            yield call.sid, "decided with a voicemail, and there is none"
        elif call.is_known and _is_another_miss(call.expected, outcome, told=call.sid in hung_up):
            yield call.sid, f"decided as {outcome}, and it was {call.expected}"


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
    "call kept waiting": calls_kept_waiting,
    "wrong outcome": wrong_outcomes,
    "doubt without a task": doubts_without_a_task,
    "row unsound": unsound_rows,
    "rows differ": rows_differ,
    "task without an owner": tasks_without_an_owner,
    "two leads of a caller": two_leads,
    "dead letters": dead_letters,
}


def _is_another_miss(expected: str, outcome: str, *, told: bool) -> bool:
    """Return whether a miss is of another kind than it was, and not for want of what tells that the caller hung up."""
    if outcome == expected or not {outcome, expected} <= MISSES:
        return False
    return expected == "missed" or told


@cache
def _cadences() -> Cadences:
    return load_cadences()
