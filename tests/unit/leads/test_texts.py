"""Borrowers' texts: none is lost, whatever fails in between; and one from someone without a lead is shown to somebody."""

import asyncio
import itertools
from datetime import datetime
from typing import Any

import pytest

from schemas.ids import lead_id
from services.leads.domain.messages import Reply
from services.leads.domain.model import Lead
from services.policy.suppression import suppression_id
from services.runtime.errors import TransientError
from services.runtime.handled import ignored
from tests.unit.leads.events import CALLER, LENDER, InboundCall, at, text
from tests.unit.leads.rig import NUMBER_KEY, Rig

NUMBER = suppression_id(NUMBER_KEY, LENDER, CALLER)


def _failing_once(rig: Rig, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    real, failed = getattr(rig.store, method), False

    async def once(*args: Any, **more: Any) -> Any:
        nonlocal failed
        if not failed:
            failed = True
            raise TransientError("a failover")
        return await real(*args, **more)

    monkeypatch.setattr(rig.store, method, once)


@pytest.mark.parametrize("method", ["put_message", "save_lead"])
async def test_yes_of_an_opted_out_borrower_opts_in_although_mongodb_fails_in_between(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """On the second try the number is no longer suppressed, by this very text: it is still an opt-in."""
    await rig.give(*InboundCall().missed(), text("STOP", "SM1"))
    _failing_once(rig, monkeypatch, method)
    yes = text("YES", "SM2", 200)
    with pytest.raises(TransientError):
        await rig.give(yes)
    await rig.give(yes)
    assert rig.types[-1] == "lead.opted_in"
    assert (rig.lead()["texting"], await rig.store.is_suppressed(NUMBER)) == ("open", False)


async def test_yes_that_was_an_answer_stays_one_when_it_comes_again_after_a_stop(rig: Rig) -> None:
    """A worker may die before it commits; the clocks of two web servers may differ."""
    yes = text("YES", "SM1", 200)
    await rig.give(*InboundCall().missed(), yes, text("STOP", "SM2", 190), yes)
    assert (rig.types[-1], rig.lead()["texting"]) == ("lead.opted_out", "stopped")
    assert await rig.store.is_suppressed(NUMBER)


async def test_text_that_came_while_the_lead_was_made_is_applied_although_the_first_emit_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka acknowledged, and MongoDB was away when the outbox was to be emptied: the event comes again."""
    facts = InboundCall().missed()
    await rig.give(*facts[:-1])
    insert = rig.store.insert_lead
    stop = text("STOP", "SM1", 20)

    async def insert_late(lead: Lead, now: datetime) -> bool:
        await rig.give(stop)
        return await insert(lead, now)

    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "insert_lead", insert_late)
        _failing_once(rig, monkeypatch, "pull_outbox")
        with pytest.raises(TransientError):
            await rig.give(facts[-1])
        await rig.give(facts[-1])
    assert rig.types == ["lead.opened", "lead.assigned", "lead.opted_out"]
    assert stop.id in rig.lead()["seen"]


async def test_stop_that_comes_between_the_reads_for_a_new_lead_stops_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts are read before the suppression: whoever finds the text in `messages` finds the number suppressed."""
    facts = InboundCall().missed()
    await rig.give(*facts[:-1])
    read, stopped = rig.store.replies_of, asyncio.Event()

    async def read_late(lender_id: str, caller: str, limit: int) -> list[Reply]:
        if not stopped.is_set():
            for _ in range(20):
                await asyncio.sleep(0)  # the suppression has been read meanwhile, were it read beside
            stopped.set()
            await rig.give(text("STOP", "SM1", 20))
        return await read(lender_id, caller, limit)

    monkeypatch.setattr(rig.store, "replies_of", read_late)
    await rig.give(facts[-1])
    assert rig.lead()["texting"] == "stopped"


async def test_text_of_an_answered_caller_makes_a_lead_with_an_owner_and_a_task(rig: Rig) -> None:
    """Nobody saw such a text: an answered first call makes no lead. It starts no "sorry I missed your call" either."""
    call = InboundCall(legs=1)
    await rig.give(call.started(), call.leg_answered(), call.leg_ended(1, "completed"), call.ended())
    received = text("Can you call me back tomorrow?", "SM9")
    await rig.give(received)
    lead = rig.lead()
    assert (lead["_id"], lead["opened_by_call"]) == (lead_id(received.id), f"text:{received.id}")
    assert (lead["source"], lead["status"], lead["first_reply_at"]) == ("Inbound text", "conversing", at(120))
    assert (lead["task"]["reasons"], lead["task"]["urgency"]) == (["callback_asked"], "high")
    assert [(one.TYPE, one.lead_seq) for one in rig.told] == [("lead.replied", 1), ("lead.assigned", 2)]
    assert (lead["owner_id"], lead["replies"], lead["halt_seq"]) == (rig.told[1].lead.owner_id, 1, 1)
    assert await rig.give(received) == [ignored("duplicate")]
    assert len(rig.told) == 2


@pytest.mark.parametrize("body", ["STOP", "START", "HELP"])
async def test_word_that_only_steers_texting_makes_no_lead(rig: Rig, body: str) -> None:
    await rig.give(text(body))
    assert (rig.store.leads, len(rig.store.messages)) == ({}, 1)


async def test_text_of_an_opted_out_number_without_a_lead_makes_one_that_gets_no_texts(rig: Rig) -> None:
    await rig.give(text("STOP", "SM1"), text("please call me", "SM2", 130))
    assert (rig.lead()["texting"], rig.told[0].texting) == ("stopped", "stopped")
    assert rig.lead()["task"]["state"] == "open"


async def test_call_missed_after_the_text_calls_the_same_lead_again(rig: Rig) -> None:
    await rig.give(text("Are you open?", "SM1", -10))
    await rig.give(*InboundCall().missed())
    assert rig.types == ["lead.replied", "lead.assigned", "lead.called_again"]
    assert len(rig.store.leads) == 1


async def test_text_and_missed_call_that_make_a_lead_at_the_same_moment_make_one(rig: Rig) -> None:
    facts = InboundCall().missed()
    await rig.give(*facts[:-1])
    await asyncio.gather(rig.shell.handle(facts[-1]), rig.instance().handle(text("Hello?", "SM1", 10)))
    assert len(rig.store.leads) == 1
    lead = rig.lead()
    assert (lead["replies"], lead["calls"]) == (1, 1)
    assert [one.lead_seq for one in rig.told] == [1, 2, 3]


async def test_store_that_goes_away_at_any_moment_of_a_first_text_leaves_one_lead_after_the_retry() -> None:
    for moment in itertools.count():
        rig = Rig()
        await rig.seed()
        rig.store.away_after = moment
        received = text("Hello?")
        try:
            await rig.give(received)
        except TransientError:
            rig.restart()
            await rig.give(received)
        assert (rig.types, len(rig.store.leads)) == (["lead.replied", "lead.assigned"], 1)
        assert sum(len(officer.get("taken", [])) for officer in rig.store.officers_.values()) == 1
        assert rig.lead()["outbox"] == []
        if rig.store.away_after is not None:
            break
    assert moment >= 5
