"""The chaos checker itself: each planted loss, repetition or late text is found, and a good run is clean."""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.system.checker import CHECKS, check
from tests.chaos.system.history import Appended, CallPlaced, History, Posted, TextReceived
from tests.chaos.system.schedule import draw

CALLER, CALL, TEXT = "+12125550101", "CA1", "SM9"


def good() -> History:
    """Return the history of one missed call that went well, and of a caller who opted out after it."""
    return History(
        calls=[CallPlaced(sid=CALL, caller=CALLER, acknowledged=frozenset({"started", "ended"}))],
        texts=[TextReceived(sid=TEXT, caller=CALLER, kind="stop")],
        posted=[Posted(to=CALLER, at_s=100.0, touch_id="t1", sid="SM1")],
        appended=[Appended(event_id="e1", type="reply.received", caller=CALLER, body="STOP", at_s=110.0)],
        lead_documents=[
            {"_id": "l1", "caller": CALLER, "owner_id": "dana", "task": {"task_id": "k1"}, "texting": "stopped"}
        ],
        call_documents=[{"_id": "k", "call_id": CALL, "outcome": "missed"}],
        message_documents=[{"_id": "m1", "message_id": TEXT, "caller": CALLER}],
        delivery_documents=[
            {"_id": "t1", "caller": CALLER, "sequence_id": "s1", "step": "text-now", "state": "delivered", "sid": "SM1"}
        ],
        rows={"lender:" + CALLER: {"s": ["c", "2026-03-11", 1, None, [["text-now", "sent", 1, 1, ""]]]}},
        dead_letters={"leads.dlq": 0},
    )


def broken(**changes: Any) -> set[str]:
    """Return the names of the checks that a changed history fails."""
    return {breach.check for breach in check(replace(good(), **changes)).breaches}


def test_run_in_which_everything_held_is_clean() -> None:
    report = check(good())
    assert report.breaches == []
    assert report.is_clean
    assert report.counts["texts accepted"] == 1


STOPPED = Posted(to=CALLER, at_s=111.5, touch_id=None)
TWICE = Posted(to=CALLER, at_s=101.0, touch_id="t2", sid="SM2")
DELIVERY = {"_id": "t2", "caller": CALLER, "sequence_id": "s1", "step": "text-now", "state": "sent", "sid": "SM2"}


@pytest.mark.parametrize(
    ("check_name", "changes"),
    [
        ("call lost", {"call_documents": []}),
        ("call lost", {"call_documents": [{"call_id": CALL}]}),
        ("borrower's text lost", {"message_documents": []}),
        ("caller lost", {"lead_documents": []}),
        ("caller lost", {"posted": [], "delivery_documents": [],
                         "lead_documents": [{"_id": "l1", "caller": CALLER, "owner_id": "d", "texting": "open"}]}),
        ("answered caller texted",
         {"appended": [Appended(event_id="a", type="call.leg_answered", caller=CALLER, at_s=99.0)]}),
        ("late after a stop", {"posted": [*good().posted, STOPPED]}),
        ("sent twice", {"posted": [*good().posted, replace(TWICE, touch_id="t1")]}),
        ("sent twice", {"posted": [*good().posted, TWICE], "delivery_documents": [*good().delivery_documents, DELIVERY]}),
        ("text unknown to us", {"posted": [*good().posted, replace(TWICE, touch_id="t9")]}),
        ("left open", {"delivery_documents": [{**good().delivery_documents[0], "state": "posting"}]}),
        ("left open", {"pending_timers": [{"_id": "x", "step": "text-10min"}]}),
        ("left open", {"rows": {"k": {"s": ["c", "d", 1, None, [["text-10min", "waiting", 1, None, ""]]]}}}),
        ("task without an owner", {"lead_documents": [{**good().lead_documents[0], "owner_id": None}]}),
        ("two leads of a caller", {"lead_documents": [*good().lead_documents, *good().lead_documents]}),
        ("dead letters", {"dead_letters": {"leads.dlq": 1}}),
    ],
)  # fmt: skip
def test_planted_breach_is_found_by_its_check(check_name: str, changes: dict[str, Any]) -> None:
    assert check_name in broken(**changes)


def test_every_check_has_a_planted_breach() -> None:
    planted = {
        mark.args[1][n][0]
        for mark in test_planted_breach_is_found_by_its_check.pytestmark
        for n in range(len(mark.args[1]))
    }
    assert planted == set(CHECKS)


def test_second_text_of_a_step_is_no_breach_after_a_receipt_that_proves_the_first_was_not_delivered() -> None:
    first = replace(good().posted[0], error_code=30003)
    found = broken(posted=[first, TWICE], delivery_documents=[*good().delivery_documents, DELIVERY])
    assert "sent twice" not in found


def test_text_within_the_second_of_a_stop_or_after_an_opt_in_is_no_breach() -> None:
    opted_in = Appended(event_id="e2", type="reply.received", caller=CALLER, body="START", at_s=111.0)
    assert "late after a stop" not in broken(posted=[*good().posted, replace(STOPPED, at_s=110.9)])
    assert "late after a stop" not in broken(posted=[*good().posted, STOPPED], appended=[*good().appended, opted_in])


def test_call_whose_webhooks_nobody_acknowledged_need_not_be_there() -> None:
    assert "call lost" not in broken(calls=[replace(good().calls[0], acknowledged=frozenset())], call_documents=[])


def test_same_seed_draws_the_same_faults_in_the_order_of_their_time() -> None:
    one, same, other = draw(7, 180.0, instances=2), draw(7, 180.0, instances=2), draw(8, 180.0, instances=2)
    assert one == same
    assert one != other
    assert len(one) >= 10
    assert [fault.at_s for fault in one] == sorted(fault.at_s for fault in one)
