"""Something comes between a read and the decision on it, or is not known when it should be: the safe side is taken."""

from contextlib import suppress
from datetime import datetime

import pytest

from services.leads.domain.model import OUTBOX_LIMIT, Call
from services.leads.rounds import partitions_of
from services.leads.shell import DECISION_LEASE_S
from services.runtime.errors import TransientError
from services.runtime.handled import ignored
from services.runtime.mongo_errors import StoreAway
from tests.unit.leads.events import InboundCall, text
from tests.unit.leads.rig import Rig

BEFORE = InboundCall("CA0", offset_s=-9000)
ABANDONED = InboundCall("CA1")
REDIAL = InboundCall("CA2", offset_s=22, legs=1)


async def test_call_waits_where_nobody_knows_how_far_its_partition_is_finished(rig: Rig) -> None:
    """Another instance's offsets cannot be read: what is not known counts as unread."""
    await rig.give(ABANDONED.started(), ABANDONED.ended(4))
    rig.clock.move(4)
    (due,) = await rig.store.calls_due(rig.clock.real_now(), range(rig.reading.partitions), 10)
    both = partitions_of(due, rig.reading)
    rig.reading.unread = dict.fromkeys(both, 1)  # where they end is noted, and they are not finished
    await rig.settle(0)
    rig.reading.unread, rig.reading.silent = {}, set(both)
    await rig.settle(1)
    assert "outcome" not in rig.call()
    rig.reading.silent = set()
    await rig.settle(1)
    assert rig.call()["outcome"] == "missed"


async def test_event_that_cannot_be_finished_keeps_only_calls_of_its_partition_waiting(rig: Rig) -> None:
    calls = [InboundCall(f"CA{n}", caller=f"+1718555{n:04d}") for n in range(200, 220)]
    for call in calls:
        await rig.give(call.started(), call.ended(4))
    stuck = rig.call(calls[0].call_id)["partition"]
    rig.reading.unread = {stuck: 1}
    await rig.settle(4)
    decided = {call["call_id"] for call in rig.store.calls.values() if "outcome" in call}
    assert decided
    assert calls[0].call_id not in decided
    waiting = [call for call in rig.store.calls.values() if "outcome" not in call]
    due = await rig.store.calls_due(rig.clock.real_now(), range(rig.reading.partitions), 99)
    assert len(due) == len(waiting)
    assert all(stuck in partitions_of(one, rig.reading) for one in due)


async def test_talk_that_comes_after_a_miss_has_looked_for_talks_keeps_the_lead_contacted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The miss has seen no talk; before it raises the lead, the redial is answered."""
    await rig.give(*BEFORE.missed())
    await rig.give(ABANDONED.started(), ABANDONED.leg_ended(1), ABANDONED.ended())
    really = rig.store.talks_since

    async def then_the_redial_is_answered(lender_id: str, caller: str, since: datetime) -> list[Call]:
        found = await really(lender_id, caller, since)
        monkeypatch.setattr(rig.store, "talks_since", really)
        await rig.give(REDIAL.started(), REDIAL.leg_answered())
        return found

    monkeypatch.setattr(rig.store, "talks_since", then_the_redial_is_answered)
    await rig.settle(4)
    assert rig.types == ["lead.opened", "lead.assigned", "lead.contacted"]
    assert (rig.lead()["status"], "task" in rig.lead()) == ("contacted", False)


async def test_recording_of_a_miss_that_caused_nothing_goes_into_no_task(rig: Rig) -> None:
    """The caller was served before that miss was decided: its recording is not what the later task is about."""
    await rig.give(*BEFORE.missed())
    await rig.give(ABANDONED.started(), ABANDONED.leg_ended(1), ABANDONED.ended())
    await rig.give(REDIAL.started(), REDIAL.leg_answered())
    await rig.settle(4)
    await rig.give(*InboundCall("CA3", offset_s=4000).missed())
    await rig.give(ABANDONED.recorded())
    assert rig.lead()["task"].get("voicemails", []) == []
    assert rig.lead()["voicemail"] is False


async def test_outbox_grows_to_half_its_limit_while_kafka_is_away_and_then_events_wait(rig: Rig) -> None:
    await rig.give(*BEFORE.missed())
    rig.producer.fail = 10_000
    texts = [text(f"call me at {n}", f"SM{n}", seconds=120 + n) for n in range(OUTBOX_LIMIT)]
    for one in texts:
        with suppress(TransientError):
            await rig.give(one)
    assert len(rig.lead()["outbox"]) == OUTBOX_LIMIT // 2 + 1
    rig.producer.fail = 0
    assert ignored("duplicate") in await rig.give(*texts)
    assert rig.lead()["outbox"] == []
    assert rig.types.count("lead.replied") == OUTBOX_LIMIT


async def test_call_whose_decider_ended_right_after_it_decided_is_carried_out_by_any_instance(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its event comes again only once its partition has moved; the borrower waits for no rebalance."""
    *facts, last = ABANDONED.missed()
    await rig.give(*facts)

    async def ends(*_: object) -> None:
        raise StoreAway("the process ends here")

    with monkeypatch.context() as ending:
        ending.setattr(rig.store, "find_lead", ends)
        with pytest.raises(StoreAway):
            await rig.give(last)
    assert (rig.call()["outcome"], rig.types) == ("missed", [])
    rig.restart()
    await rig.settle(DECISION_LEASE_S + 1)
    assert rig.types == ["lead.opened", "lead.assigned"]
