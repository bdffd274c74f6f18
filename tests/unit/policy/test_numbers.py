"""Caller ids: withheld ones are recognized before anything else (fact A10), fictional ones count as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.numbers import WITHHELD, WITHHELD_SENTINELS, mask, normalize_caller


@pytest.mark.parametrize("sentinel", sorted(WITHHELD_SENTINELS))
def test_twilio_sentinel_is_withheld_although_some_look_like_foreign_numbers(sentinel: str) -> None:
    """Fact A10: a withheld number is told as digits, some of which look like valid foreign numbers."""
    assert normalize_caller(sentinel) == WITHHELD
    assert not normalize_caller(sentinel).textable


@pytest.mark.parametrize("word", sorted(WITHHELD_SENTINELS.values()))
def test_each_sentinel_spells_its_word_on_a_keypad(word: str) -> None:
    """Fact A10: the digits are those of the word on a keypad."""
    keys = {
        c: str(n)
        for n, letters in enumerate(("abc", "def", "ghi", "jkl", "mno", "pqrs", "tuv", "wxyz"), 2)
        for c in letters
    }
    assert WITHHELD_SENTINELS["+" + "".join(keys[c] for c in word)] == word


@pytest.mark.parametrize(
    "raw", [None, "", "  ", "anonymous", "Anonymous", "RESTRICTED", "unavailable", "Unknown", "private"]
)
def test_empty_or_withheld_word_is_withheld(raw: str | None) -> None:
    """Fact A10: empty, or a word such as anonymous, is a withheld number."""
    assert normalize_caller(raw).withheld


@pytest.mark.parametrize(
    "raw",
    [
        "No Caller ID",
        "blocked",
        "266696687",
        "86282452253",
        "2562533",
        "8656696",
        "<anonymous>",
        "Unknown Caller",
        "UNKNOWN CALLER",
        "Private Number",
        "Private Caller",
        "Unknown Number",
        "Restricted Number",
        "Number withheld",
    ],
)
def test_other_spellings_of_withheld_are_withheld(raw: str) -> None:
    """Fact A10: whatever case, punctuation and missing plus."""
    assert normalize_caller(raw).withheld


@pytest.mark.parametrize("raw", ["7378742833", "+17378742833", "(737) 874-2833"])
def test_austin_number_with_the_digits_of_restricted_is_a_caller(raw: str) -> None:
    """Fact A10: with the country code, a keypad word may be a real number."""
    assert normalize_caller(raw).e164 == "+17378742833"


@pytest.mark.parametrize(
    "raw", ["+13035550123", "13035550123", "3035550123", "(303) 555-0123", "303.555.0123", " +1 303 555 0123 "]
)
def test_fictional_number_in_any_spelling_is_the_same_caller(raw: str) -> None:
    found = normalize_caller(raw)
    assert (found.kind, found.e164, found.textable) == ("e164", "+13035550123", True)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("client:dana", "not_a_number"),
        ("sip:3035550123@example.com", "not_a_number"),
        ("1-800-FLOWERS", "not_a_number"),
        ("1.30356E+10", "not_a_number"),
        ("+" + "1" * 40, "not_a_number"),
        ("9" * 65, "not_a_number"),
        ("911", "impossible"),
        ("12", "impossible"),
        ("5550123", "not_dialable"),
        ("+19115550123", "not_dialable"),
        ("+11235550123", "not_dialable"),
        ("+13031550123", "not_dialable"),
    ],
)
def test_what_is_no_number_is_invalid_with_its_reason(raw: str, reason: str) -> None:
    found = normalize_caller(raw)
    assert (found.kind, found.e164, found.textable) == ("invalid", None, False)
    assert found.reason == reason


def test_foreign_caller_is_kept_by_the_rules_of_that_country() -> None:
    assert normalize_caller("+442079460000").e164 == "+442079460000"
    assert normalize_caller("+44123").kind == "invalid"


@given(st.one_of(st.none(), st.text(max_size=80), st.from_regex(r"\+?[0-9 ().;x-]{0,40}", fullmatch=True)))
def test_any_text_is_one_of_three_kinds_and_reading_it_again_changes_nothing(raw: str | None) -> None:
    found = normalize_caller(raw)
    assert (found.e164 is not None) == (found.kind == "e164") == found.textable
    assert (found.reason is not None) == (found.kind == "invalid")
    if found.e164:
        assert normalize_caller(found.e164) == found


def test_mask_shows_no_whole_number_and_is_ascii() -> None:
    assert mask("+13035550134") == "+1303***0134"
    assert mask("+442079460000") == "+44********00"
    assert mask("+4412345") == "+44***45"
    assert mask("hello") == "***"
    assert mask(None) == mask("") == "withheld"


@given(st.text(max_size=30))
def test_mask_never_gives_the_text_back(raw: str) -> None:
    assert mask(raw).isascii()
    assert mask(raw) != raw or set(raw) == {"*"} or raw == "withheld"
