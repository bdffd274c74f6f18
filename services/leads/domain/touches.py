"""What a touch's result makes of a lead: its summary, its task, and after a carrier's block an opt-out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from schemas.touches import TouchDelivered, TouchFailed, TouchResult, TouchSent, TouchSuppressed, TouchTaskRequested
from services.leads.domain.model import STEPS_LIMIT, Cause, Lead, LeadChange, StepStanding, TouchState, Urgency
from services.leads.domain.outbox import marked
from services.leads.domain.replies import opt_out
from services.leads.domain.tasks import TaskRequest, with_task

RECIPIENT_OPTED_OUT: Final = 21610
"""Twilio's error code for a recipient who has told the carrier STOP: an opt-out that nobody has told us."""

_ORDER_OF_STATES: Final[Mapping[TouchState, int]] = {"suppressed": 0, "sent": 1, "failed": 2, "delivered": 3}


def is_opt_out(result: TouchResult) -> bool:
    """Return whether the result proves an opt-out."""
    return isinstance(result, TouchFailed) and result.error_code == RECIPIENT_OPTED_OUT


def apply_result(lead: Lead, result: TouchResult, cause: Cause, now: datetime) -> LeadChange:
    """Return what a result makes of the lead."""
    if cause.id in lead.seen:
        return LeadChange(lead, ignored="duplicate")
    lead = marked(lead, cause.id)
    match result:
        case TouchTaskRequested():
            return _task(lead, result, now)
        case TouchSent():
            first = lead.first_text_at or result.sent_at
            lead = replace(lead, texts=lead.texts + 1, first_text_at=first)
            return LeadChange(_stand(lead, result, "sent", result.sent_at))
        case TouchDelivered():
            return LeadChange(_stand(lead, result, "delivered", result.delivered_at))
        case TouchSuppressed():
            return LeadChange(_stand(lead, result, "suppressed", now, result.reason))
        case TouchFailed():
            lead = _stand(lead, result, "failed", now, str(result.error_code or result.reason))
            if is_opt_out(result) and lead.texting != "stopped":
                return opt_out(lead, result.touch_id, cause, now)
            return LeadChange(lead)
    return LeadChange(lead, ignored="unknown_result")


def _stand(lead: Lead, result: TouchResult, state: TouchState, at: datetime, reason: str | None = None) -> Lead:
    if result.sequence_id != lead.sequence_id:
        lead = replace(lead, sequence_id=result.sequence_id, touches={})
    old = lead.touches.get(result.step)
    if old and (old.attempt, _ORDER_OF_STATES[old.state]) > (result.attempt, _ORDER_OF_STATES[state]):
        return lead  # results may overtake each other; a text that was delivered stays so
    if old is None and len(lead.touches) >= STEPS_LIMIT:
        return lead
    standing = StepStanding(touch_id=result.touch_id, attempt=result.attempt, state=state, at=at, reason=reason)
    return replace(lead, touches={**lead.touches, result.step: standing})


def _task(lead: Lead, result: TouchTaskRequested, now: datetime) -> LeadChange:
    if lead.task is None and lead.status in ("contacted", "closed") and result.kind == "callback":
        # The step was on its way while a person talked to the borrower: what it asks for is done (fact Q22).
        return LeadChange(lead, ignored="task_done")
    due = result.due.utc() if result.due else result.due_at
    urgency: Urgency = "urgent" if result.urgent else "normal"
    return LeadChange(with_task(lead, TaskRequest(due, result.reason, urgency=urgency, kind=result.kind), now))
