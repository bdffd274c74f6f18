"""Real texts through the leads service: a stop in any words stops, and a text that only speaks of one is answered by somebody."""

import pytest

from services.policy.suppression import suppression_id
from tests.unit.leads.events import CALLER, LENDER, InboundCall, text
from tests.unit.leads.rig import NUMBER_KEY, Rig

NUMBER = suppression_id(NUMBER_KEY, LENDER, CALLER)


@pytest.mark.parametrize(
    "body",
    [
        "STOP - Dave",
        "lose my number",
        "ya no me manden mensajes",
        "Don't text, call me",
        "I have a lawyer",
        "stop calling me",
    ],
)
async def test_stop_in_any_words_and_a_doubt_too_suppress_the_number(rig: Rig, body: str) -> None:
    """Fact 0.8: an opt-out is any reasonable way of saying so; what may be one counts as one."""
    await rig.give(*InboundCall().missed(), text(body, "SM1"))
    assert rig.types[-1] == "lead.opted_out"
    assert (rig.lead()["texting"], await rig.store.is_suppressed(NUMBER)) == ("stopped", True)


@pytest.mark.parametrize(
    "body",
    [
        "take me off the loan with my ex",
        'Liked "Reply STOP to opt out"',
        "stop by tomorrow?",
        "Don't call, text",
        "help me",
        "no puedo parar de pensar en esa casa",
    ],
)
async def test_text_that_asks_for_no_stop_of_texts_is_an_answer(rig: Rig, body: str) -> None:
    await rig.give(*InboundCall().missed(), text(body, "SM1"))
    assert rig.types[-1] == "lead.replied"
    assert (rig.lead()["texting"], await rig.store.is_suppressed(NUMBER)) == ("open", False)
