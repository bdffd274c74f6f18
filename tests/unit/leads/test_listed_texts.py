"""A text that the provider's list tells of, because its webhook was lost: texts that came after it may be known already."""

import pytest

from schemas.envelope import Event
from schemas.inbound import ReplyReceived
from services.policy.suppression import suppression_id
from tests.unit.leads.events import CALLER, LENDER, InboundCall, at, event, text
from tests.unit.leads.rig import NUMBER_KEY, Rig

CALL = InboundCall()
NUMBER = suppression_id(NUMBER_KEY, LENDER, CALLER)


def listed(body: str, seconds: float) -> Event[ReplyReceived]:
    """Return a text as the reconciler tells it, long after it was sent: an old event's time is that of its telling."""
    data = ReplyReceived(
        message_id="SMlate", caller=CALLER, to="+12125550100", body=body, received_at=at(seconds), listed=True
    )
    return event("twilio:SMlate:received", data, seconds + 3600)


@pytest.mark.parametrize("body", ["START", "UNSTOP", "YES"])
async def test_listed_word_that_would_open_texting_is_an_answer_for_a_person_and_never_undoes_a_stop(
    rig: Rig, body: str
) -> None:
    """START at noon, STOP at one; the webhook of START was lost, and the list tells it at two."""
    await rig.give(*CALL.missed(), text("STOP", seconds=600))
    await rig.give(listed(body, 300))
    lead = rig.lead()
    assert lead["texting"] == "stopped"
    assert "replied" in lead["task"]["reasons"]
    assert "lead.opted_in" not in [one.TYPE for one in rig.told]
    await rig.give(text("START", id_="SMnow", seconds=5000))
    assert rig.lead()["texting"] == "open", "said again, it counts"


async def test_webhook_of_a_listed_start_that_comes_at_last_changes_nothing(rig: Rig) -> None:
    """They are one text under one id: what was decided about it stands, for the number as for the lead."""
    start = text("START", "SMlate", seconds=4000)
    await rig.give(*CALL.missed(), text("STOP", seconds=600), listed("START", 300), start)
    assert rig.lead()["texting"] == "stopped"
    assert await rig.store.is_suppressed(NUMBER)


@pytest.mark.parametrize("body", ["START", "YES"])
async def test_listed_word_opens_no_texting_either_where_the_known_stop_came_before_it(rig: Rig, body: str) -> None:
    """Another STOP, sent after it, may not be listed yet."""
    await rig.give(*CALL.missed(), text("STOP", seconds=200), listed(body, 300))
    assert (rig.lead()["texting"], await rig.store.is_suppressed(NUMBER)) == ("stopped", True)


@pytest.mark.parametrize("webhook_comes", [False, True])
async def test_listed_stop_from_before_a_start_that_is_known_stops_nobody_and_is_read_by_a_person(
    rig: Rig, webhook_comes: bool
) -> None:
    await rig.give(*CALL.missed(), text("START", id_="SMnow", seconds=600))
    await rig.give(listed("STOP", 300))
    if webhook_comes:
        await rig.give(text("STOP", "SMlate", seconds=4000))
    assert (rig.lead()["texting"], await rig.store.is_suppressed(NUMBER)) == ("open", False)
    assert "replied" in rig.lead()["task"]["reasons"]


async def test_listed_stop_from_after_a_start_stops(rig: Rig) -> None:
    await rig.give(*CALL.missed(), text("START", id_="SMnow", seconds=200), listed("STOP", 300))
    assert (rig.lead()["texting"], await rig.store.is_suppressed(NUMBER)) == ("stopped", True)


async def test_listed_stop_stops(rig: Rig) -> None:
    await rig.give(*CALL.missed(), listed("STOP", 300))
    assert rig.lead()["texting"] == "stopped"
