"""What a call makes of a lead: opened, called again, contacted, a voicemail. Facts B1-B4, C11, Q2, Q22."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from schemas.ids import lead_id
from schemas.leads import CallOfLead, LeadAssigned, LeadCalledAgain, LeadContacted, LeadOpened
from services.leads.domain.call_outcome import answered_by, began_at, cause_of_decision, outcome_of, talked_at
from services.leads.domain.messages import Reply
from services.leads.domain.model import CADENCE, DAYS_LIMIT, SEEN_LIMIT, Call, Cause, Lead, LeadChange
from services.leads.domain.outbox import halted, marked, tell
from services.leads.domain.place import Place
from services.leads.domain.tasks import TaskRequest, with_task, without_task
from services.policy.optout import Keyword

_BEGUN_ANEW_BY_A_MISSED_CALL = frozenset({"contacted", "nurturing", "closed"})
"""States that a new missed call takes back to `attempted_contact`; in the others somebody is talking to the borrower."""


def open_lead(
    call: Call,
    caller: str,
    *,
    place: Place,
    owner_id: str | None,
    now: datetime,
    opted_out: bool,
    earlier: Sequence[Reply] = (),
) -> Lead:
    """Return the new lead of a missed call, with its owner, its task, and what it has to tell.

    Args:
        call: decided.
        caller: who called, and is named in the call.
        place: the branch, its day and its next business morning.
        owner_id: who has been taken for it.
        now: virtual.
        opted_out: the number is in `suppressions`: there is a lead and a task, and no text.
        earlier: the caller's texts from before there was a lead.
    """
    cause = cause_of_decision(call)
    lead = replace(
        _new(call, caller, place=place, owner_id=owner_id, opted_out=opted_out, earlier=earlier),
        voicemail=call.voicemail,
        last_call_ended_at=call.over_at,
        sequence_days=_days(place.local_day),
        calls=1,
    )
    lead = with_task(
        lead, TaskRequest(due_at=place.task_due_at or now, reason=_reason(call), voicemails=call.voicemails), now
    )
    lead = tell(
        lead,
        lambda common: LeadOpened(
            **common,
            call=_of_lead(call),
            local_day=place.local_day,
            callback_morning=place.callback_morning,
            cadence=CADENCE,
        ),
        cause,
        now,
    )
    if owner_id is not None:
        lead = tell(lead, lambda common: LeadAssigned(**common, owner_id=owner_id), cause, now)
    return marked(lead, call.decision_id)


def open_for_task(
    call: Call,
    caller: str,
    *,
    place: Place,
    owner_id: str | None,
    now: datetime,
    opted_out: bool,
    earlier: Sequence[Reply] = (),
) -> Lead:
    """Return a lead that is made only for a task about a call in doubt: no `lead.opened`, so no text."""
    lead = _new(call, caller, place=place, owner_id=owner_id, opted_out=opted_out, earlier=earlier)
    lead = in_doubt(replace(lead, source="Inbound call"), call, place, now).lead
    if owner_id is not None:
        lead = tell(lead, lambda common: LeadAssigned(**common, owner_id=owner_id), cause_of_doubt(call), now)
    return lead


def _new(
    call: Call, caller: str, *, place: Place, owner_id: str | None, opted_out: bool, earlier: Sequence[Reply]
) -> Lead:
    return Lead(
        lead_id=lead_id(call.key),
        lender_id=call.lender_id,
        caller=caller,
        branch_id=place.branch_id,
        owner_id=owner_id,
        texting="stopped" if opted_out else "open",
        seen=tuple(text.event_id for text in earlier)[-(SEEN_LIMIT - 1) :],
        first_reply_at=min((text.at for text in earlier if text.keyword is Keyword.NONE), default=None),
        test=call.test,
        opened_by_call=call.key,
        first_contact_at=call.started_at or call.over_at,
        local_day=place.local_day,
    )


def cause_of_doubt(call: Call) -> Cause:
    """Return what follows from a call in doubt: its decision, or that nobody could decide it."""
    decision = cause_of_decision(call)
    return decision if call.outcome else replace(decision, id=f"{call.key}:not_decided")


def in_doubt(lead: Lead, call: Call, place: Place, now: datetime) -> LeadChange:
    """Return the lead with a task, because it is not known whether a person of ours took the call.

    Urgent where nobody can decide the call; where its log is incomplete it is hours old, and the task is due like that of a
    missed call.
    """
    cause = cause_of_doubt(call)
    if cause.id in lead.seen:
        return LeadChange(lead, ignored="duplicate")
    if _talked_since(lead, call):
        return LeadChange(lead, ignored="talked_since")
    if call.outcome:
        due_at = place.task_due_at or now
        request = TaskRequest(due_at=due_at, reason="call_log_incomplete", urgency="high", voicemails=call.voicemails)
    else:
        request = TaskRequest(due_at=now, reason="not_decided", urgency="urgent", voicemails=call.voicemails)
    return LeadChange(marked(with_task(lead, request, now), cause.id))


def call_again(lead: Lead, call: Call, place: Place, now: datetime) -> LeadChange:
    """Return what a further missed call makes of a lead: the task raised, and the sequencer told.

    Args:
        lead: as stored.
        call: decided.
        place: of the lead's branch, at the end of this call.
        now: virtual.
    """
    if call.decision_id in lead.seen:
        return LeadChange(lead, ignored="duplicate")
    if _talked_since(lead, call):
        return LeadChange(lead, ignored="talked_since")
    cause = cause_of_decision(call)
    ended = max(call.over_at, lead.last_call_ended_at or call.over_at)
    lead = replace(
        lead,
        status="attempted_contact" if lead.status in _BEGUN_ANEW_BY_A_MISSED_CALL else lead.status,
        voicemail=call.voicemail or (lead.voicemail and lead.task is not None),
        last_call_ended_at=ended,
        local_day=place.local_day,
        sequence_days=_days(*lead.sequence_days, lead.local_day or place.local_day, place.local_day),
        calls=lead.calls + 1,
    )
    due_at = place.task_due_at or now
    request = TaskRequest(due_at=due_at, reason="called_again", urgency="high", voicemails=call.voicemails)
    lead = with_task(lead, request, now)
    lead = tell(
        lead,
        lambda common: LeadCalledAgain(
            **common,
            call=_of_lead(call),
            local_day=place.local_day,
            callback_morning=place.callback_morning,
            cadence=CADENCE,
        ),
        cause,
        now,
    )
    return LeadChange(marked(lead, call.decision_id))


def _talked_since(lead: Lead, call: Call) -> bool:
    return lead.contacted_at is not None and lead.contacted_at >= began_at(call)


def reassign(lead: Lead, owner_id: str, *, in_place_of: str | None, cause: Cause, now: datetime) -> LeadChange:
    """Return the lead with somebody in place of nobody, or of an officer who has left (fact Q22: every task is owned)."""
    if lead.owner_id != in_place_of:
        return LeadChange(lead, ignored="owned")
    lead = replace(lead, owner_id=owner_id)
    return LeadChange(tell(lead, lambda common: LeadAssigned(**common, owner_id=owner_id), cause, now))


def contact(lead: Lead, call: Call, now: datetime) -> LeadChange:
    """Return what a talk with a person makes of a lead: touches decided before are void, the task is done."""
    if call.contact_id in lead.seen:
        return LeadChange(lead, ignored="duplicate")
    talked = talked_at(call) or call.over_at
    lead = replace(lead, status="contacted", contacted_at=max(talked, lead.contacted_at or talked))
    lead = without_task(lead, "contacted", now)
    lead = tell(
        lead,
        lambda common: LeadContacted(**common, officer_id=answered_by(call), call_id=call.call_id),
        replace(cause_of_decision(call), id=call.contact_id),
        now,
    )
    return LeadChange(marked(halted(lead), call.contact_id))


def add_voicemails(lead: Lead, call: Call, event_id: str, now: datetime) -> LeadChange:
    """Return the lead with a recording, or its words, that came after the call was decided: into the task, no event."""
    if event_id in lead.seen:
        return LeadChange(lead, ignored="duplicate")
    if call.decision_id not in lead.seen:
        return LeadChange(lead, ignored="not_of_this_lead")
    lead = replace(lead, voicemail=lead.voicemail or call.voicemail)
    if lead.task is not None:
        lead = with_task(
            lead, TaskRequest(due_at=lead.task.due_at, reason="voicemail", voicemails=call.voicemails), now
        )
    return LeadChange(marked(lead, event_id))


def _days(*days: str | date) -> tuple[str, ...]:
    return tuple(sorted({str(day) for day in days}))[-DAYS_LIMIT:]


def _reason(call: Call) -> str:
    return "voicemail" if call.voicemail else f"{call.outcome}_call"


def _of_lead(call: Call) -> CallOfLead:
    return CallOfLead(
        call_id=call.call_id,
        outcome=call.outcome or outcome_of(call),
        voicemail=call.voicemail,
        ended_at=call.over_at,
        test=call.test,
    )
