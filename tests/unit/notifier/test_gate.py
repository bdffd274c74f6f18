"""The last gate: every way to a no, and that only all of them together are a yes."""

from datetime import timedelta
from typing import Any

import pytest

from services.notifier.domain.delivery import Delivery
from services.notifier.domain.facts import CameTooLate, GateClosed, Hold
from services.notifier.domain.gate import REPLY_SETTLES, GateVerdict, Open, Tail, gate
from services.policy.directory import CallerPolicy
from tests.unit.notifier.build import LEAD, OPEN, delivery, lead_card

QUIET = Tail(complete=True)
ANYTHING_GOES = CallerPolicy(after_hours_text=True, second_text_needs_consent=False)
DAY_TEXTS_ONLY = CallerPolicy(after_hours_text=False, second_text_needs_consent=False)
CONSENT_FIRST = CallerPolicy(after_hours_text=True, second_text_needs_consent=True)
STRICTEST = CallerPolicy(after_hours_text=False, second_text_needs_consent=True)

LATER = delivery(step="text-10min", first_of_sequence=False)
DESK = delivery(step="desk:1", first_of_sequence=False, sequence_id=LEAD)
ALERT = delivery(audience="officer")


def verdict(
    text: Delivery | None = None,
    *,
    suppressed: bool = False,
    tail: Tail = QUIET,
    policy: CallerPolicy = ANYTHING_GOES,
    branch_open: bool = True,
    late_s: float = 0,
    no_lead: bool = False,
    **card: Any,
) -> GateVerdict:
    return gate(
        text or delivery(),
        card=None if no_lead else lead_card(**card),
        suppressed=suppressed,
        tail=tail,
        policy=policy,
        branch_open=branch_open,
        now=OPEN + timedelta(seconds=late_s),
    )


def test_open_texting_no_reply_in_time_may_go() -> None:
    assert verdict() == Open()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"suppressed": True}, "opted_out"),
        ({"texting": "stopped"}, "opted_out"),
        ({"texting": "paused"}, "paused"),
        ({"halt_seq": 2}, "overtaken"),
    ],
)
def test_stop_pause_or_a_newer_halt_closes_for_good(said: dict[str, Any], reason: str) -> None:
    assert verdict(**said) == GateClosed(reason)  # type: ignore[arg-type]


def test_no_lead_closes_and_a_suppressed_number_needs_none_to_be_opted_out() -> None:
    assert verdict(no_lead=True) == GateClosed("no_lead")
    assert verdict(no_lead=True, suppressed=True) == GateClosed("opted_out")


def test_halt_that_the_decider_had_read_does_not_close() -> None:
    assert verdict(halt_seq=1) == Open()


def test_reply_that_leads_has_not_seen_closes_until_it_had_time_to() -> None:
    tail = Tail(complete=True, replies=frozenset({"a", "b"}))
    assert verdict(tail=tail, seen=["a"]) == GateClosed("reply_in_flight", OPEN + REPLY_SETTLES)
    assert verdict(tail=tail, seen=["a", "b"]) == Open()


def test_tail_away_holds_and_decides_nothing() -> None:
    assert verdict(tail=Tail(complete=False)) == Hold("tail_away")


def test_expiry_is_the_instant_itself_and_comes_before_a_tail_that_is_away() -> None:
    assert verdict(late_s=299.999) == Open()
    assert verdict(late_s=300, tail=Tail(complete=False)) == CameTooLate()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"suppressed": True}, "opted_out"),
        ({"texting": "stopped"}, "opted_out"),
        ({"texting": "paused"}, "paused"),
        ({"halt_seq": 2}, "overtaken"),
        ({"policy": DAY_TEXTS_ONLY, "branch_open": False}, "after_hours_policy"),
    ],
)
def test_expired_text_that_would_never_go_is_told_by_its_final_reason_not_by_its_age(
    said: dict[str, Any], reason: str
) -> None:
    assert verdict(late_s=300, **said) == GateClosed(reason)  # type: ignore[arg-type]
    assert verdict(late_s=300, no_lead=True) == GateClosed("no_lead")
    assert verdict(late_s=300, tail=Tail(complete=True, replies=frozenset({"a"}))) == CameTooLate()


def test_officer_skips_all_but_expiry() -> None:
    away = Tail(complete=False)
    assert verdict(ALERT, suppressed=True, tail=away, policy=STRICTEST, branch_open=False, texting="stopped") == Open()
    assert verdict(ALERT, no_lead=True, suppressed=True, late_s=300) == CameTooLate()


def test_first_text_at_a_closed_branch_is_refused_for_good_where_the_lender_sends_none_after_hours() -> None:
    assert verdict(policy=DAY_TEXTS_ONLY, branch_open=False) == GateClosed("after_hours_policy")
    assert verdict(policy=DAY_TEXTS_ONLY, branch_open=True) == Open()
    assert verdict(policy=ANYTHING_GOES, branch_open=False) == Open()


def test_later_text_of_a_cadence_at_a_closed_branch_is_not_asked_about_hours() -> None:
    assert verdict(LATER, policy=DAY_TEXTS_ONLY, branch_open=False) == Open()


def test_later_text_that_needs_consent_is_refused_for_good_unless_the_borrower_texted_before_the_sequence() -> None:
    before, during = OPEN - timedelta(seconds=1), OPEN + timedelta(seconds=1)
    assert LATER.base_at == OPEN
    assert verdict(LATER, policy=CONSENT_FIRST) == GateClosed("consent_needed")
    assert verdict(LATER, policy=CONSENT_FIRST, first_reply_at=before) == Open()
    assert verdict(LATER, policy=CONSENT_FIRST, first_reply_at=OPEN) == GateClosed("consent_needed")
    assert verdict(LATER, policy=CONSENT_FIRST, first_reply_at=during) == GateClosed("consent_needed")
    assert verdict(LATER, policy=ANYTHING_GOES) == Open()


def test_later_text_that_does_not_say_when_its_sequence_began_shows_no_consent() -> None:
    undated = delivery(step="text-10min", first_of_sequence=False, base_at=None)
    assert verdict(undated, policy=CONSENT_FIRST, first_reply_at=OPEN) == GateClosed("consent_needed")


def test_first_text_needs_no_consent() -> None:
    assert verdict(policy=CONSENT_FIRST) == Open()


def test_text_outside_a_cadence_is_none_of_the_policies_business() -> None:
    assert verdict(DESK, policy=STRICTEST, branch_open=False) == Open()


@pytest.mark.parametrize(
    ("said", "reason"),
    [({"suppressed": True}, "opted_out"), ({"texting": "paused"}, "paused"), ({"halt_seq": 2}, "overtaken")],
)
def test_what_the_borrower_said_is_told_before_what_the_lender_decided(said: dict[str, Any], reason: str) -> None:
    assert verdict(policy=STRICTEST, branch_open=False, **said) == GateClosed(reason)  # type: ignore[arg-type]
    assert verdict(LATER, policy=STRICTEST, **said) == GateClosed(reason)  # type: ignore[arg-type]


def test_refusal_by_policy_waits_neither_for_the_tail_nor_for_a_reply_to_be_read() -> None:
    for tail in (Tail(complete=False), Tail(complete=True, replies=frozenset({"a"}))):
        assert verdict(policy=DAY_TEXTS_ONLY, branch_open=False, tail=tail) == GateClosed("after_hours_policy")
