"""`messages`: one document per text, theirs and ours, and per touch of ours that was held or dropped."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from schemas.base import EventData
from schemas.envelope import Event
from schemas.inbound import ReplyReceived
from schemas.touches import TouchFailed, TouchResult, TouchSent, TouchSuppressed
from services.leads.domain.model import Cause
from services.policy.optout import Keyword

TouchRecordState = Literal["sent", "held", "dropped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A borrower's text as it was read; field names are the document's own (`services.leads.adapters.documents`)."""

    event_id: str
    lender_id: str
    caller: str
    at: datetime
    body: str
    message_id: str
    to: str
    keyword: Keyword
    intents: tuple[str, ...] = ()
    media_count: int = 0
    event_at: datetime
    ringback_received: datetime | None = None
    traceparent: str = ""
    direction: Literal["in"] = "in"
    state: Literal["received"] = "received"

    @property
    def cause(self) -> Cause:
        """The text as the cause of what follows."""
        return Cause(self.event_id, self.ringback_received, self.traceparent)


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchRecord:
    """A text of ours that was sent, or one that was held, dropped or refused."""

    event_id: str
    lender_id: str
    caller: str
    lead_id: str
    touch_id: str
    sequence_id: str
    step: str
    attempt: int
    state: TouchRecordState
    at: datetime
    body: str | None = None
    sid: str | None = None
    template: str | None = None
    template_version: int | None = None
    variant: str | None = None
    from_number: str | None = None
    reason: str | None = None
    error_code: int | None = None
    until: datetime | None = None
    delivered_at: datetime | None = None
    direction: Literal["out"] = "out"


Message = Reply | TouchRecord


def of_reply(event: Event[EventData], reply: ReplyReceived, keyword: Keyword, intents: tuple[str, ...]) -> Reply:
    """Return a borrower's text with what was read in it."""
    return Reply(
        event_id=event.id,
        lender_id=event.lender_id,
        caller=reply.caller,
        at=reply.received_at,
        body=reply.body,
        message_id=reply.message_id,
        to=reply.to,
        keyword=keyword,
        intents=intents,
        media_count=reply.media_count,
        event_at=event.time,
        ringback_received=event.received_at,
        traceparent=event.traceparent,
    )


def of_result(event: Event[EventData], result: TouchResult) -> TouchRecord | None:
    """Return the record of a text of ours, or of one that did not go; None for results that are neither."""
    record = TouchRecord(
        event_id=event.id,
        lender_id=event.lender_id,
        caller=result.caller,
        lead_id=result.lead_id,
        touch_id=result.touch_id,
        sequence_id=result.sequence_id,
        step=result.step,
        attempt=result.attempt,
        state="failed",
        at=event.time,
    )
    match result:
        case TouchSent():
            return replace(
                record,
                state="sent",
                at=result.sent_at,
                body=result.body,
                sid=result.sid,
                template=result.template,
                template_version=result.template_version,
                variant=result.variant,
                from_number=result.from_number,
            )
        case TouchSuppressed():
            state: TouchRecordState = "held" if result.until else "dropped"
            return replace(record, state=state, reason=result.reason, until=result.until)
        case TouchFailed():
            return replace(
                record, sid=result.sid, error_code=result.error_code, reason=result.reason, until=result.until
            )
    return None
