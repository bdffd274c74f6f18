"""What a call makes of a lead: opened, called again, contacted, a voicemail. Facts B1-B4, C11, Q2, Q22."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from schemas.base import LocalTime
from schemas.ids import lead_id
from schemas.leads import CallOfLead, LeadAssigned, LeadCalledAgain, LeadContacted, LeadOpened
from services.leads.domain.calls import answered_by
from services.leads.domain.model import SEEN_LIMIT, Call, Cause, Change, Lead
from services.leads.domain.outbox import halted, marked, tell
from services.leads.domain.tasks import TaskRequest, with_task, without_task

_BACK_AT_START = frozenset({"contacted", "nurturing", "closed"})
"""States that a new missed call ends; in the others (a conversation, a handover) somebody is at it already."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the directory says of the lead's branch at the end of the call."""

    branch_id: str
    local_day: date
    callback_morning: LocalTime


@dataclass(frozen=True, slots=True)
class EarlierText:
    """A borrower's text from before there was a lead; `is_reply` is false for STOP, START and HELP."""

    event_id: str
    at: datetime
    is_reply: bool


def cause_of(call: Call, cause_id: str) -> Cause:
    """Return a call as the cause of what follows."""
    return Cause(cause_id, call.received_at, call.traceparent)


def open_lead(
    call: Call,
    place: Place,
    owner_id: str | None,
    now: datetime,
    *,
    opted_out: bool,
    earlier: Sequence[EarlierText] = (),
) -> Lead:
    """Return the new lead of a missed call, with its owner, its task due at once, and what it has to tell.

    Args:
        call: decided, its caller known.
        place: the branch, its day and its next business morning.
        owner_id: who has been taken for it.
        now: virtual.
        opted_out: the number is in `suppressions`: there is a lead and a task, and no text.
        earlier: the caller's texts from before there was a lead.
    """
    assert call.caller is not None  # noqa: S101
    cause = cause_of(call, call.decision_id)
    lead = Lead(
        lead_id(call.key),
        call.lender_id,
        call.caller,
        place.branch_id,
        owner_id=owner_id,
        texting="stopped" if opted_out else "open",
        seen=tuple(text.event_id for text in earlier)[-(SEEN_LIMIT - 1) :],
        voicemail=call.voicemail,
        last_call_ended_at=call.over_at,
        first_reply_at=min((text.at for text in earlier if text.is_reply), default=None),
        test=call.test,
        opened_by_call=call.key,
        first_contact_at=call.started_at or call.over_at,
        local_day=place.local_day,
        calls=1,
    )
    lead = with_task(lead, TaskRequest(now, _reason(call), voicemails=call.voicemails), now)
    lead = tell(lead, LeadOpened, cause, now, call=_of_lead(call), local_day=place.local_day,
                callback_morning=place.callback_morning)  # fmt: skip
    if owner_id is not None:
        lead = tell(lead, LeadAssigned, cause, now, owner_id=owner_id)
    return marked(lead, call.decision_id)


def call_again(lead: Lead, call: Call, place: Place, new_owner_id: str | None, now: datetime) -> Change:
    """Return what a further missed call makes of a lead: the task raised, and the sequencer told.

    Args:
        lead: as stored.
        call: decided.
        place: of the lead's branch, at the end of this call.
        new_owner_id: set only where the lead had nobody.
        now: virtual.
    """
    if call.decision_id in lead.seen:
        return Change(lead, ignored="duplicate")
    cause = cause_of(call, call.decision_id)
    ended = max(call.over_at, lead.last_call_ended_at or call.over_at)
    lead = replace(
        lead,
        status="attempted_contact" if lead.status in _BACK_AT_START else lead.status,
        owner_id=lead.owner_id or new_owner_id,
        voicemail=call.voicemail or (lead.voicemail and lead.task is not None),
        last_call_ended_at=ended,
        local_day=place.local_day,
        calls=lead.calls + 1,
    )
    request = TaskRequest(now, "called_again", urgency="high", voicemails=call.voicemails)
    lead = with_task(lead, request, now)
    lead = tell(lead, LeadCalledAgain, cause, now, call=_of_lead(call), local_day=place.local_day,
                callback_morning=place.callback_morning)  # fmt: skip
    if new_owner_id is not None and lead.owner_id == new_owner_id:
        lead = tell(lead, LeadAssigned, cause, now, owner_id=new_owner_id)
    return Change(marked(lead, call.decision_id))


def contact(lead: Lead, call: Call, now: datetime) -> Change:
    """Return what a talk with a person makes of a lead: older touches are void, the task is done."""
    if call.contact_id in lead.seen:
        return Change(lead, ignored="duplicate")
    lead, closed = without_task(replace(lead, status="contacted", contacted_at=now), "contacted", now)
    lead = tell(
        lead,
        LeadContacted,
        cause_of(call, call.contact_id),
        now,
        officer_id=answered_by(call),
        call_id=call.call_id,
    )
    return Change(marked(halted(lead), call.contact_id), closed)


def add_voicemails(lead: Lead, call: Call, event_id: str, now: datetime) -> Change:
    """Return the lead with a recording, or its words, that came after the call was decided: into the task, no event."""
    if event_id in lead.seen:
        return Change(lead, ignored="duplicate")
    if call.decision_id not in lead.seen:
        return Change(lead, ignored="not_of_this_lead")
    lead = replace(lead, voicemail=lead.voicemail or call.voicemail)
    if lead.task is not None:
        lead = with_task(lead, TaskRequest(lead.task.due_at, "voicemail", voicemails=call.voicemails), now)
    return Change(marked(lead, event_id))


def _reason(call: Call) -> str:
    return "voicemail" if call.voicemail else f"{call.outcome}_call"


def _of_lead(call: Call) -> CallOfLead:
    assert call.outcome is not None  # noqa: S101
    return CallOfLead(
        call_id=call.call_id, outcome=call.outcome, voicemail=call.voicemail, ended_at=call.over_at, test=call.test
    )
