"""After an outage of Kafka the proof of an answer may still wait in ingest's spool: nobody is called missed meanwhile."""

import pytest

from services.leads.outages import DRAIN_S
from services.leads.rounds import partitions_of
from tests.unit.leads.events import InboundCall
from tests.unit.leads.rig import Rig

CALL = InboundCall()


async def _goes_on(rig: Rig) -> frozenset[int]:
    """Begin a call that goes on; return the partitions its facts may lie in."""
    await rig.give(CALL.started())
    rig.clock.move(1)
    (due,) = await rig.store.calls_due(rig.clock.real_now().replace(year=2099), range(rig.reading.partitions), 10)
    return partitions_of(due, rig.reading)


@pytest.mark.parametrize("whole", [True, False], ids=["all of Kafka", "one of its partitions"])
async def test_call_that_became_due_in_an_outage_waits_until_ingest_has_sent_what_it_held(
    rig: Rig, whole: bool
) -> None:
    """Four minutes without Kafka, and in them the key press of a call that goes on: they are talking still."""
    both = await _goes_on(rig)
    rig.reading.silent = set(range(rig.reading.partitions)) if whole else {min(both)}
    await rig.settle(240)
    rig.reading.silent = set()
    for _ in range(8):
        await rig.settle(1)
    assert "outcome" not in rig.call()
    await rig.give(CALL.leg_answered(named=False))
    await rig.settle(200)
    assert (rig.call()["outcome"], rig.types) == ("answered", [])


async def test_call_that_becomes_due_just_after_an_outage_waits_for_the_spool_too(rig: Rig) -> None:
    both = await _goes_on(rig)
    rig.reading.silent = set(both)
    await rig.settle(178.5)
    rig.reading.silent = set()
    await rig.settle(0.25)
    await rig.settle(2)
    assert "outcome" not in rig.call()
    await rig.settle(DRAIN_S)
    assert rig.call()["outcome"] == "missed"


async def test_settler_that_is_the_first_to_see_a_partition_answer_again_waits_too(rig: Rig) -> None:
    both = await _goes_on(rig)
    rig.reading.silent = set(both)
    rig.clock.move(200)
    await rig.settler.round()
    rig.reading.silent = set()
    for _ in range(2):
        await rig.settler.round()
    assert "outcome" not in rig.call()
    rig.clock.move(DRAIN_S)
    await rig.settler.round()
    assert rig.call()["outcome"] == "missed"


async def test_partition_that_stops_answering_again_is_waited_for_anew(rig: Rig) -> None:
    both = await _goes_on(rig)
    for silent_s in (200, 5):
        rig.reading.silent = set(both)
        await rig.settle(silent_s)
        rig.reading.silent = set()
        await rig.settle(0)
        await rig.settle(DRAIN_S - 1)
    assert "outcome" not in rig.call()
    await rig.settle(1)
    assert rig.call()["outcome"] == "missed"


async def test_calls_of_partitions_that_answered_all_the_time_are_decided_meanwhile(rig: Rig) -> None:
    both = await _goes_on(rig)
    other = next(
        call
        for call in (InboundCall(f"CA{n}", caller=f"+1718555{n:04d}") for n in range(200, 300))
        if not {rig.reading.partition_of(f"larkspur:{key}".encode()) for key in (call.caller, f"call:{call.call_id}")}
        & both
    )
    rig.reading.silent = set(both)
    await rig.settle(200)
    rig.reading.silent = set()
    await rig.give(other.started(), other.ended(4))
    await rig.settle(4)
    assert (rig.call(other.call_id)["outcome"], "outcome" in rig.call()) == ("missed", False)


async def test_restart_alone_delays_only_the_calls_that_became_due_meanwhile(rig: Rig) -> None:
    """Nobody watched Kafka while the service was down."""
    late, fresh = InboundCall("CA1"), InboundCall("CA2", caller="+17185550277")
    await rig.give(late.started(), late.ended(4))
    rig.clock.move(60)
    rig.restart()
    await rig.outages.start()
    await rig.give(fresh.started(), fresh.ended(4))
    await rig.settle(4)
    assert ("outcome" in rig.call("CA1"), rig.call("CA2")["outcome"]) == (False, "missed")
    await rig.settle(DRAIN_S)
    assert rig.call("CA1")["outcome"] == "missed"
