"""What a text says, and to whom it goes."""

import pytest

from schemas.card import OfficerCard
from services.notifier.domain.compose import Unsendable, compose
from services.notifier.domain.delivery import RenderedText
from tests.unit.notifier.build import CALLER, CLOSED, DIRECTORY, OPEN, delivery, lead_card


def words(
    status: str | None = "available", now: object = OPEN, template: str = "missed_call_first", **card: object
) -> RenderedText:
    owner = None if status is None else OfficerCard.model_validate({"_id": "dana-whitfield", "status": status})
    at = CLOSED if now is CLOSED else OPEN
    return compose(delivery(template=template), lead_card(**card), owner, DIRECTORY, at)


def test_available_owner_of_an_open_branch_says_now_and_how_to_answer() -> None:
    """Fact C1: the first text says sorry, names officer and company, and asks for a text or a call back."""
    assert words(name="Ana").body == (
        "Hi Ana, sorry I missed your call! This is Dana Whitfield at Larkspur Home Lending. I'm available now - text "
        "back or call (212) 555-0100. NMLS 9900011/9900001. Reply STOP to opt out."
    )


@pytest.mark.parametrize("status", ["available", "busy"])
def test_unknown_name_leaves_no_gap(status: str) -> None:
    """Fact C10: a borrower whose name nobody knows gets a text without a gap."""
    assert words(status).body.startswith("Hi, sorry I missed your call! This is Dana Whitfield")


@pytest.mark.parametrize("status", ["busy", "in_meeting", "off", None])
def test_nothing_says_now_unless_the_owner_is_available(status: str | None) -> None:
    """Fact C14: no text says "I'm available now" when the officer is not."""
    assert "now" not in words(status).body.split()
    assert "available" not in words(status).body


def test_nothing_says_now_at_a_closed_branch_whatever_the_owner_says() -> None:
    """Fact C14: no text says "I'm available now" while the branch is closed."""
    found = words("available", CLOSED)
    assert found.variant == "after_hours"
    assert "available" not in found.body


def test_with_another_borrower_is_said_only_of_one_who_is() -> None:
    """Fact C14: a text says what the officer is doing only when it is true."""
    assert words("busy").variant == "busy"
    assert {words(status).variant for status in ("in_meeting", "off", None)} == {"no_name"}


def test_lead_without_an_owner_speaks_for_the_company_under_its_own_nmls_id() -> None:
    found = words(owner_id=None)
    assert found.body.startswith("Sorry we missed your call! This is Larkspur Home Lending.")
    assert "NMLS 9900001." in found.body


def test_owner_who_left_is_not_named() -> None:
    assert words(owner_id="someone-gone").variant == "no_name"


def test_text_comes_from_the_branchs_number_and_tells_its_rule_and_version() -> None:
    found = words()
    assert (found.to, found.from_number, found.variant, found.version) == (CALLER, "+12125550100", "free", 1)
    assert (found.rule, found.rule_version) == ("first-text-variant", 1)
    assert found.segments == 2


def test_second_text_offers_help_asks_for_a_time_and_is_one_segment() -> None:
    """Fact C2: the second text offers help and asks for a good time for a ten-minute call."""
    found = words(template="missed_call_second")
    assert found.body == "Happy to answer any mortgage questions. What's the best time for a quick 10-minute call?"
    assert found.segments == 1


def test_name_is_data_and_stays_cheap() -> None:
    assert words(name="José — “Pepe”").body.startswith('Hi José - "Pepe", sorry')
    assert words(name="{{ company }}").body.startswith("Hi {{ company }}, sorry")


@pytest.mark.parametrize(
    ("template", "branch"), [("no-such-family", "new-york"), ("missed_call_first", "no-such-branch")]
)
def test_missing_wording_or_branch_is_unsendable(template: str, branch: str) -> None:
    with pytest.raises(Unsendable):
        words(template=template, branch_id=branch)


def test_officer_alert_goes_to_the_owners_phone_or_nowhere() -> None:
    alert = delivery(audience="officer")
    assert compose(alert, lead_card(), None, DIRECTORY, OPEN).to == "+12125550161"
    with pytest.raises(Unsendable):
        compose(alert, lead_card(owner_id=None), None, DIRECTORY, OPEN)
