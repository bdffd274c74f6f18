"""What may become of a delivery: one total table over state x fact, and a small pure function for each rule.

    accepted -> posting -> sent -> delivered | undelivered
    accepted -> suppressed | expired | failed          posting -> accepted (known unsent, or once after a 5xx) | failed | unknown
    unknown  -> sent (late proof)

Results go to `touch-results` in the order they stand in the outbox. Their ids are `touch_id:<state>`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypedDict, TypeVar
from zlib import crc32

from schemas.inbound import ReceiptStatus
from schemas.touches import TouchDelivered, TouchFailed, TouchResult, TouchSent, TouchSuppressed, TouchTaskRequested
from services.notifier.domain.delivery import Delivery, DeliveryState, Result
from services.notifier.domain.facts import (
    FACTS,
    CameTooLate,
    CannotCompose,
    DeliveryFact,
    GateClosed,
    Hold,
    LeftInDoubt,
    NotListed,
    NotSent,
    PostingStarts,
    ProviderAccepted,
    ReceiptCame,
    Refused,
)
from services.notifier.domain.twilio_codes import Meaning, meaning_of_receipt

RANK: Final[Mapping[ReceiptStatus, int]] = {
    "accepted": 1, "scheduled": 1, "queued": 2, "sending": 3, "sent": 4,
    "delivered": 5, "undelivered": 5, "failed": 5, "canceled": 5, "read": 6,
}  # fmt: skip
"""Receipts come in any order: one of a lower or equal rank says nothing new."""

BACKOFF_S: Final = (1, 2, 4, 8, 15)
ANOTHER_ATTEMPT: Final[Mapping[Meaning, timedelta]] = {
    "queue_overflow": timedelta(minutes=1), "unreachable": timedelta(minutes=30),
}  # fmt: skip
"""After what a later text is tried once more, and when."""
HOLD_PAUSE_S: Final = (1.0, 5.0)
BUDGET_PAUSE: Final = timedelta(seconds=0.5)
CONFIGURATION_PAUSE_S: Final = 30
"""A wrong credential does not fix itself; it is tried again slowly, until the text expires and becomes a task."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The delivery as it is to be saved; `results` are what this fact added to its outbox."""

    delivery: Delivery
    results: tuple[TouchResult, ...] = ()
    ignored: str | None = None


F = TypeVar("F", bound=DeliveryFact)
_Act = Callable[[Delivery, F, datetime, datetime], Decision]
_Rule = Callable[[Delivery, DeliveryFact, datetime, datetime], Decision]


def decide(delivery: Delivery, fact: DeliveryFact, now: datetime, real_now: datetime) -> Decision:
    """Return what a fact makes of a delivery; the same fact again is ignored by name."""
    return RULES[delivery.state, type(fact)](delivery, fact, now, real_now)


def ignored(why: str) -> _Rule:
    """Return the rule that changes nothing and says why."""

    def rule(delivery: Delivery, _fact: DeliveryFact, _now: datetime, _real_now: datetime) -> Decision:
        return Decision(delivery, ignored=why)

    return rule


def _with(delivery: Delivery, now: datetime, real_now: datetime, *results: tuple[str, TouchResult]) -> Decision:
    at = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as it is stored: a repetition says the same time
    added = tuple(Result(f"{delivery.touch_id}:{name}", data, at) for name, data in results)
    outbox = (*delivery.outbox, *added)
    since = delivery.outbox_since_real or (real_now if outbox else None)
    return Decision(replace(delivery, outbox=outbox, outbox_since_real=since), tuple(data for _, data in results))


class _Step(TypedDict):
    """The fields of a `TouchRef`."""

    touch_id: str
    lead_id: str
    caller: str
    sequence_id: str
    step: str
    attempt: int


def _step(delivery: Delivery) -> _Step:
    return _Step(
        touch_id=delivery.touch_id,
        lead_id=delivery.lead_id,
        caller=delivery.caller,
        sequence_id=delivery.sequence_id,
        step=delivery.step,
        attempt=delivery.attempt,
    )


def _task(delivery: Delivery, reason: str, now: datetime) -> tuple[str, TouchResult]:
    return "task_requested", TouchTaskRequested(
        **_step(delivery), kind="text_not_sent", due_at=now, urgent=True, reason=reason
    )


def _suppress(delivery: Delivery, fact: GateClosed, now: datetime, real_now: datetime) -> Decision:
    ended = replace(delivery, state=DeliveryState.SUPPRESSED, reason=fact.reason, until=fact.until, ended_at=now)
    said = TouchSuppressed(**_step(delivery), reason=fact.reason, until=fact.until)
    return _with(ended, now, real_now, ("suppressed", said))


def _hold(delivery: Delivery, fact: Hold, now: datetime, real_now: datetime) -> Decision:
    """Free it for a while that grows with its age: texts that cannot go must not keep the senders from those that can.

    One that waits for the budget keeps its place among those that are due: only its claim ends a little later. Else the
    next ones would have its tokens.
    """
    if fact.why == "budget":
        return Decision(replace(delivery, claim_by=None, claim_until_real=real_now + BUDGET_PAUSE))
    waited_s = (now - max(delivery.due_at, delivery.at)).total_seconds()
    pause_s = min(max(waited_s / 2, HOLD_PAUSE_S[0]), HOLD_PAUSE_S[1]) * _spread(delivery)
    again = min(now + timedelta(seconds=pause_s), delivery.expires_at)
    return Decision(replace(delivery, not_before=again, claim_by=None, claim_until_real=None))


def _spread(delivery: Delivery) -> float:
    """Return 1 to 1.5 by the id: many texts that met one failure must not come back in one instant."""
    return 1 + crc32(delivery.touch_id.encode()) / 0xFFFFFFFF / 2


def _expire(delivery: Delivery, _fact: CameTooLate, now: datetime, real_now: datetime) -> Decision:
    ended = replace(delivery, state=DeliveryState.EXPIRED, reason="expired", ended_at=now)
    said = TouchSuppressed(**_step(delivery), reason="expired")
    return _with(ended, now, real_now, ("expired", said), _task(delivery, "expired", now))


def _fail(delivery: Delivery, fact: CannotCompose | Refused, now: datetime, real_now: datetime) -> Decision:
    code = fact.code if isinstance(fact, Refused) else None
    ended = replace(
        delivery,
        state=DeliveryState.FAILED,
        reason=fact.reason,
        error_code=code,
        sent_key=None,
        post_by_real=None,
        ended_at=now,
        answered_real=real_now if isinstance(fact, Refused) else delivery.answered_real,
    )
    said = TouchFailed(**_step(delivery), error_code=code, reason=fact.reason)
    return _with(ended, now, real_now, ("failed", said))


def _post(delivery: Delivery, fact: PostingStarts, now: datetime, real_now: datetime) -> Decision:
    text = fact.text
    return Decision(
        replace(
            delivery,
            state=DeliveryState.POSTING,
            sent_key=delivery.step_key,
            post_by_real=fact.post_by_real,
            posting_at=now,
            to=text.to,
            from_number=text.from_number,
            body=text.body,
            variant=text.variant,
            template_version=text.version,
            rule=text.rule,
            rule_version=text.rule_version,
            segments=text.segments,
            tries=delivery.tries + 1,
            reason=None,
            doubt_answered=False,
            posted_real=real_now,
        )
    )


def _unsend(delivery: Delivery, fact: NotSent, now: datetime, _real_now: datetime) -> Decision:
    wait_s = CONFIGURATION_PAUSE_S if fact.configuration else BACKOFF_S[min(delivery.tries, len(BACKOFF_S)) - 1]
    not_before = now + timedelta(seconds=wait_s * _spread(delivery)) if fact.pause else delivery.not_before
    return Decision(
        replace(
            delivery,
            state=DeliveryState.ACCEPTED,
            sent_key=None,
            post_by_real=None,
            posting_at=None,
            not_before=not_before,
            reason=fact.reason,
            error_code=fact.code,
            claim_by=None,
            claim_until_real=None,
        )
    )


def _accept(delivery: Delivery, fact: ProviderAccepted, now: datetime, real_now: datetime) -> Decision:
    answered = delivery.answered_real if fact.listed else real_now
    return _proved(replace(delivery, answered_real=answered), fact.sid, now, real_now)


def _note_answer(delivery: Delivery, fact: ProviderAccepted, _now: datetime, real_now: datetime) -> Decision:
    if fact.listed or delivery.answered_real is not None:
        return Decision(delivery, ignored="acceptance_known")
    return Decision(replace(delivery, answered_real=real_now))  # its receipt came before the answer


def _proved(delivery: Delivery, sid: str, now: datetime, real_now: datetime) -> Decision:
    sent = replace(
        delivery,
        state=DeliveryState.SENT,
        sid=sid,
        sent_at=now,
        sent_key=delivery.step_key,
        post_by_real=None,
        reason=None,
        error_code=None,
        claim_by=None,
        claim_until_real=None,
    )
    if sent.body is None or sent.from_number is None:
        return Decision(delivery, ignored="never_posted")
    said = TouchSent(
        **_step(delivery),
        sid=sid,
        body=sent.body,
        template=sent.template,
        template_version=sent.template_version or 0,
        variant=sent.variant or "",
        sent_at=now,
        from_number=sent.from_number,
    )
    return _with(sent, now, real_now, ("sent", said))


def _doubt(delivery: Delivery, fact: LeftInDoubt, _now: datetime, _real_now: datetime) -> Decision:
    return Decision(replace(delivery, reason=fact.reason, doubt_answered=fact.server_error))


def _lose(delivery: Delivery, fact: NotListed, now: datetime, real_now: datetime) -> Decision:
    if delivery.doubt_answered and not delivery.resent and now < delivery.expires_at:
        # The provider answered that it failed, and lists nothing: once more, through the gate. After a time-out never.
        unsent = _unsend(delivery, NotSent(reason=delivery.reason or "server_error", pause=False), now, real_now)
        return Decision(replace(unsent.delivery, resent=True, doubt_answered=False))
    ended = replace(delivery, state=DeliveryState.UNKNOWN, post_by_real=None, ended_at=now)
    return _with(ended, now, real_now, _task(delivery, f"in doubt: {delivery.reason or 'stopped while posting'}", now))


def _prove_by_receipt(delivery: Delivery, fact: ReceiptCame, now: datetime, real_now: datetime) -> Decision:
    proved = _proved(delivery, fact.sid, now, real_now)
    if proved.ignored:
        return proved
    then = _fold(proved.delivery, fact, now, real_now)
    return Decision(then.delivery, (*proved.results, *then.results))


def _fold(delivery: Delivery, fact: ReceiptCame, now: datetime, real_now: datetime) -> Decision:
    rank = RANK[fact.status]
    if rank <= delivery.receipt_rank:
        return Decision(delivery, ignored="receipt_not_newer")
    folded = replace(
        delivery, receipt_status=fact.status, receipt_rank=rank, error_code=fact.code or delivery.error_code
    )
    if delivery.state is not DeliveryState.SENT or rank < RANK["delivered"]:
        return Decision(folded)
    folded = replace(folded, ended_at=now)
    if fact.status in ("delivered", "read"):
        said: TouchResult = TouchDelivered(**_step(delivery), sid=fact.sid, delivered_at=now)
        return _with(replace(folded, state=DeliveryState.DELIVERED), now, real_now, ("delivered", said))
    return _undelivered(replace(folded, state=DeliveryState.UNDELIVERED), fact, now, real_now)


def _undelivered(delivery: Delivery, fact: ReceiptCame, now: datetime, real_now: datetime) -> Decision:
    """The carrier did not deliver it: one more attempt where that may help, a person for a first text, or the end of it.

    `sent_key` stays, because the provider took this text and no second one of its step may follow it, except that one.
    The key then moves to a name that one delivery of the step can have: a second one that fails finds it taken.
    """
    why = meaning_of_receipt(fact.code)
    wait = ANOTHER_ATTEMPT.get(why)
    until = now + wait if wait else None
    tried_again = until is not None and until < delivery.expires_at and fact.may_free
    if delivery.first_of_sequence or not delivery.of_cadence or not tried_again:
        until = None
    said = TouchFailed(
        **_step(delivery),
        sid=fact.sid,
        error_code=fact.code,
        reason=fact.status,
        retriable=until is not None,
        until=until,
    )
    if until is not None:
        freed = replace(delivery, sent_key=f"{delivery.step_key}:undelivered")
        return _with(freed, now, real_now, ("undelivered", said))
    asks = delivery.first_of_sequence or why == "unclear"
    if not asks or why == "opted_out":
        return _with(delivery, now, real_now, ("undelivered", said))
    _, task = _task(delivery, f"undelivered {fact.code or ''}".rstrip(), now)
    return _with(delivery, now, real_now, ("undelivered", said), ("undelivered_task", task))


def _for(kind: type[F], act: _Act[F]) -> _Rule:
    """Return an act as a rule of the table, which gives it no other fact than its own."""

    def rule(delivery: Delivery, fact: DeliveryFact, now: datetime, real_now: datetime) -> Decision:
        if not isinstance(fact, kind):
            raise TypeError(f"{type(fact).__name__} stands in the row of {kind.__name__}")
        return act(delivery, fact, now, real_now)

    return rule


def _row(kind: type[F], acts: Mapping[DeliveryState, _Act[F]], otherwise: str) -> Mapping[DeliveryState, _Rule]:
    """Return a fact's row: its acts by state, and why every other state ignores it."""
    return {state: _for(kind, acts[state]) if state in acts else ignored(otherwise) for state in DeliveryState}


_ACCEPTED, _POSTING, _SENT = DeliveryState.ACCEPTED, DeliveryState.POSTING, DeliveryState.SENT
_DELIVERED, _UNDELIVERED, _UNKNOWN = DeliveryState.DELIVERED, DeliveryState.UNDELIVERED, DeliveryState.UNKNOWN

_ROWS: Final[Mapping[type[DeliveryFact], Mapping[DeliveryState, _Rule]]] = {
    GateClosed:    _row(GateClosed, {_ACCEPTED: _suppress}, "too_late_to_stop"),
    Hold:          _row(Hold, {_ACCEPTED: _hold}, "not_waiting"),
    CameTooLate:   _row(CameTooLate, {_ACCEPTED: _expire}, "too_late_to_stop"),
    CannotCompose: _row(CannotCompose, {_ACCEPTED: _fail}, "not_waiting"),
    PostingStarts: _row(PostingStarts, {_ACCEPTED: _post}, "not_waiting"),
    NotSent:       _row(NotSent, {_POSTING: _unsend}, "not_posting"),
    Refused:       _row(Refused, {_POSTING: _fail}, "not_posting"),
    LeftInDoubt:   _row(LeftInDoubt, {_POSTING: _doubt}, "not_posting"),
    NotListed:     _row(NotListed, {_POSTING: _lose}, "not_posting"),
    # From `accepted`: a list, a late answer or a receipt shows that what we took for unsent was sent.
    ProviderAccepted: _row(ProviderAccepted, {
        _ACCEPTED: _accept, _POSTING: _accept, _UNKNOWN: _accept,
        _SENT: _note_answer, _DELIVERED: _note_answer, _UNDELIVERED: _note_answer,
    }, "ended_without_a_text"),
    ReceiptCame: _row(ReceiptCame, {
        _ACCEPTED: _prove_by_receipt, _POSTING: _prove_by_receipt, _UNKNOWN: _prove_by_receipt,
        _SENT: _fold, _DELIVERED: _fold, _UNDELIVERED: _fold,
    }, "ended_without_a_text"),
}  # fmt: skip
RULES: Final[Mapping[tuple[DeliveryState, type[DeliveryFact]], _Rule]] = {
    (state, fact): _ROWS[fact][state] for state in DeliveryState for fact in FACTS
}
"""Total over DeliveryState x FACTS; a test proves it."""
