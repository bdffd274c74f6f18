"""What a borrower's text makes of a lead: one text, one event, the strongest it can be."""

from dataclasses import replace
from datetime import datetime

from schemas.leads import Answers, LeadOptedIn, LeadOptedOut, LeadReplied
from services.leads.domain.intents import purpose_of
from services.leads.domain.messages import Reply
from services.leads.domain.model import Cause, Lead, LeadChange
from services.leads.domain.outbox import halted, marked, tell
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


def opt_out(lead: Lead, message_id: str, cause: Cause, now: datetime) -> LeadChange:
    """Return the lead with no more texts. The task stays and says why: a person may have promised a call."""
    lead = replace(lead, texting="stopped")
    if lead.task is not None:
        lead = with_task(lead, TaskRequest(lead.task.due_at, "opted_out"), now)
    answers = Answers(purpose=lead.purpose)
    lead = tell(lead, lambda common: LeadOptedOut(**common, message_id=message_id, answers=answers), cause, now)
    return LeadChange(halted(marked(lead, cause.id)))


def _opt_in(lead: Lead, reply: Reply, now: datetime) -> LeadChange:
    lead = replace(lead, texting="open")
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
    lead = with_task(lead, TaskRequest(now, reason, urgency="high"), now)
    answers = Answers(purpose=lead.purpose)
    lead = tell(
        lead,
        lambda common: LeadReplied(**common, message_id=reply.message_id, intents=reply.intents, answers=answers),
        reply.cause,
        now,
    )
    return LeadChange(halted(lead))
