"""Simulated borrowers do the same on every machine, in the shares that were asked for."""

from collections import Counter

import pytest
from pydantic import ValidationError

from deploy.sandbox.borrowers import Script, behavior, scripted
from deploy.sandbox.settings import Shares
from deploy.sandbox.store import keyword

NUMBERS = [f"+1512555{n:04d}" for n in range(4000)]


def test_borrower_asked_twice_does_the_same_and_another_seed_differs() -> None:
    one = [behavior(number, 1, Shares()) for number in NUMBERS[:200]]
    assert one == [behavior(number, 1, Shares()) for number in NUMBERS[:200]]
    assert one != [behavior(number, 2, Shares()) for number in NUMBERS[:200]]


def test_borrowers_together_keep_their_shares() -> None:
    kinds = Counter(behavior(number, 1, Shares()).kind for number in NUMBERS)
    expected = {"silent": 0.45, "reply": 0.40, "opt_out": 0.06, "help": 0.03, "undelivered": 0.06}
    assert {kind: round(count / len(NUMBERS), 2) for kind, count in kinds.items()} == pytest.approx(expected, abs=0.03)


def test_borrowers_opt_out_by_keyword_and_in_their_own_words() -> None:
    bodies = [behavior(number, 1, Shares(opt_out=0.5)).replies for number in NUMBERS]
    kinds = {keyword(replies[0].body) for replies in bodies if replies}
    assert {"STOP", None} <= kinds


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="must not exceed 1"):
        Shares(reply=0.9, opt_out=0.2)


def test_scripted_replies_answer_in_turn_unless_they_name_their_text() -> None:
    who = scripted(
        Script.model_validate(
            {
                "number": "+15125550134",
                "replies": [{"body": "a"}, {"body": "b"}, {"body": "c", "to_text": 1}],
            }
        )
    )
    assert [reply.body for reply in who.answers(1)] == ["a", "c"]
    assert [reply.body for reply in who.answers(2)] == ["b"]
    assert who.answers(3) == []
