"""The table over state x fact: total, idempotent, and what each row promises."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schemas.touches import TouchFailed, TouchSent, TouchSuppressed, TouchTaskRequested
from services.notifier.domain.delivery import Delivery, DeliveryState
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
from services.notifier.domain.machine import BACKOFF_S, RANK, RULES, Decision, decide
from tests.unit.notifier.build import OPEN, REAL, TEXT, delivery

EXAMPLES: dict[type, DeliveryFact] = {
    GateClosed: GateClosed("opted_out"), Hold: Hold("tail_away"), CameTooLate: CameTooLate(), CannotCompose: CannotCompose("no wording"),
    PostingStarts: PostingStarts(TEXT, REAL + timedelta(seconds=10)), ProviderAccepted: ProviderAccepted("SM1"),
    NotSent: NotSent(reason="provider_busy", code=429), Refused: Refused("bad_number", 21211), LeftInDoubt: LeftInDoubt("timeout"),
    NotListed: NotListed(), ReceiptCame: ReceiptCame(sid="SM1", status="delivered"),
}  # fmt: skip


def so(start: Delivery, *facts: DeliveryFact) -> Delivery:
    for fact in facts:
        start = decide(start, fact, OPEN, REAL).delivery
    return start


POSTING = so(delivery(), EXAMPLES[PostingStarts])
SENT = so(POSTING, EXAMPLES[ProviderAccepted])
BY_STATE: dict[DeliveryState, Delivery] = {
    DeliveryState.ACCEPTED: delivery(), DeliveryState.POSTING: POSTING, DeliveryState.SENT: SENT,
    DeliveryState.DELIVERED: so(SENT, ReceiptCame(sid="SM1", status="delivered")),
    DeliveryState.UNDELIVERED: so(SENT, ReceiptCame(sid="SM1", status="failed")),
    DeliveryState.SUPPRESSED: so(delivery(), GateClosed("opted_out")), DeliveryState.EXPIRED: so(delivery(), CameTooLate()),
    DeliveryState.FAILED: so(POSTING, Refused("bad_number", 21211)), DeliveryState.UNKNOWN: so(POSTING, NotListed()),
}  # fmt: skip


def test_table_is_total_over_state_and_fact() -> None:
    assert set(RULES) == {(state, fact) for state in DeliveryState for fact in FACTS}
    assert set(BY_STATE) == set(DeliveryState)
    assert all(found.state is state for state, found in BY_STATE.items())


@pytest.mark.parametrize("fact", EXAMPLES.values(), ids=lambda fact: type(fact).__name__)
@pytest.mark.parametrize("state", DeliveryState)
def test_any_fact_in_any_state_decides_and_the_same_fact_again_says_nothing_new(
    state: DeliveryState, fact: DeliveryFact
) -> None:
    first = decide(BY_STATE[state], fact, OPEN, REAL)
    if isinstance(fact, PostingStarts | NotSent | Hold) and first.ignored is None:
        return  # each is a step of an attempt; an attempt may come again
    again = decide(first.delivery, fact, OPEN, REAL)
    assert again.results == ()
    assert again.delivery.state is first.delivery.state


@pytest.mark.parametrize(
    "state", [s for s in DeliveryState if s not in (DeliveryState.ACCEPTED, DeliveryState.POSTING)]
)
def test_ended_or_sent_delivery_is_never_posted_again(state: DeliveryState) -> None:
    for fact in EXAMPLES.values():
        assert decide(BY_STATE[state], fact, OPEN, REAL).delivery.state not in (
            DeliveryState.ACCEPTED,
            DeliveryState.POSTING,
        )


def test_posting_holds_the_step_key_and_unsent_or_refused_gives_it_back() -> None:
    assert POSTING.sent_key == "sequence-1:text-now"
    assert SENT.sent_key == "sequence-1:text-now"
    assert BY_STATE[DeliveryState.UNKNOWN].sent_key == "sequence-1:text-now"
    assert BY_STATE[DeliveryState.UNDELIVERED].sent_key == "sequence-1:text-now"
    assert so(POSTING, NotSent(reason="provider_busy")).sent_key is None
    assert BY_STATE[DeliveryState.FAILED].sent_key is None


def test_unsent_text_waits_longer_each_time_and_keeps_no_claim() -> None:
    waits, found = [], delivery()
    for _ in range(len(BACKOFF_S) + 1):
        found = so(found, EXAMPLES[PostingStarts], NotSent(reason="provider_busy"))
        waits.append((found.not_before - OPEN).total_seconds())
        assert found.claim_by is None
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] <= BACKOFF_S[-1] * 1.5


def test_expired_text_is_suppressed_and_an_urgent_task() -> None:
    said = decide(delivery(), CameTooLate(), OPEN, REAL)
    first, second = said.results
    assert isinstance(first, TouchSuppressed)
    assert first.reason == "expired"
    assert isinstance(second, TouchTaskRequested)
    assert (second.kind, second.urgent, second.due_at) == ("text_not_sent", True, OPEN)
    ids = [result.id for result in said.delivery.outbox]
    assert ids == [f"{first.touch_id}:expired", f"{first.touch_id}:task_requested"]


def test_doubt_that_no_list_ends_is_unknown_an_urgent_task_and_no_touch_sent() -> None:
    said = decide(so(POSTING, LeftInDoubt("SocketTimeoutError")), NotListed(), OPEN, REAL)
    (task,) = said.results
    assert isinstance(task, TouchTaskRequested)
    assert task.urgent
    assert "SocketTimeoutError" in task.reason


@pytest.mark.parametrize("state", [DeliveryState.POSTING, DeliveryState.UNKNOWN])
def test_receipt_proves_acceptance_of_a_text_in_doubt(state: DeliveryState) -> None:
    said = decide(BY_STATE[state], ReceiptCame(sid="SM9", status="queued"), OPEN, REAL)
    (sent,) = said.results
    assert isinstance(sent, TouchSent)
    assert (sent.sid, sent.body, said.delivery.state) == ("SM9", "Hi", DeliveryState.SENT)


def test_receipt_of_failure_for_a_text_in_doubt_says_sent_then_failed() -> None:
    said = decide(POSTING, ReceiptCame(sid="SM9", status="undelivered", code=30006), OPEN, REAL)
    sent, failed, task = said.results
    assert isinstance(sent, TouchSent)
    assert isinstance(failed, TouchFailed)
    assert isinstance(task, TouchTaskRequested)
    assert (failed.error_code, failed.retriable, said.delivery.state) == (30006, False, DeliveryState.UNDELIVERED)


def test_receipt_for_a_text_taken_for_unsent_keeps_it_from_going_again() -> None:
    waiting = so(POSTING, NotSent(reason="provider_busy"))
    assert so(waiting, ReceiptCame(sid="SM9", status="sent")).state is DeliveryState.SENT
    assert decide(delivery(), ReceiptCame(sid="SM9", status="sent"), OPEN, REAL).ignored == "never_posted"


def test_answer_after_its_receipt_adds_its_time_and_nothing_else() -> None:
    proved = so(POSTING, ReceiptCame(sid="SM1", status="delivered"))
    said = decide(proved, ProviderAccepted("SM1"), OPEN, REAL)
    assert (said.results, said.delivery.answered_real) == ((), REAL)


def _ranks(decision: Decision) -> tuple[Any, ...]:
    return decision.delivery.state, decision.ignored


def test_receipts_in_any_order_end_at_the_highest_rank() -> None:
    assert (
        so(SENT, *(ReceiptCame(sid="SM1", status=s) for s in ("delivered", "sent", "queued"))).state
        is DeliveryState.DELIVERED
    )
    assert (
        so(SENT, *(ReceiptCame(sid="SM1", status=s) for s in ("queued", "sent", "delivered"))).state
        is DeliveryState.DELIVERED
    )
    late = decide(BY_STATE[DeliveryState.DELIVERED], ReceiptCame(sid="SM1", status="undelivered"), OPEN, REAL)
    assert _ranks(late) == (DeliveryState.DELIVERED, "receipt_not_newer")
    assert set(RANK.values()) == {1, 2, 3, 4, 5, 6}


def test_results_keep_what_waited_before_them() -> None:
    waiting = replace(SENT, outbox_since_real=REAL - timedelta(seconds=9))
    said = decide(waiting, ReceiptCame(sid="SM1", status="delivered"), OPEN, REAL)
    assert [result.id.rsplit(":", 1)[1] for result in said.delivery.outbox] == ["sent", "delivered"]
    assert said.delivery.outbox_since_real == REAL - timedelta(seconds=9)
