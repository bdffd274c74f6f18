"""What a touch's result makes of a lead: its summary, its task, and after a carrier's block an opt-out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from schemas.ids import sequence_id
from schemas.touches import TouchDelivered, TouchFailed, TouchResult, TouchSent, TouchSuppressed, TouchTaskRequested
from services.leads.domain.model import CADENCE, STEPS_LIMIT, Cause, Lead, LeadChange, StepStanding, TouchState, Urgency
from services.leads.domain.outbox import marked
from services.leads.domain.replies import opt_out
from services.leads.domain.tasks import TaskRequest, with_task
from services.policy.optout import CODE_OF_CARRIER_OPT_OUT

_ORDER_OF_STATES: Final[Mapping[TouchState, int]] = {"suppressed": 0, "sent": 1, "failed": 2, "delivered": 3}


def is_opt_out(result: TouchResult) -> bool:
    """Return whether the result proves an opt-out."""
    return isinstance(result, TouchFailed) and result.error_code == CODE_OF_CARRIER_OPT_OUT


def apply_result(lead: Lead, result: TouchResult, cause: Cause, *, at: datetime, now: datetime) -> LeadChange:
    """Return what a result makes of the lead.

    A repetition changes nothing, also when `seen` has forgotten it: results are folded by sequence, step, attempt and
    state, with the times of the first.

    Args:
        lead: as stored.
        result: the touch's.
        cause: the result's event.
        at: that event's own time.
        now: virtual.
    """
    if cause.id in lead.seen:
        return LeadChange(lead, ignored="duplicate")
    lead = marked(lead, cause.id)
    match result:
        case TouchTaskRequested():
            return _task(lead, result, now)
        case TouchSent():
            return LeadChange(_sent(lead, result))
        case TouchDelivered():
            return LeadChange(_stand(lead, result, "delivered", result.delivered_at))
        case TouchSuppressed():
            return LeadChange(_stand(lead, result, "suppressed", at, result.reason))
        case TouchFailed():
            lead = _stand(lead, result, "failed", at, str(result.error_code or result.reason))
            opted_in_since = lead.opted_in_at is not None and lead.opted_in_at > at
            if is_opt_out(result) and lead.texting != "stopped" and not opted_in_since:
                return opt_out(lead, result.touch_id, cause, now)
            return LeadChange(lead)
    return LeadChange(lead, ignored="unknown_result")


def _sent(lead: Lead, result: TouchSent) -> Lead:
    if _is_old(lead, result, result.sent_at):
        return lead
    old = lead.touches.get(result.step) if result.sequence_id == lead.sequence_id else None
    if old is not None and (old.attempt, old.sent_at is not None) >= (result.attempt, True):
        return lead
    lead = replace(
        lead,
        texts=lead.texts + 1,
        first_text_at=min(lead.first_text_at or result.sent_at, result.sent_at),
        last_text_at=max(lead.last_text_at or result.sent_at, result.sent_at),
    )
    lead = _stand(lead, result, "sent", result.sent_at)
    standing = lead.touches.get(result.step)
    if standing is None:
        return lead  # more steps than a lead keeps
    return replace(lead, touches={**lead.touches, result.step: replace(standing, sent_at=result.sent_at)})


def _is_old(lead: Lead, result: TouchResult, at: datetime) -> bool:
    """Return whether a result is of no sequence, or of one that a newer one has followed."""
    if result.sequence_id == lead.lead_id:
        return True  # a touch outside of a cadence stands nowhere
    if lead.sequence_id is None or result.sequence_id == lead.sequence_id:
        return False
    ids = [sequence_id(lead.lead_id, CADENCE, date.fromisoformat(day)) for day in lead.sequence_days]
    if lead.sequence_id in ids and result.sequence_id in ids:
        return ids.index(result.sequence_id) < ids.index(lead.sequence_id)
    return any(standing.at > at for standing in lead.touches.values())


def _stand(lead: Lead, result: TouchResult, state: TouchState, at: datetime, reason: str | None = None) -> Lead:
    if _is_old(lead, result, at):
        return lead
    if result.sequence_id != lead.sequence_id:
        lead = replace(lead, sequence_id=result.sequence_id, touches={})
    old = lead.touches.get(result.step)
    if old and (old.attempt, _ORDER_OF_STATES[old.state]) >= (result.attempt, _ORDER_OF_STATES[state]):
        return lead  # results may overtake each other and repeat; a text that was delivered stays so
    if old is None and len(lead.touches) >= STEPS_LIMIT:
        return lead
    sent_at = old.sent_at if old and old.attempt == result.attempt else None
    standing = StepStanding(
        touch_id=result.touch_id, attempt=result.attempt, state=state, at=at, reason=reason, sent_at=sent_at
    )
    return replace(lead, touches={**lead.touches, result.step: standing})


def _task(lead: Lead, result: TouchTaskRequested, now: datetime) -> LeadChange:
    is_over = lead.status in ("contacted", "closed")
    if is_over and (result.kind == "text_not_sent" or lead.task is None):
        # The step was on its way while a person talked to the borrower: what it asks for is done (fact Q22).
        return LeadChange(lead, ignored="task_done")
    if result.kind == "text_not_sent" and lead.texting == "stopped":
        return LeadChange(lead, ignored="texting_stopped")  # the borrower wants no text; the task that is open says so
    due = result.due.utc() if result.due else result.due_at
    urgency: Urgency = "urgent" if result.urgent else "normal"
    return LeadChange(
        with_task(lead, TaskRequest(due_at=due, reason=result.reason, urgency=urgency, kind=result.kind), now)
    )
