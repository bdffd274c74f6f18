"""What borrowers' texts mean: the rules of which intent outdoes which, and of what its question explains."""

import pytest

from services.policy.reading.intents import RulesInterpreter
from services.policy.reading.interpreter import Question

READER = RulesInterpreter()


def labels(text: str, question: Question | None = None) -> set[str]:
    """Return the labels of what a text means."""
    return {intent.label for intent in READER.read(text, last_question=question) if intent.confidence >= 0.5}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Refi", {"purpose:refinance"}),
        ("looking to buy, need a pre-approval", {"purpose:purchase"}),
        ("comprar casa", {"purpose:purchase"}),
        ("Asap, call me at 5", {"timeline:now", "callback_at"}),
        ("buying in 2 or 3 months", {"purpose:purchase", "timeline:3m"}),
        ("We already applied with Chase", {"applied_elsewhere:yes"}),
        ("the house is in Georgia", {"property_state:GA"}),
        ("Houston TX", {"property_state:TX"}),
    ],
)
def test_answers_are_read(text: str, wanted: set[str]) -> None:
    """Fact E1: purchase or refinance, a rough timeline, an application that has started elsewhere."""
    assert labels(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("FHA", {"loan_type:fha"}),
        ("cash out refi", {"loan_type:cash_out", "purpose:refinance"}),
        ("it's urgent", {"urgency"}),
        ("VA loan", {"loan_type:va"}),
    ],
)
def test_loan_type_and_urgency_are_taken_when_volunteered(text: str, wanted: set[str]) -> None:
    """Fact E2: loan type, urgency and timing."""
    assert labels(text) == wanted


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("what's the rate today", "rate"),
        ("can I lock my rate", "lock"),
        ("what are your fees", "fees"),
        ("status of my pre-approval", "preapproval"),
        ("need a preapproval letter today", "preapproval"),
        ("are we still closing friday", "closing"),
        ("my contract deadline is Friday", "deadline"),
        ("I want to file a complaint", "complaint"),
        ("let me talk to a person", "human"),
        ("this is ridiculous", "anger"),
        ("do I qualify with 600", "advice"),
        ("cual es la tasa", "rate"),
        ("quiero hablar con una persona", "human"),
    ],
)
def test_what_a_person_must_answer_is_a_handover(text: str, topic: str) -> None:
    """Fact F1: rates, locks, pre-approval status, closing and deadlines go to a human; fact E5: automation answers none of it."""
    assert f"handover:{topic}" in labels(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("call me now", {"call_now"}),
        ("Llámeme ahora", {"call_now"}),
        ("please call me", {"callback"}),
        ("wrong number", {"wrong_number"}),
        ("not Maria", {"wrong_number"}),
        ("not interested", {"not_interested"}),
        ("I have a loan with you", {"existing_loan"}),
        ("I'm a realtor", {"not_a_borrower"}),
        ("I can't make my payment", {"hardship"}),
        ("TCPA", {"legal"}),
        ("Hablan español?", {"language:es"}),
        ("gracias", {"thanks"}),
        ("\U0001f44d", {"yes"}),
        ("who is this", {"ask:who"}),
        ("are you a bot", {"ask:bot"}),
        ("how did you get my number", {"ask:number"}),
        ("no", {"no"}),
        ("hello", set()),
    ],
)
def test_steering_words_are_read(text: str, wanted: set[str]) -> None:
    assert labels(text) == wanted


def test_no_after_the_question_of_other_lenders_is_its_answer() -> None:
    assert labels("no", "applied_elsewhere") == {"no", "applied_elsewhere:no"}
    assert labels("no") == {"no"}


def test_asap_after_the_question_of_a_time_is_a_call_now() -> None:
    assert labels("asap", "callback_time") == {"call_now"}
    assert labels("asap") == {"timeline:now"}


def test_both_purposes_in_one_text_are_a_doubt() -> None:
    found = [intent for intent in READER.read("not sure if I want to refi or buy a house") if intent.kind == "purpose"]
    assert len(found) == 2
    assert all(intent.confidence < 0.5 for intent in found)


def test_time_of_a_call_comes_with_its_intent() -> None:
    found = [intent for intent in READER.read("tomorrow after 3") if intent.kind == "callback_at"]
    assert found[0].time is not None
    assert (found[0].time.days, found[0].time.hour, found[0].time.relation) == (1, 3, "after")


@pytest.mark.parametrize(
    "text",
    [
        'Loved "Are you looking to buy or refinance?"',
        "I'm driving with Focus turned on. I'll see your message when I get where I'm going.",
    ],
)
def test_machine_means_nothing(text: str) -> None:
    assert READER.read(text) == ()
