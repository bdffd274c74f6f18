"""Twilio's messaging webhooks: a borrower's text, and a carrier's receipt for one of ours."""

from datetime import datetime
from typing import Final, Literal, get_args

from schemas.inbound import ReceiptReceived, ReceiptStatus, ReplyReceived
from schemas.problems import NOT_A_NUMBER
from services.ingest.domain.fields import Fields, one_of
from services.ingest.domain.lender import Lender
from services.ingest.domain.reading import Draft, GoOn, Reading
from services.ingest.errors import InvalidField
from services.policy.numbers import normalize_caller

STATUSES: Final[tuple[ReceiptStatus, ...]] = get_args(ReceiptStatus)
KEYWORDS: Final[tuple[Literal["STOP", "START", "HELP"], ...]] = ("STOP", "START", "HELP")


def sms(form: Fields, _query: Fields, lender: Lender, now: datetime) -> Reading:
    """A borrower's text.

    A text to a number that has left the directory is kept all the same, without a branch: it may say STOP, and Twilio's
    signature and account already prove that the number is the lender's.
    """
    message_id = form.sid("MessageSid", "SM|MM")
    to = normalize_caller(form.raw("To")).e164
    if to is None:
        raise InvalidField("To", NOT_A_NUMBER)
    sender = normalize_caller(form.raw("From"))
    if sender.e164 is None:
        # A short code or a name: nobody we could have called or texted.
        return Reading(instruction=GoOn(), ignored="unusable_sender", unusable=sender.reason)
    media = form.integer("NumMedia") or 0
    if media < 0:
        raise InvalidField("NumMedia", "is negative")
    branch = lender.directory.branch_by_number(to)
    data = ReplyReceived(
        message_id=message_id,
        caller=sender.e164,
        to=to,
        body=form.text("Body", 10_000),
        opt_out_type=one_of(form.text("OptOutType", 40).upper(), KEYWORDS),
        media_count=media,
        received_at=form.time(now),
    )
    draft = Draft(
        id=f"twilio:{message_id}:received",
        data=data,
        time=data.received_at,
        branch_id=branch.id if branch else "",
        caller=sender.e164,
    )
    return Reading(drafts=(draft,), instruction=GoOn())


def message_status(form: Fields, query: Fields, _lender: Lender, now: datetime) -> Reading:
    """A receipt; `touch` in its URL is the touch it is for."""
    sid = form.sid("MessageSid", "SM|MM")
    status = one_of(form.required("MessageStatus"), STATUSES)
    if status is None:
        return Reading(ignored="unknown_status")
    to = normalize_caller(form.raw("To")).e164
    if to is None:
        raise InvalidField("To", NOT_A_NUMBER)
    data = ReceiptReceived(
        touch_id=query.optional_id("touch"),
        sid=sid,
        status=status,
        error_code=form.integer("ErrorCode"),
        to=to,
        received_at=form.time(now),
    )
    return Reading(drafts=(Draft(id=f"twilio:{sid}:{status}", data=data, time=data.received_at, caller=to),))
