"""The sequencer's cap on dead letters, over several lives of it: what counts stands in the dead-letter topics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from schemas.envelope import Wire
from services.runtime import pauses
from services.runtime.dead_letter_topics import RESUMED, Note, note_in
from services.runtime.health import Health
from services.runtime.letter_count import DEAD_LETTER_FREE
from services.sequencer.adapters.fence import FenceSettings, Halt
from services.sequencer.shell import handler
from services.sequencer.worker import Worker
from tests.infra.polling import eventually
from tests.unit.runtime.build import FakeLetters, PickyProducer, stored
from tests.unit.sequencer.build import CADENCES
from tests.unit.sequencer.test_worker import StillFence, record


class Life:
    """One life of a worker, whose sends arrive at once."""

    def __init__(self, producer: PickyProducer, group: str = "app") -> None:
        self.producer, self.health, self.letters = producer, Health(not_ready={}), FakeLetters(producer)
        self.fences: list[StillFence] = []
        self.worker = Worker(
            settings=FenceSettings(
                app_id=group, topics=("leads",), table="callers", instance="0", data_dir=Path("unused")
            ),
            handle=handler(CADENCES),
            health=self.health,
            make_fence=self._make,
            letters=self.letters,
            send=producer.send_wire,
        )
        self.fence.on_assigned({TP("leads", 0)})

    def _make(self, *args: Any, **more: Any) -> Any:
        self.fences.append(StillFence(*args, **more))
        return self.fences[-1]

    @property
    def fence(self) -> StillFence:
        """The fence that the worker made."""
        return self.fences[-1]

    async def known(self) -> None:
        """Return once the dead-letter topics are read."""
        await eventually(lambda: self.letters.reads > 0, 2, "read")
        await asyncio.sleep(0)

    async def bad(self, offset: int) -> None:
        """Take an event that nobody can read.

        Raises:
            Halt: it is not taken.
        """
        event = replace(record(b"{}"), offset=offset)
        try:
            self.fence.handle(event, None)
        except Exception as error:
            outcome = self.fence.on_error(event, error)
            await self.producer.send_wire(
                *(
                    Wire(topic=topic, key=key, value=value, headers=list(headers))
                    for topic, key, value, headers in outcome.sends
                )
            )

    @property
    def stands(self) -> bool:
        """Whether readiness says which partition stands, and how to go on."""
        return "`ringback dlq resume leads 0`" in self.health.not_ready.get("dead letters app", "")


@asynccontextmanager
async def life(producer: PickyProducer, group: str = "app") -> AsyncIterator[Life]:
    one = Life(producer, group)
    running = asyncio.create_task(one.worker.cap.run())
    try:
        await one.known()
        yield one
    finally:
        await one.worker.cap.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def letters(producer: PickyProducer) -> int:
    return sum("dlq_reason" in dict(wire.headers) for wire in producer.records)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "LOOK_S", 0.01)


async def test_at_the_cap_no_life_makes_another_dead_letter_until_the_partition_is_resumed() -> None:
    producer = PickyProducer()
    async with life(producer) as first:
        for offset in range(DEAD_LETTER_FREE):
            await first.bad(offset)
        with pytest.raises(Halt, match=r"21 of the last 21 events of leads\[0\]"):
            await first.bad(DEAD_LETTER_FREE)
        await eventually(lambda: first.stands, 2, "stands")
    for _ in range(2):
        async with life(producer) as next_:
            with pytest.raises(Halt, match=r"21 of the last 21 events"):
                await next_.bad(DEAD_LETTER_FREE)
            assert next_.stands
            assert letters(producer) == DEAD_LETTER_FREE
    note = Note(kind=RESUMED, topic="leads", partition=0, offset=DEAD_LETTER_FREE)
    async with life(producer) as last:
        with pytest.raises(Halt):
            await last.bad(DEAD_LETTER_FREE)
        assert last.fence.goes_on == 0
        await producer.send_wire(note.wire())
        await eventually(lambda: last.fence.goes_on == 1 and not last.stands, 2, "goes on")
        await last.bad(DEAD_LETTER_FREE)
    assert letters(producer) == DEAD_LETTER_FREE + 1


async def test_lives_killed_below_the_cap_count_on_and_not_anew() -> None:
    producer, offset = PickyProducer(), 0
    for _ in range(4):
        async with life(producer) as one:
            for _ in range(DEAD_LETTER_FREE // 4):
                await one.bad(offset)
                offset += 1
    async with life(producer) as last:
        with pytest.raises(Halt):
            await last.bad(offset)
    assert letters(producer) == DEAD_LETTER_FREE


async def test_pause_that_kafka_does_not_take_is_written_later_or_found_again_by_the_next_life() -> None:
    producer = PickyProducer()
    async with life(producer) as first:
        for offset in range(DEAD_LETTER_FREE):
            await first.bad(offset)
        producer.fail = 1
        with pytest.raises(Halt):
            await first.bad(DEAD_LETTER_FREE)
        await eventually(lambda: "is not written yet" in str(first.health.not_ready), 2, "said")
    async with life(producer) as second:
        with pytest.raises(Halt):
            await second.bad(DEAD_LETTER_FREE)
        await eventually(lambda: second.stands, 2, "stands")
    assert letters(producer) == DEAD_LETTER_FREE
    notes = [note for one in stored(producer.records) if (note := note_in(one)) is not None]
    assert [(note.group, note.topic, note.partition, note.offset) for note in notes] == [
        ("app", "leads", 0, DEAD_LETTER_FREE)
    ]


async def test_event_that_fails_before_the_pauses_are_read_waits_for_them_and_then_the_fence_goes_on() -> None:
    producer = PickyProducer()
    async with life(producer) as one:
        one.letters.away = True
        one.fence.on_assigned({TP("leads", 0)})
        with pytest.raises(Halt, match="not known yet"):
            await one.bad(0)
        assert letters(producer) == 0
        one.letters.away = False
        await eventually(lambda: one.fence.goes_on == 1, 5, "goes on")
        await one.bad(0)
        assert letters(producer) == 1


async def test_dead_letters_of_another_group_do_not_count() -> None:
    """The leads service reads `touch-results` too; what it cannot handle is no fault of the sequencer's."""
    producer = PickyProducer()
    async with life(producer, "other") as theirs:
        for offset in range(DEAD_LETTER_FREE):
            await theirs.bad(offset)
    async with life(producer) as ours:
        await ours.bad(DEAD_LETTER_FREE)
    assert letters(producer) == DEAD_LETTER_FREE + 1


async def test_stopping_neither_makes_a_dead_letter_nor_lets_the_fence_go_on() -> None:
    producer = PickyProducer()
    async with life(producer) as one:
        one.letters.away = True
        one.fence.on_assigned({TP("leads", 0)})
        with pytest.raises(Halt):
            await one.bad(0)
        await one.worker.cap.stop()
        with pytest.raises(Halt):
            await one.bad(0)
        assert (one.fence.goes_on, letters(producer)) == (0, 0)
