"""Twilio's messaging webhooks: a borrower's text, and a carrier's receipt for one of ours."""

from datetime import datetime
from typing import Any, Final, get_args

from schemas.inbound import ReceiptReceived, ReceiptStatus, ReplyReceived
from services.ingest.domain.fields import Fields
from services.ingest.domain.lender import Lender
from services.ingest.domain.reading import Fact, GoOn, Outcome
from services.ingest.errors import InvalidField
from services.policy.numbers import normalise_caller

STATUSES: Final[frozenset[str]] = frozenset(get_args(ReceiptStatus))
KEYWORDS: Final = frozenset({"STOP", "START", "HELP"})


def sms(form: Fields, _query: Fields, lender: Lender, now: datetime) -> Outcome:
    """A borrower's text.

    A text to a number that has left the directory is kept all the same, without a branch: it may say STOP, and Twilio's
    signature and account already prove that the number is the lender's.
    """
    message_id = form.sid("MessageSid", "SM|MM")
    to = normalise_caller(form.raw("To")).e164
    if to is None:
        raise InvalidField("To", "is no phone number")
    sender = normalise_caller(form.raw("From"))
    if sender.e164 is None:
        # A short code or a name: nobody we could have called or texted.
        return Outcome(answer=GoOn(), ignored="unusable_sender", unusable=sender.reason)
    media = form.integer("NumMedia") or 0
    if media < 0:
        raise InvalidField("NumMedia", "is negative")
    branch = lender.directory.branch_by_number(to)
    keyword: Any = form.text("OptOutType", 40).upper()
    data = ReplyReceived(
        message_id=message_id,
        caller=sender.e164,
        to=to,
        body=form.text("Body", 10_000),
        opt_out_type=keyword if keyword in KEYWORDS else None,
        media_count=media,
        received_at=form.time(now),
    )
    fact = Fact(f"twilio:{message_id}:received", data, data.received_at, branch.id if branch else "", sender.e164)
    return Outcome((fact,), GoOn())


def message_status(form: Fields, query: Fields, _lender: Lender, now: datetime) -> Outcome:
    """A receipt; `touch` in its URL is the touch it is for."""
    sid = form.sid("MessageSid", "SM|MM")
    status: Any = form.required("MessageStatus")
    if status not in STATUSES:
        return Outcome(ignored="unknown_status")
    to = normalise_caller(form.raw("To")).e164
    if to is None:
        raise InvalidField("To", "is no phone number")
    data = ReceiptReceived(
        touch_id=query.optional_id("touch"),
        sid=sid,
        status=status,
        error_code=form.integer("ErrorCode"),
        to=to,
        received_at=form.time(now),
    )
    return Outcome((Fact(f"twilio:{sid}:{status}", data, data.received_at, caller=to),))
