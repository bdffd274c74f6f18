"""The provider's lists of calls and messages, read as the same facts that webhooks would have told, under the same ids.

What was pressed on an officer's phone is in no list, so the end of a leg says that it was `listed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.base import EventData
from schemas.calls import CallEnded, CallLegEnded, CallStarted
from schemas.inbound import ReceiptReceived, ReplyReceived
from services.ingest.domain.fields import is_close, one_of
from services.ingest.domain.lender import Lender
from services.ingest.domain.reading import Draft
from services.ingest.domain.twilio_calls import FINAL, draft_of, fields_of
from services.ingest.domain.twilio_texts import STATUSES
from services.policy.numbers import normalize_caller

SETTLED = frozenset({"delivered", "undelivered", "failed", "canceled", "read"})
"""Statuses of a text that is over; the others are not worth a receipt this late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCall:
    """A call that is over, or one leg of it, as the provider lists it."""

    sid: str
    parent_sid: str | None
    caller: str
    dialed: str
    status: str
    started_at: datetime
    ended_at: datetime
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMessage:
    """A text, as the provider lists it."""

    sid: str
    is_inbound: bool
    sender: str
    to: str
    body: str
    status: str
    at: datetime
    media_count: int = 0
    error_code: int | None = None


def started_id(call: ListedCall) -> str:
    """Return the id of a call's first event."""
    return f"twilio:{call.sid}:started"


def facts_of_call(
    call: ListedCall, legs: Sequence[ListedCall], lender: Lender, now: datetime
) -> list[Draft[EventData]]:
    """Return what the webhooks of a call would have told.

    Args:
        call: the borrower's own call.
        legs: those of its legs that are known; `legs_dialled` is their number.
        lender: whose numbers count; a call to any other number is none of ours.
        now: the event time of what is long past.
    """
    number = normalize_caller(call.dialed).e164
    branch = lender.directory.branch_by_number(number) if number else None
    status = one_of(call.status, FINAL)
    if number is None or branch is None or status is None:
        return []
    caller = normalize_caller(call.caller)
    fields = fields_of(call.sid, caller, lender, number)
    started = CallStarted(**fields, legs_dialled=min(len(legs), 32), started_at=call.started_at)
    ended = CallEnded(**fields, status=status, duration_s=call.duration_s, ended_at=call.ended_at)
    drafts: list[Draft[EventData]] = []
    officers = {officer.phone: officer.id for officer in lender.directory.officers_of(branch.id)}
    for leg in legs:
        leg_status = one_of(leg.status, FINAL)
        if leg_status is not None:
            end = CallLegEnded(
                **fields_of(call.sid, caller, lender),
                leg_id=leg.sid,
                officer_id=officers.get(normalize_caller(leg.dialed).e164 or ""),
                status=leg_status,
                ended_at=leg.ended_at,
                listed=True,
            )
            at = _time(leg.ended_at, now)
            drafts.append(draft_of(f"twilio:{leg.sid}:ended", end, at=at, branch_id=branch.id))
    # The ends of the legs are first. A call whose start and end are known is decided within seconds, and a webhook may have
    # told either of them: that a phone was picked up must be known by then.
    drafts.append(draft_of(started_id(call), started, at=_time(call.started_at, now), branch_id=branch.id))
    drafts.append(
        draft_of(f"twilio:{call.sid}:ended:{status}", ended, at=_time(call.ended_at, now), branch_id=branch.id)
    )
    return drafts


def facts_of_message(message: ListedMessage, lender: Lender, now: datetime) -> list[Draft[EventData]]:
    """Return what the webhook of a text would have told: a borrower's text, or how one of ours ended."""
    sender, to = normalize_caller(message.sender).e164, normalize_caller(message.to).e164
    at = _time(message.at, now)
    if message.is_inbound:
        if sender is None or to is None:
            return []
        branch = lender.directory.branch_by_number(to)
        reply = ReplyReceived(
            message_id=message.sid,
            caller=sender,
            to=to,
            body=message.body[:10_000],
            media_count=max(0, message.media_count),
            received_at=message.at,
            listed=True,
        )
        id_, branch_id = f"twilio:{message.sid}:received", branch.id if branch else ""
        return [Draft(id=id_, data=reply, time=at, branch_id=branch_id, caller=sender)]
    status = one_of(message.status, STATUSES)
    if to is None or status is None or status not in SETTLED:
        return []
    receipt = ReceiptReceived(
        sid=message.sid, status=status, error_code=message.error_code, to=to, received_at=message.at
    )
    return [Draft(id=f"twilio:{message.sid}:{status}", data=receipt, time=at, caller=to)]


def _time(said: datetime, now: datetime) -> datetime:
    return said if is_close(said, now) else now
