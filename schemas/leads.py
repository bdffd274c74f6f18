"""`leads`: what became of a borrower; the events of one lead leave in the order of `lead_seq`."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import Field

from schemas.base import E164, EventData, Id, Instant, LocalTime, Texting, Value

LeadStatus = Literal["attempted_contact", "conversing", "handed_over", "contacted", "nurturing", "closed"]
CallOutcome = Literal["answered", "missed", "abandoned"]


class LeadSnapshot(Value):
    """The lead as it stood right after this event, for CRMs and warehouses."""

    lead_id: Id
    caller: E164
    branch_id: Id
    name: str | None = None
    source: str = "Inbound missed call"
    status: LeadStatus = "attempted_contact"
    owner_id: Id | None = None
    first_contact_at: Instant
    opened_by_call: Id
    task_due: Instant | None = None


class LeadEvent(EventData):
    """What every `leads` event carries. Readers ignore a `lead_seq` they have passed."""

    TOPIC: ClassVar[str] = "leads"

    lead_id: Id
    lead_seq: int = Field(ge=1)
    caller: E164
    texting: Texting
    cause: Id = Field(description="ce_id of the event, or the request, that led to this one")
    lead: LeadSnapshot


class CallOfLead(Value):
    """The call behind a lead event."""

    call_id: Id
    outcome: CallOutcome
    voicemail: bool = False
    ended_at: Instant
    test: bool = False


class LeadOpened(LeadEvent):
    """A missed call that starts a recovery: the caller's first, or one on a later day."""

    TYPE: ClassVar[str] = "lead.opened"
    call: CallOfLead
    local_day: date = Field(description="the day in the zone of the lead's branch, computed once, here")
    callback_morning: LocalTime = Field(description="next business morning of the branch")
    cadence: str = "missed-call"


class LeadCalledAgain(LeadEvent):
    """A missed call of a borrower who already is a lead; the sequencer decides whether the day allows a sequence."""

    TYPE: ClassVar[str] = "lead.called_again"
    call: CallOfLead
    local_day: date
    callback_morning: LocalTime
    cadence: str = "missed-call"


class LeadAssigned(LeadEvent):
    """The lead has a (new) owner."""

    TYPE: ClassVar[str] = "lead.assigned"
    owner_id: Id


class Answers(Value):
    """What the borrower has told us so far."""

    purpose: Literal["purchase", "refinance"] | None = None
    timeline: str | None = None
    property_state: str | None = None


class LeadSpoke(LeadEvent):
    """Base of what a borrower's text can become: one reply makes exactly one of these, the strongest."""

    message_id: Id
    intents: tuple[str, ...] = ()
    answers: Answers = Answers()
    questions_open: tuple[str, ...] = ()
    callback_at: Instant | None = None


class LeadReplied(LeadSpoke):
    """The borrower wrote back."""

    TYPE: ClassVar[str] = "lead.replied"


class LeadQualified(LeadSpoke):
    """The borrower answered what we ask."""

    TYPE: ClassVar[str] = "lead.qualified"


class LeadHandedOver(LeadSpoke):
    """From here on a person writes."""

    TYPE: ClassVar[str] = "lead.handed_over"
    reason: str = ""


class LeadOptedOut(LeadSpoke):
    """No more texts to this number, from anyone here."""

    TYPE: ClassVar[str] = "lead.opted_out"


class LeadOptedIn(LeadSpoke):
    """The borrower took an opt-out back."""

    TYPE: ClassVar[str] = "lead.opted_in"


class LeadAttempted(LeadEvent):
    """An officer tried to reach the borrower and did not; no `next_at` left means nurturing."""

    TYPE: ClassVar[str] = "lead.attempted"
    outcome: str
    next_at: Instant | None = None


class LeadContacted(LeadEvent):
    """A person of ours talked to the borrower."""

    TYPE: ClassVar[str] = "lead.contacted"
    officer_id: Id | None = None
    call_id: Id | None = None


class LeadClosed(LeadEvent):
    """The matter is over."""

    TYPE: ClassVar[str] = "lead.closed"
    reason: str


LEAD_EVENTS: tuple[type[LeadEvent], ...] = (
    LeadOpened, LeadCalledAgain, LeadAssigned, LeadReplied, LeadQualified, LeadHandedOver, LeadOptedOut, LeadOptedIn,
    LeadAttempted, LeadContacted, LeadClosed,
)  # fmt: skip
