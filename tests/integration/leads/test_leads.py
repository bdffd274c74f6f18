"""The leads service on real Kafka and MongoDB: one lead a caller, events in order, whatever dies when."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest

from deploy.local.system import SystemFailure
from schemas.leads import LeadAssigned
from services.leads.adapters.documents import to_document
from services.leads.domain.model import Cause, Lead
from services.leads.domain.outbox import tell
from services.runtime.clock import real_now
from tests.infra.polling import eventually
from tests.integration.leads.conftest import Rig
from tests.unit.leads.events import AT, LENDER, InboundCall, text


async def test_missed_call_becomes_one_owned_lead_and_two_events(rig: Rig) -> None:
    """Facts B1, B4, Q22: the lead exists at once with an owner and a task, and a caller has one."""
    await rig.start()
    call = InboundCall("CA-int-1", rig.caller())
    await rig.write(*call.missed())
    await rig.tells(call.caller or "", "lead.opened", "lead.assigned")
    lead = await rig.lead(call.caller or "")
    assert lead["owner_id"]
    assert lead["task"]["state"] == "open"
    await rig.write(*call.missed(), *call.missed())
    await rig.write(*InboundCall("CA-int-1b", call.caller, offset_s=600).missed())
    await rig.tells(call.caller or "", "lead.opened", "lead.assigned", "lead.called_again")

    async def clean() -> bool:
        after = await rig.lead(call.caller or "")
        return not after["outbox"] and (await rig.call("CA-int-1"))["applied"]

    await eventually(clean)


async def test_call_whose_leg_ends_never_come_is_decided_three_seconds_after_its_end(rig: Rig) -> None:
    """Fact A8: a caller who hangs up after one ring counts, although no leg's end arrives."""
    await rig.start()
    call = InboundCall("CA-int-2", rig.caller())
    began = real_now()
    await rig.write(call.started(), call.ended(4))
    await rig.tells(call.caller or "", "lead.opened", "lead.assigned")
    stored = await rig.call("CA-int-2")
    assert stored["decided_by"] == "after_end"
    # Not before: facts may still come. No upper bound, for a machine under load may take its time.
    assert real_now() - began >= timedelta(seconds=3)


async def test_call_is_not_settled_over_an_answer_that_waits_in_kafka(rig: Rig) -> None:
    """After an outage `settle_at` is long past, and the proof of the answer has not been read yet."""
    system = await rig.start()
    call = InboundCall("CA-int-3", rig.caller())
    await rig.write(call.started())

    async def stored() -> bool:
        return bool((await rig.call("CA-int-3"))["facts"])

    await eventually(stored)
    await system.kill("leads")
    past = real_now() - timedelta(seconds=60)
    await rig.database.calls.update_one({"call_id": "CA-int-3"}, {"$set": {"settle_at": past}})
    await rig.write(call.leg_answered(), call.ended(300))
    await system.start("leads")

    async def decided() -> bool:
        return "outcome" in await rig.call("CA-int-3")

    await eventually(decided, 30)
    assert (await rig.call("CA-int-3"))["outcome"] == "answered"
    assert rig.types(call.caller or "") == []


async def test_no_instance_decides_a_call_whose_answer_waits_in_a_partition_of_another(rig: Rig) -> None:
    """One of two instances is paused, as a virtual machine may be, too briefly for a rebalance; its answers are unread."""
    await rig.start("a")
    paused = await rig.start("b")
    answered = [InboundCall(f"CA-head-{n}", rig.caller(), legs=1) for n in range(24)]
    calls = rig.database.calls

    async def both_read() -> bool:
        await rig.write(*(call.started() for call in answered))
        return bool(await calls.count_documents({"call_id": {"$regex": "^CA-head-"}}) == 24)

    await eventually(both_read, 30)
    paused.pause("leads")
    try:
        await rig.write(*(call.leg_answered() for call in answered))
        past = real_now() - timedelta(seconds=1)  # as if 180 s had passed
        await calls.update_many({"outcome": {"$exists": False}, "legs": []}, {"$set": {"settle_at": past}})
        await asyncio.sleep(3)  # the other instance has time to decide over its head; a pause, not a wait
    finally:
        paused.resume("leads")

    async def all_answered() -> bool:
        await rig.write(*(call.ended() for call in answered))
        return bool(await calls.count_documents({"call_id": {"$regex": "^CA-head-"}, "outcome": "answered"}) == 24)

    await eventually(all_answered, 30)
    assert await calls.count_documents({"outcome": "missed"}) == 0
    assert [rig.types(call.caller or "") for call in answered] == [[]] * 24


async def test_outbox_left_by_a_dead_process_is_emitted_by_the_next(rig: Rig) -> None:
    caller = rig.caller()
    lead = Lead(
        lead_id="left-behind",
        lender_id=LENDER,
        caller=caller,
        branch_id="new-york",
        first_contact_at=AT,
        opened_by_call=f"{LENDER}:twilio:CA-int-4",
    )
    left = tell(lead, lambda common: LeadAssigned(**common, owner_id="dana-whitfield"), Cause("test"), AT)
    await rig.database.leads.insert_one(to_document(replace(left, outbox_since=real_now())))
    await rig.start()
    await rig.tells(caller, "lead.assigned")

    async def pulled() -> bool:
        return not (await rig.lead(caller))["outbox"]

    await eventually(pulled)


async def test_two_instances_killed_at_random_make_one_lead_a_caller_and_lose_no_call(rig: Rig) -> None:
    """Facts B4, M8: one lead a caller and no second copy of an event.

    The facts are shuffled and delivered twice, and both instances are killed and started again meanwhile.
    """
    systems = [await rig.start("a"), await rig.start("b")]
    chance = random.Random(7)
    callers = [rig.caller() for _ in range(20)]
    calls = [InboundCall(f"CA-kill-{n}", callers[n % 20], offset_s=n) for n in range(60)]
    facts = [fact for call in calls for fact in call.missed()] * 2
    texts = [text("hello", f"SM-kill-{n}", caller=caller) for n, caller in enumerate(callers)]
    events = [*facts, *texts]
    chance.shuffle(events)

    async def kill() -> None:
        for n in range(2):
            await asyncio.sleep(0.5)  # the load goes on meanwhile; where the kill falls is meant to be anywhere
            await systems[n % 2].restart("leads", kill=True)

    killing = asyncio.create_task(kill())
    for n in range(0, len(events), 10):
        await rig.write(*events[n : n + 10])
        await asyncio.sleep(0.03)
    await killing

    async def all_done() -> bool:
        done = await rig.database.calls.count_documents({"call_id": {"$regex": "^CA-kill-"}, "applied": True})
        waiting = await rig.database.leads.count_documents({"outbox_since": {"$exists": True}})
        heard = await rig.database.leads.count_documents({"caller": {"$in": callers}, "seen": {"$regex": "^twilio:SM"}})
        return bool(done == 60 and not waiting and heard == 20)

    await eventually(all_done, 60, "every call applied, every outbox empty")
    for caller in callers:
        lead = await rig.lead(caller)
        await rig.tells_so_many(caller, lead["lead_seq"])
        told = rig.of(caller)
        assert [one.lead_seq for one in told] == list(range(1, lead["lead_seq"] + 1)), "first copies are in order"
        types = [one.TYPE for one in told]
        # The text may come before the first call is decided: then it makes the lead, and every call is one again.
        assert types[:2] in (["lead.opened", "lead.assigned"], ["lead.replied", "lead.assigned"])
        assert types.count("lead.called_again") + types.count("lead.opened") == 3
        assert types.count("lead.opened") <= 1
        assert types.count("lead.replied") <= 1
        assert {one.lead_id for one in told} == {lead["_id"]}


async def test_leads_refuses_to_start_with_another_number_key(rig: Rig) -> None:
    system = await rig.start()
    await system.stop()
    other = rig.system("other", RINGBACK_NUMBER_KEY="another-key-of-enough-characters")
    with pytest.raises(SystemFailure, match=r"ended at start with 78:(?s:.*)RINGBACK_NUMBER_KEY differs"):
        await other.start("leads")


async def test_leads_refuses_to_start_on_topics_that_differ_from_the_code(rig: Rig) -> None:
    """With another number of partitions a caller's events would not stay in one."""
    system = rig.system("other", RINGBACK_TOPIC_PARTITIONS="13")
    with pytest.raises(SystemFailure, match="12 partitions, needs 13"):
        await system.start("leads")


async def test_operations_port_answers_and_logs_and_metrics_name_no_caller(rig: Rig) -> None:
    system = await rig.start()
    call = InboundCall("CA-int-6", rig.caller())
    await rig.write(*call.missed())
    await rig.tells(call.caller or "", "lead.opened", "lead.assigned")
    await rig.write(text("STOP", "SM-int-6", caller=call.caller or ""))
    await rig.tells(call.caller or "", "lead.opened", "lead.assigned", "lead.opted_out")
    running = system.running["leads"]
    async with aiohttp.ClientSession() as http:
        answers = {}
        for path in ("healthz", "readyz", "metrics"):
            async with http.get(f"{running.ops}/{path}") as answer:
                assert answer.status == 200
                answers[path] = await answer.text()
    assert 'ringback_calls_total{outcome="missed"}' in answers["metrics"]
    assert "ringback_leads_opened_total" in answers["metrics"]
    number = (call.caller or "")[2:]
    assert number not in answers["metrics"]
    assert number not in running.log.read_text()
