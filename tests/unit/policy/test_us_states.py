"""The state that a number's area code names, and the lender's rules for a caller of that state."""

import re
from typing import Final

import phonenumbers
import pytest
from phonenumbers import geocoder

from services.policy.directory import CallerPolicy, Policies, StatePolicy
from services.policy.us_states import US_STATES, state_of

NAMES: Final = {
    "Alabama": "AL", "Alaska": "AK", "Arizona": "AZ", "Arkansas": "AR", "California": "CA", "Colorado": "CO",
    "Connecticut": "CT", "Delaware": "DE", "Washington D.C.": "DC", "Florida": "FL", "Georgia": "GA", "Guam": "GU",
    "Hawaii": "HI", "Idaho": "ID", "Illinois": "IL", "Indiana": "IN", "Iowa": "IA", "Kansas": "KS", "Kentucky": "KY",
    "Louisiana": "LA", "Maine": "ME", "Maryland": "MD", "Massachusetts": "MA", "Michigan": "MI", "Minnesota": "MN",
    "Mississippi": "MS", "Missouri": "MO", "Montana": "MT", "Nebraska": "NE", "Nevada": "NV", "New Hampshire": "NH",
    "New Jersey": "NJ", "New Mexico": "NM", "New York": "NY", "North Carolina": "NC", "North Dakota": "ND",
    "Northern Mariana Islands": "MP", "Ohio": "OH", "Oklahoma": "OK", "Oregon": "OR", "Pennsylvania": "PA",
    "Puerto Rico": "PR", "Rhode Island": "RI", "South Carolina": "SC", "South Dakota": "SD", "Tennessee": "TN",
    "Texas": "TX", "Utah": "UT", "Vermont": "VT", "Virginia": "VA", "Washington State": "WA", "West Virginia": "WV",
    "Wisconsin": "WI", "Wyoming": "WY",
}  # fmt: skip
"""What `phonenumbers` calls a state when it places an area code no closer than that."""

OURS: Final = ("US", "PR", "GU", "VI", "AS", "MP")
GEOGRAPHIC: Final = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)


def numbers() -> list[str]:
    return [f"+1{code}2345678" for code in range(200, 1000) if code % 100 != 11]


def place(e164: str) -> str:
    return geocoder.description_for_number(phonenumbers.parse(e164), "en")


def of_states(e164: str) -> bool:
    """Whether `phonenumbers` takes a number for one of a state's or territory's own."""
    number = phonenumbers.parse(e164)
    return phonenumbers.region_code_for_number(number) in OURS and phonenumbers.number_type(number) in GEOGRAPHIC


@pytest.mark.parametrize(
    ("number", "state"),
    [
        ("+13035550134", "CO"),
        ("+17205550134", "CO"),  # an overlay of 303
        ("+12125550134", "NY"),
        ("+12025550134", "DC"),
        ("+17875550134", "PR"),
        ("+13405550134", "VI"),
        ("+16215550134", "TX"),  # newer than the pinned `phonenumbers`
        ("+18005550134", None),  # toll-free
        ("+18335550134", None),
        ("+15005550006", None),  # personal; Twilio's test numbers
        ("+14165550134", None),  # Toronto
        ("+12425550134", None),  # the Bahamas
        ("+19995550134", None),  # nobody's
        ("+442079460123", None),
        ("+3035550134", None),
        ("13035550134", None),
        ("", None),
    ],
)
def test_area_code_names_its_state_and_everything_else_none(number: str, state: str | None) -> None:
    assert state_of(number) == state


def test_every_area_code_that_phonenumbers_places_in_a_state_is_known() -> None:
    assert [number[2:5] for number in numbers() if of_states(number) and state_of(number) is None] == []


def test_every_known_area_code_is_in_the_state_where_phonenumbers_places_it() -> None:
    placed = {number: place(number) for number in numbers() if state_of(number)}
    told = {number: NAMES.get(where) or re.sub(r".*, ", "", where) for number, where in placed.items() if where}
    assert {number: state for number, state in told.items() if state != state_of(number)} == {}
    assert len(told) > 330


def test_states_are_the_fifty_with_the_capitals_district_and_five_territories() -> None:
    assert len(US_STATES) == 50 + 1 + 5


POLICIES = Policies(
    states={
        "FL": StatePolicy(second_text_needs_consent=True),
        "OK": StatePolicy(after_hours_text=False, second_text_needs_consent=True),
    }
)


@pytest.mark.parametrize(
    ("number", "after_hours_text", "second_text_needs_consent"),
    [
        ("+13055550134", True, True),  # Florida says nothing of after hours: the lender's rule
        ("+14055550134", False, True),
        ("+13035550134", True, False),
        ("+18005550134", True, False),
        ("+442079460123", True, False),
    ],
)
def test_state_of_the_caller_overrides_the_lenders_rules_one_by_one(
    number: str, after_hours_text: bool, second_text_needs_consent: bool
) -> None:
    assert POLICIES.for_caller(number) == CallerPolicy(
        after_hours_text=after_hours_text, second_text_needs_consent=second_text_needs_consent
    )


def test_state_may_allow_what_the_lender_forbids() -> None:
    policies = Policies(after_hours_text=False, states={"CO": StatePolicy(after_hours_text=True)})
    assert policies.for_caller("+13035550134").after_hours_text
    assert not policies.for_caller("+12125550134").after_hours_text
