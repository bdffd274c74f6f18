"""The missed-call cadence through the real sequencer and timekeeper."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.envelope import UndecodableEvent, decode, encode
from schemas.leads import LeadCalledAgain, LeadOpened, LeadOptedOut
from schemas.touches import TouchDue
from services.cli.app import run
from services.runtime.dead_letter_topics import DeadLetterTopics, note_in, text_headers
from services.runtime.letter_count import DEAD_LETTER_FREE
from tests.infra.polling import eventually
from tests.integration.sequencer.conftest import MORNING, T0, Rig

FIRST = ("touch.due text-now", "timer.set call-morning")
SECOND = (*FIRST, "timer.set text-10min")
THIRD = (*SECOND, "touch.due text-10min")
WHOLE = (*THIRD, "touch.task_requested call-morning")
TEN = T0 + timedelta(minutes=10)


async def test_missed_call_is_texted_at_once_at_ten_minutes_and_called_the_next_morning(rig: Rig) -> None:
    """A text at once, one ten minutes later, a callback in the morning, none of it early (facts C1, C2, C3, C4)."""
    await rig.producer.send(rig.lead(LeadOpened, 1))
    await rig.sees(*FIRST)
    await rig.producer.send(rig.sent("text-now"))
    await rig.sees(*SECOND)
    await rig.idle()
    rig.move(TEN - timedelta(milliseconds=1))
    await rig.idle()
    await rig.sees(*SECOND)
    rig.move(TEN)
    await rig.sees(*THIRD)
    (second,) = {
        (e.data.due_at, e.branch_id) for e in rig.seen if isinstance(e.data, TouchDue) and e.data.step == "text-10min"
    }
    assert second == (TEN, "nyc")
    await rig.producer.send(rig.sent("text-10min"))
    rig.move(MORNING.utc())
    await rig.sees(*WHOLE)
    await rig.idle()
    assert await rig.timers.count_documents({"state": "pending"}) == 0


@pytest.mark.parametrize("kill", [True, False], ids=["kill -9", "SIGTERM"])
@pytest.mark.parametrize("name", ["sequencer", "timekeeper"])
async def test_restart_between_each_pair_of_steps_changes_nothing(rig: Rig, name: str, kill: bool) -> None:
    await rig.producer.send(rig.lead(LeadOpened, 1))
    await rig.sees(*FIRST)
    await rig.system.restart(name, kill=kill)
    await rig.producer.send(rig.sent("text-now"))
    await rig.sees(*SECOND)
    await rig.system.restart(name, kill=kill)
    await rig.idle()
    rig.move(TEN)
    await rig.sees(*THIRD)
    await rig.system.restart(name, kill=kill)
    await rig.producer.send(rig.sent("text-10min"))
    rig.move(MORNING.utc())
    await rig.sees(*WHOLE)
    await rig.idle()
    await rig.sees(*WHOLE)


async def test_timer_that_falls_due_while_the_timekeeper_is_down_fires_when_it_is_back(rig: Rig) -> None:
    await rig.producer.send(rig.lead(LeadOpened, 1))
    await rig.sees(*FIRST)
    await rig.producer.send(rig.sent("text-now"))
    await rig.sees(*SECOND)
    await rig.idle()
    await rig.system.kill("timekeeper")
    rig.move(TEN)
    await rig.system.start("timekeeper")
    await rig.sees(*THIRD)


async def test_events_that_come_three_times_make_one_of_each(rig: Rig) -> None:
    opened = rig.lead(LeadOpened, 1)
    await rig.producer.send(opened, opened)
    await rig.sees(*FIRST)
    sent = rig.sent("text-now")
    await rig.producer.send(sent, opened, sent)
    await rig.sees(*SECOND)
    await rig.idle()
    await rig.sees(*SECOND)


async def test_stop_between_the_two_texts_leaves_no_second(rig: Rig) -> None:
    """An opt-out ends the texts and the call, each with its reason (fact M2)."""
    await rig.producer.send(rig.lead(LeadOpened, 1))
    await rig.sees(*FIRST)
    await rig.producer.send(rig.sent("text-now"))
    await rig.sees(*SECOND)
    await rig.producer.send(rig.lead(LeadOptedOut, 2, texting="stopped"))
    dropped = (*SECOND, "touch.suppressed text-10min", "touch.suppressed call-morning")
    await rig.sees(*dropped)
    rig.move(MORNING.utc() + timedelta(days=1))
    await rig.idle()
    await rig.sees(*dropped)


async def test_second_call_the_same_day_is_a_callback_and_no_text(rig: Rig) -> None:
    """The same caller twice in one day goes straight to the callback (facts C11, Q2)."""
    await rig.producer.send(rig.lead(LeadOpened, 1), rig.lead(LeadCalledAgain, 2))
    await rig.sees(*FIRST, "touch.task_requested called-again")
    await rig.idle()
    await rig.sees(*FIRST, "touch.task_requested called-again")


async def test_a_thousand_callers_timers_due_in_one_second_all_fire(rig: Rig) -> None:
    callers = [f"+1212555{n:04}" for n in range(1000)]
    await rig.producer.send(*(rig.lead(LeadOpened, 1, caller) for caller in callers))
    await eventually(lambda: sum(e.type == "timer.set" for e in rig.seen) == 1000, 60, "timers set")
    await rig.idle()
    rig.move(MORNING.utc())
    await eventually(lambda: len({e.id for e in rig.seen if e.type == "touch.task_requested"}) == 1000, 60, "all fired")


async def test_bytes_that_are_no_event_become_a_dead_letter_and_the_next_event_is_handled(rig: Rig) -> None:
    broken = replace(encode(rig.lead(LeadOpened, 1)), value=b"{}")
    with pytest.raises(UndecodableEvent):
        decode(broken.key, broken.value, broken.headers)
    await rig.producer.send_wire(broken)
    await rig.producer.send(rig.lead(LeadOpened, 1))
    await rig.sees(*FIRST)
    metrics = await (await rig.http.get(f"{rig.system.running['sequencer'].ops}/metrics")).text()
    assert 'ringback_dead_letters_total{topic="leads"} 1.0' in metrics


async def test_at_the_cap_no_life_of_the_sequencer_writes_another_dead_letter_until_it_is_resumed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cap, kill -9, a restart: the pause stands in the dead-letter topic. One event more than the cap is bad here."""
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", rig.system.kafka)
    broken = replace(encode(rig.lead(LeadOpened, 1)), value=b"{}")

    async def stands() -> bool:
        said = await (await rig.http.get(f"{rig.system.running['sequencer'].ops}/readyz")).text()
        return "ringback dlq resume leads" in said

    await rig.producer.send_wire(*[broken] * (DEAD_LETTER_FREE + 1))
    await rig.producer.send(rig.lead(LeadOpened, 1))
    await eventually(stands, 30, "stands")
    for _ in range(2):
        await rig.system.kill("sequencer")
        await rig.system.launch("sequencer")
        await eventually(stands, 30, "stands")
    letters = DeadLetterTopics(rig.system.kafka, ["leads"])
    found = await letters.read()
    assert sum("dlq_reason" in text_headers(letter) for letter in found) == DEAD_LETTER_FREE
    (note,) = [note for letter in found if (note := note_in(letter)) is not None]
    assert rig.story() == []
    assert await asyncio.to_thread(run, ["dlq", "resume", "leads", str(note.partition)]) == 0
    await rig.sees(*FIRST)
    found += await letters.read()
    # An event that was not committed when its life was killed comes again after the resumption.
    assert (
        len({offset for letter in found if (offset := text_headers(letter).get("dlq_offset"))}) == DEAD_LETTER_FREE + 1
    )
    assert not await stands()
