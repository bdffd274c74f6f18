"""Machines' texts, quotations and secrets, before any reader sees a text."""

import pytest

from services.policy.reading.machine import machine_kind
from services.policy.reading.masking import mask_secrets
from services.policy.reading.normal import CLAUSES_MAX, READ_MAX, make_plain
from services.policy.reading.quoted import strip_quoted


@pytest.mark.parametrize(
    ("body", "media", "kind"),
    [
        ('Liked "Sorry we missed you"', 0, "tapback"),
        ("Reacted \U0001f44d to \u201cReply STOP to opt out\u201d", 0, "tapback"),
        ('Le encant\u00f3 "Gracias"', 0, "tapback"),
        ("Loved an image", 0, "tapback"),
        ("Sorry, I can't talk right now.", 0, "auto_reply"),
        ("Respuesta autom\u00e1tica: fuera de la oficina", 0, "auto_reply"),
        ("", 1, "media"),
        ("  ", 0, "empty"),
        ("FREE MSG: Unable to send message - Message Blocking is active.", 0, "carrier"),
        ("Loved the house on Elm", 0, None),
        ("I'm driving, call me in 20", 0, None),
        ("liked it", 0, None),
        ("stop", 0, None),
        ("see picture", 1, None),
        ('Liked "Sorry we missed you" but call me', 0, None),
        ("out of this world", 0, None),
    ],
)
def test_machine_is_told_from_a_person(body: str, media: int, kind: str | None) -> None:
    assert machine_kind(body, media) == kind


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("> Sorry we missed you. Reply STOP to opt out\nYes", "Yes"),
        ("On Tue Summit wrote:\n> Reply STOP\nCall me", "Call me"),
        ("Refi\n--\nDave\nMiller Plumbing", "Refi"),
        ("Refi\nSent from my iPhone", "Refi"),
        ("\u201cWhat works? Reply STOP to opt out\u201d 5pm", "5pm"),
        ('he said "call me tomorrow at three"', 'he said "call me tomorrow at three"'),
    ],
)
def test_quotations_and_signatures_go(body: str, kept: str) -> None:
    assert strip_quoted(body) == kept


def test_newest_text_of_ours_goes_wherever_it_stands() -> None:
    assert strip_quoted("Hi, is this a purchase? yes", ours=("Hi, is this a purchase?",)) == "yes"


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        ("my ssn is 123-45-6789", "my ssn is [ssn]"),
        ("social 123456789", "social [ssn]"),
        ("123-45-6789 ok", "[ssn] ok"),
        ("card 4111 1111 1111 1111 exp 12/27", "card [card] exp 12/27"),
        ("account 00123456789", "account [account]"),
        ("acct: 3055550142", "acct: [account]"),
        ("routing number 021000021", "routing number [account]"),
        ("call 305-555-0142", "call 305-555-0142"),
        ("3055550142", "3055550142"),
        ("+13055550142", "+13055550142"),
        ("350000 house, 20% down", "350000 house, 20% down"),
        ("1234 Elm St, 33139", "1234 Elm St, 33139"),
    ],
)
def test_numbers_shaped_like_secrets_are_masked_and_phones_are_not(body: str, masked: str) -> None:
    assert mask_secrets(body).text == masked


def test_kinds_of_masked_secrets_are_told() -> None:
    assert mask_secrets("ssn 123-45-6789, card 4111111111111111").found == {"ssn", "card"}


def test_plain_text_has_misspellings_put_right_and_real_words_left() -> None:
    assert make_plain("plz STPO txting").text == "please stop texting"
    assert make_plain("contract, cancer, step, massage").clauses == ("contract", "cancer", "step", "massage")
    assert make_plain("N\u00famero a las 3:30").text == "numero a las 3:30"


@pytest.mark.parametrize("unit", ["1/", "a!", "stop, ", "\U0001f44d5:", "\U0001f44d"])
def test_text_of_marks_alone_costs_no_more_than_a_long_one(unit: str) -> None:
    """The longest text a carrier takes has 1,600 characters; each clause is read by each rule, and an emoji is a word."""
    plain = make_plain((unit * 1_600)[:1_600])
    assert len(plain.clauses) <= CLAUSES_MAX
    assert len(plain.text) <= READ_MAX + 1


def test_text_of_many_different_clauses_is_read_at_both_ends() -> None:
    clauses = make_plain(",".join(f"n{n}" for n in range(300))).clauses
    assert (clauses[0], clauses[-1], len(clauses)) == ("n0", "n299", CLAUSES_MAX)
