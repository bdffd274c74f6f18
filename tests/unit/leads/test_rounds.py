"""What every instance does beside consuming: one bad document keeps nobody from the others."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.envelope import Wire
from services.leads.rounds import busy_with
from services.runtime.errors import TransientError
from tests.unit.leads.events import LENDER, InboundCall
from tests.unit.leads.rig import Rig

UNREADABLE = f"{LENDER}:twilio:unreadable"


def _unreadable_call(rig: Rig) -> dict[str, Any]:
    """Return a call's document, due before all others, that lacks what every call has."""
    due = rig.clock.real_now() - timedelta(days=1)
    return {"_id": UNREADABLE, "rev": 0, "settle_at": due, "ended_at": due, "applied": False}


async def _leave_an_outbox(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a lead whose instance died before Kafka had its events."""

    async def away(*records: Wire) -> None:
        raise TransientError("Kafka is away")

    facts = InboundCall().missed()
    with monkeypatch.context() as patch:
        patch.setattr(rig.producer, "send_wire", away)
        await rig.give(*facts)
    rig.restart()


async def test_unreadable_call_neither_ends_the_settlers_round_nor_keeps_other_calls_waiting(rig: Rig) -> None:
    await rig.give(InboundCall().started(), InboundCall().ended(4))
    rig.store.calls[UNREADABLE] = _unreadable_call(rig)
    await rig.settle(4)
    assert rig.call()["outcome"] == "missed"
    assert "outcome" not in rig.store.calls[UNREADABLE]


async def test_unreadable_lead_neither_ends_the_sweepers_round_nor_keeps_other_outboxes_waiting(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _leave_an_outbox(rig, monkeypatch)
    rig.store.leads["unreadable"] = {
        "_id": "unreadable",
        "lender_id": LENDER,
        "caller": "+17185550199",
        "rev": 0,
        "outbox": [{"seq": 1}],
        "outbox_since": rig.clock.real_now() - timedelta(days=1),
    }
    await rig.sweep(3)
    assert rig.types == ["lead.opened", "lead.assigned"]
    assert rig.lead()["outbox"] == []


async def test_outbox_of_this_moment_is_left_to_whoever_filled_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await _leave_an_outbox(rig, monkeypatch)
    await rig.sweep(1)
    assert rig.types == []
    assert await busy_with(rig.store) == "1 leads with an outbox"
    await rig.sweep(2)
    assert rig.types == ["lead.opened", "lead.assigned"]


async def test_service_is_busy_while_a_call_that_ended_settles(rig: Rig) -> None:
    await rig.give(InboundCall().started())
    assert await busy_with(rig.store) is None
    await rig.give(InboundCall().ended(4))
    assert await busy_with(rig.store) == "1 calls settling"
    await rig.settle(4)
    assert await busy_with(rig.store) is None


async def test_call_that_was_claimed_and_not_finished_is_settled_again_when_its_lease_is_over(rig: Rig) -> None:
    await rig.give(InboundCall().started(), InboundCall().ended(4))
    rig.clock.move(4)
    claimed = await rig.store.claim_call(
        rig.call()["_id"], rig.clock.real_now(), rig.clock.real_now() + timedelta(seconds=10)
    )
    assert claimed is not None
    await rig.settle(9)
    assert "outcome" not in rig.call()
    await rig.settle(2)
    assert rig.call()["outcome"] == "missed"
