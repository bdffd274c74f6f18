"""What a borrower's text makes of a lead: one text, one event, the strongest it can be."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from schemas.ids import lead_id
from schemas.leads import Answers, LeadAssigned, LeadOptedIn, LeadOptedOut, LeadReplied
from services.leads.domain.intents import purpose_of
from services.leads.domain.messages import Reply
from services.leads.domain.model import SEEN_LIMIT, Cause, Lead, LeadChange
from services.leads.domain.outbox import halted, marked, tell
from services.leads.domain.place import Place
from services.leads.domain.tasks import TaskRequest, with_task
from services.policy.optout import Keyword


def in_context(keyword: Keyword, *, opted_out: bool) -> Keyword:
    """Return the keyword as this borrower means it: YES takes an opt-out back; without an opt-out it is an answer."""
    if keyword is not Keyword.YES:
        return keyword
    return Keyword.START if opted_out else Keyword.NONE


def apply_reply(lead: Lead, reply: Reply, now: datetime) -> LeadChange:
    """Return what the text makes of the lead."""
    cause = reply.cause
    if cause.id in lead.seen:
        return LeadChange(lead, ignored="duplicate")
    lead = marked(replace(lead, replies=lead.replies + 1, last_reply_at=reply.at), cause.id)
    match reply.keyword:
        case Keyword.STOP:
            return opt_out(lead, reply.message_id, cause, now)
        case Keyword.START:
            return _opt_in(lead, reply, now)
        case Keyword.HELP:
            # The carrier answers HELP itself; it halts nothing and nobody has to act on it.
            return LeadChange(lead)
    return _answer(lead, reply, now)


def open_by_text(
    reply: Reply,
    *,
    place: Place,
    owner_id: str | None,
    now: datetime,
    opted_out: bool,
    earlier: Sequence[Reply] = (),
) -> Lead:
    """Return the lead of a text from someone who has none: owned, with a task, and without a `lead.opened`.

    So no "sorry I missed your call" starts. Its id comes from the text's event, and `opened_by_call` names that.

    Args:
        reply: the text; it is an answer, not a word that only steers texting.
        place: the branch that was texted, and its day.
        owner_id: who has been taken for it.
        now: virtual.
        opted_out: the number is in `suppressions`: there is a lead and a task, and no text.
        earlier: the caller's texts from before, this one among them or not.
    """
    lead = Lead(
        lead_id=lead_id(reply.event_id),
        lender_id=reply.lender_id,
        caller=reply.caller,
        branch_id=place.branch_id,
        owner_id=owner_id,
        source="Inbound text",
        texting="stopped" if opted_out else "open",
        seen=tuple(text.event_id for text in earlier if text.event_id != reply.event_id)[-(SEEN_LIMIT - 1) :],
        first_reply_at=min((text.at for text in earlier if text.keyword is Keyword.NONE), default=None),
        opened_by_call=f"text:{reply.event_id}",
        first_contact_at=reply.at,
        local_day=place.local_day,
    )
    lead = apply_reply(lead, reply, now).lead
    if owner_id is not None:
        lead = tell(lead, lambda common: LeadAssigned(**common, owner_id=owner_id), reply.cause, now)
    return lead


def opt_out(lead: Lead, message_id: str, cause: Cause, now: datetime) -> LeadChange:
    """Return the lead with no more texts. The task stays and says why: a person may have promised a call."""
    lead = replace(lead, texting="stopped")
    if lead.task is not None:
        lead = with_task(lead, TaskRequest(due_at=lead.task.due_at, reason="opted_out"), now)
    answers = Answers(purpose=lead.purpose)
    lead = tell(lead, lambda common: LeadOptedOut(**common, message_id=message_id, answers=answers), cause, now)
    return LeadChange(halted(marked(lead, cause.id)))


def _opt_in(lead: Lead, reply: Reply, now: datetime) -> LeadChange:
    opted_in_at = max(reply.event_at, lead.opted_in_at or reply.event_at)
    lead = replace(lead, texting="open", opted_in_at=opted_in_at)
    answers = Answers(purpose=lead.purpose)
    lead = tell(
        lead, lambda common: LeadOptedIn(**common, message_id=reply.message_id, answers=answers), reply.cause, now
    )
    return LeadChange(halted(lead))


def _answer(lead: Lead, reply: Reply, now: datetime) -> LeadChange:
    lead = replace(
        lead,
        first_reply_at=min(lead.first_reply_at or reply.at, reply.at),
        status=lead.status if lead.status == "handed_over" else "conversing",
        purpose=purpose_of(reply.intents) or lead.purpose,
    )
    reason = "callback_asked" if "callback" in reply.intents else "replied"
    lead = with_task(lead, TaskRequest(due_at=now, reason=reason, urgency="high"), now)
    answers = Answers(purpose=lead.purpose)
    lead = tell(
        lead,
        lambda common: LeadReplied(**common, message_id=reply.message_id, intents=reply.intents, answers=answers),
        reply.cause,
        now,
    )
    return LeadChange(halted(lead))
