"""One touch on its way to a phone: the row of the notifier's state machine, as `deliveries` keeps it."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from schemas.base import Audience, EventData, Lane
from schemas.envelope import Event
from schemas.touches import TouchDue, TouchResult


class DeliveryState(StrEnum):
    """Where a delivery stands. Only `accepted` may be taken over by another instance."""

    ACCEPTED = "accepted"
    POSTING = "posting"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Result:
    """An event for `touch-results` that the broker has not yet acknowledged."""

    id: str
    data: TouchResult
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedText:
    """A rendered text, with all that is needed to say later why it read like this."""

    to: str
    from_number: str
    body: str
    template: str
    version: int
    variant: str
    rule: str
    rule_version: int
    segments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery. Times named `*_real` are the machine's, all others virtual; `rev` guards every write."""

    touch_id: str
    lender_id: str
    key: str
    branch_id: str
    caller: str
    lead_id: str
    sequence_id: str
    step: str
    attempt: int
    audience: Audience
    template: str
    lane: Lane
    lead_seq: int
    due_at: datetime
    not_before: datetime
    expires_at: datetime
    at: datetime
    state: DeliveryState = DeliveryState.ACCEPTED
    rev: int = 1
    first_of_sequence: bool = False
    base_at: datetime | None = None
    traceparent: str = ""
    # which instance works on it
    claim_by: str | None = None
    claim_until_real: datetime | None = None
    tries: int = 0
    # the text
    to: str | None = None
    from_number: str | None = None
    body: str | None = None
    variant: str | None = None
    template_version: int | None = None
    rule: str | None = None
    rule_version: int | None = None
    segments: int | None = None
    # what became of it
    sent_key: str | None = None
    post_by_real: datetime | None = None
    posting_at: datetime | None = None
    doubt_answered: bool = False
    resent: bool = False
    sid: str | None = None
    sent_at: datetime | None = None
    receipt_status: str | None = None
    receipt_rank: int = 0
    error_code: int | None = None
    reason: str | None = None
    until: datetime | None = None
    ended_at: datetime | None = None
    # the stages that latency is measured by: webhook -> accepted here -> claimed -> request -> answer
    received_real: datetime | None = None
    accepted_real: datetime | None = None
    claimed_real: datetime | None = None
    posted_real: datetime | None = None
    answered_real: datetime | None = None
    # results that the broker has acknowledged, and after them those that it has not; each oldest first
    told: tuple[Result, ...] = ()
    outbox: tuple[Result, ...] = ()
    outbox_since_real: datetime | None = None

    @property
    def step_key(self) -> str:
        """What at most one delivery may hold as `sent_key`: one text per step of a sequence."""
        return f"{self.sequence_id}:{self.step}"

    @property
    def of_cadence(self) -> bool:
        """Whether it is a step of a cadence; a text outside one has the lead's id for its sequence (design 2)."""
        return self.sequence_id != self.lead_id

    @classmethod
    def of(cls, event: Event[EventData], due: TouchDue, now: datetime, real_now: datetime) -> "Delivery":
        """Return the delivery of a touch that has just been read."""
        return cls(
            touch_id=due.touch_id,
            lender_id=event.lender_id,
            key=event.key.decode(),
            branch_id=event.branch_id,
            caller=due.caller,
            lead_id=due.lead_id,
            sequence_id=due.sequence_id,
            step=due.step,
            attempt=due.attempt,
            audience=due.audience,
            template=due.template,
            lane=due.lane,
            lead_seq=due.lead_seq,
            due_at=due.due_at,
            not_before=due.due_at,
            expires_at=due.expires_at,
            at=now,
            base_at=due.base_at,
            first_of_sequence=due.first_of_sequence,
            traceparent=event.traceparent,
            received_real=event.received_at,
            accepted_real=real_now,
        )

    def claimed(self, by: str, until_real: datetime, real_now: datetime) -> "Delivery":
        """Return the delivery as one worker's until then."""
        return replace(self, claim_by=by, claim_until_real=until_real, claimed_real=real_now)
