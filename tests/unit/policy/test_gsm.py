"""Texts stay in GSM-7, whatever a keyboard put in."""

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from services.policy.gsm import clean, segments


def test_typographic_letters_become_plain_ones() -> None:
    assert clean("Don\u2019t wait\u2014call\u00a0us \u201ctoday\u201d\u2026") == 'Don\'t wait - call us "today"...'


def test_letters_with_accents_stay_where_gsm_has_them_and_lose_them_where_not() -> None:
    assert clean("Zoë Ñandú Łukasz Nguyễn") == "Zoe Ñandu Lukasz Nguyen"


@given(st.text(max_size=200))
def test_any_text_comes_out_in_gsm_and_cleaning_it_again_changes_nothing(text: str) -> None:
    once = clean(text)
    assert once == "" or smsutil.is_valid_gsm(once)
    assert clean(once) == once


def test_segments_are_the_carriers() -> None:
    """Fact 0.5: one character outside GSM-7 makes a text of one segment three."""
    assert [segments("x" * 134 + last) for last in ("-", "\u2014")] == [1, 3]
    assert [segments("x" * n) for n in (0, 160, 161, 306, 307)] == [1, 1, 2, 2, 3]
    assert segments("€" * 81) == 2
    assert segments("x" * 70 + "\u4e2d") == 2


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("", 1),
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("€" * 80, 1),
        ("é" * 160, 1),
        ("🙏" * 35, 1),
        ("🙏" * 36, 2),
        ("я" * 71, 2),
    ],
)
def test_segments_of_a_text_are_counted_in_gsm7_and_else_in_ucs2(body: str, count: int) -> None:
    assert segments(body) == count
