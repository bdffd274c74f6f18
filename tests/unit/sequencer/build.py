"""Events of one caller, made as the other services make them."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from schemas import ids
from schemas.base import EventData, LocalTime
from schemas.envelope import Event
from schemas.leads import CallOfLead, LeadAttempted, LeadContacted, LeadEvent, LeadSnapshot
from schemas.touches import TimerDue, TouchResult, TouchSent
from services.sequencer.adapters.cadences import load_cadences
from services.sequencer.domain.effects import Effect
from services.sequencer.domain.machine import decide
from services.sequencer.domain.row import EMPTY, Row
from services.sequencer.domain.transitions import Decision

CADENCES = load_cadences()
CALLER = "+12125550123"
KEY = ids.partition_key("acme", CALLER)
LEAD = ids.lead_id("acme:twilio:CA1")
T0 = datetime(2026, 7, 1, 15, 0, tzinfo=UTC)
DAY = date(2026, 7, 1)
MORNING = LocalTime(on=date(2026, 7, 2), at=time(8, 30), zone="America/New_York")


def sequence_of(day: date = DAY) -> str:
    """Return the id of the missed-call sequence of a day."""
    return ids.sequence_id(LEAD, "missed-call", day)


def envelope(data: EventData, id_: str, at: datetime, source: str = "test") -> Event[EventData]:
    """Return the event around data."""
    return Event(
        id=id_,
        data=data,
        source=source,
        time=at,
        key=KEY,
        lender_id="acme",
        branch_id="nyc",
        received_at=T0,
        traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    )


def lead_data(kind: type[LeadEvent], seq: int, at: datetime, texting: str, fields: dict[str, Any]) -> LeadEvent:
    """Return the data of a leads event, every field that its type needs filled in."""
    snapshot = LeadSnapshot(lead_id=LEAD, caller=CALLER, branch_id="nyc", first_contact_at=T0, opened_by_call="CA1")
    known: dict[str, Any] = {
        "call": CallOfLead(call_id=f"CA{seq}", outcome="missed", ended_at=at - timedelta(seconds=1)),
        "local_day": at.date(),
        "callback_morning": MORNING.model_copy(update={"on": at.date() + timedelta(days=1)}),
        "owner_id": "o1",
        "message_id": f"SM{seq}",
        "outcome": "no_answer",
        "reason": "done",
    }
    if kind in (LeadContacted, LeadAttempted):
        known.pop("owner_id")
    return kind.model_validate(
        {
            **known,
            **fields,
            "lead_id": LEAD,
            "lead_seq": seq,
            "caller": CALLER,
            "texting": texting,
            "cause": f"cause{seq}",
            "lead": snapshot,
        }
    )


def lead(kind: type[LeadEvent], seq: int, at: datetime = T0, texting: str = "open", **fields: Any) -> Event[EventData]:
    """Return a leads event."""
    return envelope(lead_data(kind, seq, at, texting, fields), f"{LEAD}:{seq}", at)


def result(
    kind: type[TouchResult], step: str, at: datetime, /, attempt: int = 1, day: date = DAY, **fields: Any
) -> Event[EventData]:
    """Return what the notifier says of a touch."""
    touch = ids.touch_id(sequence_of(day), step, attempt)
    if kind is TouchSent:
        fields = {
            "sid": "SM1",
            "body": "hi",
            "template": "missed_call_first",
            "template_version": 1,
            "variant": "free",
            "sent_at": at,
            "from_number": "+12125550100",
            **fields,
        }
    data = kind.model_validate(
        {
            "touch_id": touch,
            "lead_id": LEAD,
            "caller": CALLER,
            "sequence_id": sequence_of(day),
            "step": step,
            "attempt": attempt,
            **fields,
        }
    )
    return envelope(data, f"{touch}:{kind.TYPE}", at, "ringback/notifier")


def tick(step: str, at: datetime, attempt: int = 1, day: date = DAY) -> Event[EventData]:
    """Return a timekeeper's tick."""
    timer = ids.timer_id(sequence_of(day), step, attempt)
    return envelope(TimerDue(timer_id=timer, due_at=at, step=step), timer, at, "ringback/timekeeper")


def played(*events: Event[EventData], row: Row = EMPTY) -> tuple[Row, list[Decision]]:
    """Return the row and every decision after the events."""
    decisions = []
    for event in events:
        decisions.append(decide(row, event, CADENCES))
        row = decisions[-1].row
    return row, decisions


def effects_of(*events: Event[EventData]) -> tuple[Effect, ...]:
    """Return the effects of the last event."""
    return played(*events)[1][-1].effects
