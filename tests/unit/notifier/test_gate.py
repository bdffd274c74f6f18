"""The last gate: every way to a no, and that only all of them together are a yes."""

from datetime import timedelta
from typing import Any

import pytest

from services.notifier.domain.facts import CameTooLate, GateClosed
from services.notifier.domain.gate import REPLY_SETTLES, Hold, Open, Tail, Verdict, gate
from tests.unit.notifier.build import OPEN, delivery, lead_card

QUIET = Tail(complete=True)


def verdict(*, suppressed: bool = False, tail: Tail = QUIET, late_s: float = 0, **card: Any) -> Verdict:
    return gate(delivery(), lead_card(**card), suppressed, tail, OPEN + timedelta(seconds=late_s))


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
    assert gate(delivery(), None, False, QUIET, OPEN) == GateClosed("no_lead")
    assert gate(delivery(), None, True, QUIET, OPEN) == GateClosed("opted_out")


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


def test_officer_skips_all_but_expiry() -> None:
    alert = delivery(audience="officer")
    assert gate(alert, lead_card(texting="stopped"), True, Tail(complete=False), OPEN) == Open()
    assert gate(alert, None, True, QUIET, alert.expires_at) == CameTooLate()
