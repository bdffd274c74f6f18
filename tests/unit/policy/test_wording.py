"""What an approved wording must be: a template that can be filled in, and that says what a first text must say."""

import pytest

from services.policy.wording import wording_problems

GOOD = "Hi{% if name %} {{ name }}{% endif %}, sorry we missed you. NMLS {{ nmls_ids }}. Reply STOP to opt out."


def problems(text: str, family: str = "missed_call_first") -> list[str]:
    return list(wording_problems(family, text))


def test_wording_that_says_all_a_first_text_must_has_no_problem() -> None:
    """Fact M5: disclosures are in every first text, whether or not the borrower's name is known (fact C10)."""
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1 / 0 }} NMLS {{ nmls_ids }} STOP",
        '{% include "x" %} NMLS {{ nmls_ids }} STOP',
        "{{ name + 1 }} NMLS {{ nmls_ids }} STOP",
        "{{ name | nosuch }} NMLS {{ nmls_ids }} STOP",
    ],
)
def test_wording_that_cannot_be_filled_in_is_refused_when_the_file_is_read(text: str) -> None:
    assert problems(text)
    assert problems(text, "missed_call_second")


@pytest.mark.parametrize(
    "text",
    [
        "NMLS {{ nmls_ids }}. {# STOP #}",
        "NMLS {{ nmls_ids }}. {% if name %}Reply STOP.{% endif %}",
        "Reply STOP. {{ nmls_ids[:0] }}",
        "Reply STOP. {% if name %}NMLS {{ nmls_ids }}{% endif %}",
    ],
)
def test_first_text_that_some_borrower_would_read_without_the_ids_or_the_way_out_is_refused(text: str) -> None:
    """12 CFR 1007.105(b): the ids are in the first written words to everybody, and so is how to opt out."""
    assert any(problem.startswith("a first text") for problem in problems(text))
    assert problems(text, "missed_call_second") == []
