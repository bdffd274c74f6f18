"""`messages`: one document per text, theirs and ours, and per touch of ours that was held or dropped."""

from datetime import datetime
from typing import Any

from schemas.base import EventData
from schemas.envelope import Event
from schemas.inbound import ReplyReceived
from schemas.touches import TouchFailed, TouchResult, TouchSent, TouchSuppressed
from services.policy.optout import Keyword

Message = dict[str, Any]
"""Fields: `_id` (the event's id), lender_id, caller, direction `in | out`, state, at, and what the kind has to say."""


def of_reply(event: Event[EventData], reply: ReplyReceived, keyword: Keyword, intents: tuple[str, ...]) -> Message:
    """Return the document of a borrower's text."""
    return {
        "_id": event.id,
        "lender_id": event.lender_id,
        "caller": reply.caller,
        "direction": "in",
        "state": "received",
        "at": reply.received_at,
        "body": reply.body,
        "message_id": reply.message_id,
        "to": reply.to,
        "keyword": keyword.value,
        "intents": list(intents),
        "media_count": reply.media_count,
        "event_at": event.time,
        "ringback_received": event.received_at,
        "traceparent": event.traceparent,
    }


def of_result(event: Event[EventData], result: TouchResult) -> Message | None:
    """Return the document of a text of ours, or of one that did not go; None for results that are neither."""
    common: Message = {
        "_id": event.id,
        "lender_id": event.lender_id,
        "caller": result.caller,
        "lead_id": result.lead_id,
        "direction": "out",
        "touch_id": result.touch_id,
        "sequence_id": result.sequence_id,
        "step": result.step,
        "attempt": result.attempt,
    }
    match result:
        case TouchSent():
            return {
                **common, "state": "sent", "at": result.sent_at, "body": result.body, "sid": result.sid,
                "template": result.template, "template_version": result.template_version, "variant": result.variant,
                "from": result.from_number,
            }  # fmt: skip
        case TouchSuppressed():
            state = "held" if result.until else "dropped"
            return {**common, "state": state, "at": event.time, "reason": result.reason, "until": result.until}
        case TouchFailed():
            return {
                **common, "state": "failed", "at": event.time, "sid": result.sid, "error_code": result.error_code,
                "reason": result.reason, "until": result.until,
            }  # fmt: skip
    return None


def at_of(message: Message) -> datetime:
    """Return when a message was received or sent."""
    found = message["at"]
    assert isinstance(found, datetime)  # noqa: S101
    return found
