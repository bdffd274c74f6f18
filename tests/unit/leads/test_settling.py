"""Who may decide a call that has gone quiet, and what becomes of one that nobody can decide."""

from datetime import timedelta

import pytest
from aiokafka.partitioner import DefaultPartitioner

from services.leads import rounds
from services.leads.rounds import UNDECIDED, Undecided, partitions_of
from services.policy.suppression import suppression_id
from services.runtime.partitions import partition_of
from tests.unit.leads.events import CALLER, LENDER, InboundCall, text
from tests.unit.leads.rig import NUMBER_KEY, Rig

CALL = InboundCall()


async def _ended(rig: Rig) -> frozenset[int]:
    """Read a call whose legs' ends do not come; return the partitions its facts may lie in, the caller's first."""
    await rig.give(CALL.started(), CALL.ended(4))
    rig.clock.move(4)
    (due,) = await rig.store.calls_due(rig.clock.real_now(), range(rig.reading.partitions), 10)
    found = partitions_of(due, rig.reading)
    assert len(found) == 2, "the caller's and the call's own"
    assert rig.call()["partition"] in found
    return found


async def test_call_is_decided_by_the_owner_of_its_partition_and_by_nobody_else(rig: Rig) -> None:
    """Another instance may have read all of its own partitions and know nothing of an answer that waits in this one."""
    await _ended(rig)
    mine = rig.call()["partition"]
    rig.reading.owned = frozenset(range(rig.reading.partitions)) - {mine}
    await rig.settle(0)
    assert "outcome" not in rig.call()
    rig.reading.owned = frozenset({mine})
    await rig.settle(0)
    assert rig.call()["outcome"] == "missed"


@pytest.mark.parametrize("whose", ["the caller's", "the call's own"])
async def test_call_waits_for_the_facts_in_both_its_partitions(rig: Rig, whose: str) -> None:
    """A webhook that names no caller is keyed by the call, so its proof of an answer may lie in another partition."""
    both = await _ended(rig)
    mine = rig.call()["partition"]
    (waits_for,) = {mine} if whose == "the caller's" else both - {mine}
    rig.reading.unread = {waits_for: 1}
    await rig.settle(30)
    assert "outcome" not in rig.call()
    rig.reading.unread = {}
    await rig.settle(0)
    assert rig.call()["outcome"] == "missed"


async def test_partition_that_does_not_answer_keeps_its_calls_waiting_and_no_others(rig: Rig) -> None:
    """One event that cannot be finished stopped the settling of every call of its instance."""
    both = await _ended(rig)
    others = [InboundCall(f"CA{n}", caller=f"+1718555{n:04d}") for n in range(200, 220)]
    for call in others:
        await rig.give(call.started(), call.ended(4))
    rig.reading.silent = set(both)
    await rig.settle(4)
    decided = {call["call_id"] for call in rig.store.calls.values() if "outcome" in call}
    assert decided == {call.call_id for call in others if not _partitions(rig, call) & both}
    assert decided


async def test_more_calls_than_a_batch_that_nobody_can_decide_hide_no_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "SETTLE_BATCH", 3)
    calls = [InboundCall(f"CA{n}", caller=f"+1718555{n:04d}") for n in range(200, 300)]
    stuck = rig.reading.partition_of(f"{LENDER}:{calls[0].caller}".encode())
    stuck_calls = [call for call in calls if stuck in _partitions(rig, call)]
    others = [call for call in calls if call not in stuck_calls][:5]
    assert len(stuck_calls) > 3
    rig.reading.silent = {stuck}
    for group in (stuck_calls, others):
        for call in group:
            await rig.give(call.started(), call.ended(4))
        rig.clock.move(0.1)
    await rig.settle(4)
    for _ in range(5):
        await rig.settle(0)
    decided = {call["call_id"] for call in rig.store.calls.values() if "outcome" in call}
    assert decided == {call.call_id for call in others}


async def test_every_call_that_waits_for_five_minutes_becomes_a_task_however_many_there_are(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "UNDECIDED_BATCH", 3)
    calls = [InboundCall(f"CA{n}", caller=f"+1718555{n:04d}") for n in range(200, 208)]
    rig.reading.silent = set(range(rig.reading.partitions))
    for call in calls:
        await rig.give(call.started(), call.ended(4))
    rig.clock.move(310)
    for _ in range(3):
        await rig.undecided.round()
    assert {lead["caller"] for lead in rig.store.leads.values()} == {call.caller for call in calls}


def _partitions(rig: Rig, call: InboundCall) -> set[int]:
    keys = (f"{LENDER}:{call.caller}", f"{LENDER}:call:{call.call_id}")
    return {rig.reading.partition_of(key.encode()) for key in keys}


async def test_busy_partition_whose_end_moves_on_all_the_time_does_not_keep_a_call_waiting(rig: Rig) -> None:
    """Only what stood there when the call was due has to be finished, not what came afterwards."""
    both = await _ended(rig)
    rig.reading.unread = dict.fromkeys(both, 5)
    await rig.settle(0)
    assert "outcome" not in rig.call()
    rig.reading.end += 5  # five records are finished, and five others have come
    await rig.settle(0.25)
    assert rig.call()["outcome"] == "missed"


async def test_answer_that_the_new_owner_reads_between_claim_and_write_is_not_decided_over(rig: Rig) -> None:
    await _ended(rig)
    now = rig.clock.real_now()
    claimed = await rig.store.claim_call(rig.call()["_id"], now, now + timedelta(seconds=10))
    assert claimed is not None
    await rig.instance().handle(CALL.leg_answered())
    await rig.shell.settle(claimed)
    assert (rig.call()["outcome"], rig.types) == ("answered", [])


async def test_call_undecided_for_a_minute_makes_every_instance_unready_naming_the_partition(rig: Rig) -> None:
    await _ended(rig)
    stuck = rig.call()["partition"]
    rig.reading.unread = {stuck: 1}
    await rig.settle(55)
    await rig.undecided.round()
    assert UNDECIDED not in rig.health.not_ready
    rig.clock.move(10)
    await rig.undecided.round()
    assert f"call-events partition {stuck}" in rig.health.not_ready[UNDECIDED]
    rig.reading.unread = {}
    await rig.settle(0)
    await rig.undecided.round()
    assert UNDECIDED not in rig.health.not_ready


async def _undecided(rig: Rig) -> None:
    """Leave the call undecided for five minutes; every instance looks, twice."""
    rig.reading.unread = {rig.call()["partition"]: 1}
    await rig.settle(301)
    other = Undecided(store=rig.store, shell=rig.instance(), clock=rig.clock, health=rig.health, reading=rig.reading)
    for instance in (rig.undecided, other, rig.undecided):
        await instance.round()


async def test_call_undecided_for_five_minutes_becomes_an_urgent_task_and_no_text(rig: Rig) -> None:
    """No `lead.opened`, so no sequence: the caller may have been served."""
    await _ended(rig)
    await _undecided(rig)
    lead = rig.lead()
    assert (lead["task"]["urgency"], lead["task"]["reasons"]) == ("urgent", ["not_decided"])
    assert [(one.TYPE, one.lead_seq) for one in rig.told] == [("lead.assigned", 1)]
    assert (lead["owner_id"], lead["source"]) == (rig.told[0].lead.owner_id, "Inbound call")


async def test_undecided_call_of_someone_with_a_lead_raises_its_task_without_an_event(rig: Rig) -> None:
    await rig.give(*InboundCall("CA0", offset_s=-9000).missed())
    told = len(rig.told)
    await _ended(rig)
    await _undecided(rig)
    assert (rig.lead()["task"]["urgency"], rig.lead()["task"]["reasons"]) == ("urgent", ["missed_call", "not_decided"])
    assert len(rig.told) == told


async def test_answer_that_is_read_at_last_closes_the_task_of_an_undecided_call(rig: Rig) -> None:
    await _ended(rig)
    await _undecided(rig)
    rig.reading.unread = {}
    await rig.give(CALL.leg_answered())
    await rig.settle(4)
    assert (rig.call()["outcome"], rig.lead()["status"], "task" in rig.lead()) == ("answered", "contacted", False)
    assert [one["reasons"] for one in rig.store.task_log.values()] == [["not_decided"]]


async def test_undecided_call_that_turns_out_missed_raises_the_lead_it_made(rig: Rig) -> None:
    await _ended(rig)
    await _undecided(rig)
    rig.reading.unread = {}
    await rig.settle(4)
    assert (rig.call()["outcome"], rig.call()["applied"]) == ("missed", True)
    assert rig.types == ["lead.assigned", "lead.called_again"]
    assert len(rig.store.leads) == 1


async def test_opted_out_caller_of_an_undecided_call_gets_a_lead_without_texts(rig: Rig) -> None:
    await rig.give(text("STOP", "SM1", -10))
    assert await rig.store.is_suppressed(suppression_id(NUMBER_KEY, LENDER, CALLER))
    await _ended(rig)
    await _undecided(rig)
    assert rig.lead()["texting"] == "stopped"


async def test_call_that_still_goes_on_is_not_undecided(rig: Rig) -> None:
    await rig.give(CALL.started())
    rig.clock.move(170)
    await rig.undecided.round()
    assert UNDECIDED not in rig.health.not_ready


async def test_two_settlers_decide_a_call_once(rig: Rig) -> None:
    await _ended(rig)
    await rig.other_settler(rig.instance()).round()
    await rig.settle(0)
    assert rig.types == ["lead.opened", "lead.assigned"]


def test_key_lies_where_the_client_puts_it() -> None:
    """The owner of a caller's partition is found by the rule that the producers use (murmur2 of the key)."""
    for n in range(50):
        key = f"{LENDER}:+1718555{n:04d}".encode()
        assert partition_of(key, 12) == DefaultPartitioner()(key, list(range(12)), [])
