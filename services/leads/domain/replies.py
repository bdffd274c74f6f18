"""What a borrower's text makes of a lead: one text, one event, the strongest it can be."""

from dataclasses import dataclass, replace
from datetime import datetime

from schemas.leads import Answers, LeadOptedIn, LeadOptedOut, LeadReplied
from services.leads.domain.intents import purpose_of
from services.leads.domain.model import Cause, Change, Lead
from services.leads.domain.outbox import halted, marked, tell
from services.leads.domain.tasks import TaskRequest, with_task
from services.policy.optout import Keyword


@dataclass(frozen=True, slots=True)
class Reply:
    """A borrower's text, read."""

    message_id: str
    keyword: Keyword
    intents: tuple[str, ...]
    at: datetime


def in_context(keyword: Keyword, *, opted_out: bool) -> Keyword:
    """Return the keyword as this borrower means it: YES takes an opt-out back, and is else an answer."""
    if keyword is not Keyword.YES:
        return keyword
    return Keyword.START if opted_out else Keyword.NONE


def apply_reply(lead: Lead, text: Reply, cause: Cause, now: datetime) -> Change:
    """Return what the text makes of the lead."""
    if cause.id in lead.seen:
        return Change(lead, ignored="duplicate")
    lead = marked(replace(lead, replies=lead.replies + 1, last_reply_at=text.at), cause.id)
    match text.keyword:
        case Keyword.STOP:
            return opt_out(lead, text.message_id, cause, now)
        case Keyword.START:
            return _opt_in(lead, text, cause, now)
        case Keyword.HELP:
            # The carrier answers HELP itself; it halts nothing and nobody has to act on it.
            return Change(lead)
    return _reply(lead, text, cause, now)


def opt_out(lead: Lead, message_id: str, cause: Cause, now: datetime) -> Change:
    """Return the lead with no more texts; the task stays, for a person may still have promised a call, and says why."""
    lead = replace(lead, texting="stopped")
    if lead.task is not None:
        lead = with_task(lead, TaskRequest(lead.task.due_at, "opted_out"), now)
    lead = tell(lead, LeadOptedOut, cause, now, message_id=message_id, answers=_answers(lead))
    return Change(halted(marked(lead, cause.id)))


def _opt_in(lead: Lead, text: Reply, cause: Cause, now: datetime) -> Change:
    lead = replace(lead, texting="open")
    lead = tell(lead, LeadOptedIn, cause, now, message_id=text.message_id, answers=_answers(lead))
    return Change(halted(lead))


def _reply(lead: Lead, text: Reply, cause: Cause, now: datetime) -> Change:
    lead = replace(
        lead,
        first_reply_at=min(lead.first_reply_at or text.at, text.at),
        status=lead.status if lead.status == "handed_over" else "conversing",
        purpose=purpose_of(text.intents) or lead.purpose,
    )
    reason = "callback_asked" if "callback" in text.intents else "replied"
    lead = with_task(lead, TaskRequest(now, reason, urgency="high"), now)
    lead = tell(lead, LeadReplied, cause, now, message_id=text.message_id, intents=text.intents,
                answers=_answers(lead))  # fmt: skip
    return Change(halted(lead))


def _answers(lead: Lead) -> Answers:
    return Answers(purpose=lead.purpose)
