"""A partition's window, without a broker: rows before what they cause, everything in the order of the events."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from services.runtime.handled import APPLIED
from services.sequencer.adapters.fence import Halt, Send
from services.sequencer.adapters.fence.window import InFlight, PartitionWindow
from tests.infra.polling import eventually

TURNS = 50
"""Turns of the loop in which a window that did too much would do so."""


@dataclass
class Rig:
    """A window with a producer that the test answers for, and a note of all that happens."""

    size: int = 4
    row_of: set[bytes] = field(default_factory=lambda: {b"a", b"b", b"c", b"d"})
    halt_at: bytes = b""
    repeats_of: set[bytes] = field(default_factory=set)
    story: list[str] = field(default_factory=list)
    acks: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    failed: list[BaseException] = field(default_factory=list)

    window: PartitionWindow = field(init=False)

    def __post_init__(self) -> None:
        self.window = PartitionWindow(self.size, take=self._take, send=self._send, finish=self._finish, fail=self._fail)

    def _take(self, event: Any) -> InFlight:
        key = event.message.key
        name = key.decode()
        if key == self.halt_at:
            raise Halt("too many dead letters")
        self.story.append(f"take {name}")
        return InFlight(
            event=event,
            key=key,
            began_s=0.0,
            handled=APPLIED,
            repeats=[("again", key, b"", [])] if key in self.repeats_of else (),
            write=partial(self._note, f"row {name}") if key in self.row_of else None,
            sends=[("out", key, b"", [])],
        )

    async def _note(self, what: str) -> asyncio.Future[Any]:
        self.story.append(what)
        self.acks[what] = asyncio.get_running_loop().create_future()
        return self.acks[what]

    async def _send(self, send: Send) -> asyncio.Future[Any]:
        return await self._note(f"{send[0]} {(send[1] or b'').decode()}")

    def _finish(self, done: InFlight) -> None:
        self.story.append(f"finish {(done.key or b'').decode()}")

    def _fail(self, error: BaseException) -> NoReturn:
        self.failed.append(error)
        raise asyncio.CancelledError

    def offer(self, *keys: str) -> None:
        for key in keys:
            self.window.offer(SimpleNamespace(message=SimpleNamespace(key=key.encode())))

    async def ack(self, what: str) -> None:
        await eventually(lambda: what in self.acks, 1, what)
        self.acks.pop(what).set_result("acknowledged")

    async def still(self) -> list[str]:
        """Return what has happened since it was last asked, once nothing more happens."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        told, self.story = self.story, []
        return told


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    rig.window.start()
    yield rig
    await rig.window.stop()


async def test_event_whose_row_is_not_acknowledged_has_sent_nothing(rig: Rig) -> None:
    rig.offer("a")
    assert await rig.still() == ["take a", "row a"]
    assert rig.window.waits_for() is None
    await rig.ack("row a")
    assert await rig.still() == ["out a"]
    assert rig.window.waits_for() == "out"
    await rig.ack("out a")
    assert await rig.still() == ["finish a"]


async def test_rows_of_several_events_are_in_flight_at_once_and_their_sends_leave_in_event_order(rig: Rig) -> None:
    rig.offer("a", "b", "c")
    assert await rig.still() == ["take a", "take b", "take c", "row a", "row b", "row c"]
    await rig.ack("row c")
    await rig.ack("row b")
    assert await rig.still() == []
    await rig.ack("row a")
    assert await rig.still() == ["out a", "out b", "out c"]


async def test_events_finish_in_order_although_a_later_one_is_acknowledged_first(rig: Rig) -> None:
    rig.row_of = set()
    rig.offer("a", "b")
    await rig.ack("out b")
    assert await rig.still() == ["take a", "take b", "out a", "out b"]
    await rig.ack("out a")
    assert await rig.still() == ["finish a", "finish b"]


async def test_effects_of_an_earlier_life_are_acknowledged_before_the_row_that_replaces_them(rig: Rig) -> None:
    rig.repeats_of = {b"a"}
    rig.offer("a")
    assert await rig.still() == ["take a", "again a"]
    await rig.ack("again a")
    assert await rig.still() == ["row a"]


async def test_second_event_of_a_key_waits_in_line_with_all_behind_it_until_the_first_is_finished(rig: Rig) -> None:
    rig.offer("a", "a", "b")
    assert await rig.still() == ["take a", "row a"]
    assert len(rig.window.waiting) == 2
    await rig.ack("row a")
    await rig.ack("out a")
    assert await rig.still() == ["out a", "finish a", "take a", "take b", "row a", "row b"]


async def test_window_takes_no_more_than_its_size(rig: Rig) -> None:
    rig.offer("a", "b", "c", "d", "e")
    assert "take e" not in await rig.still()
    assert rig.window.in_flight == 4


async def test_window_with_nothing_in_flight_is_still_a_window(rig: Rig) -> None:
    """Taken for none it was replaced at every event: its tasks were thrown away, and with them the line behind a halt."""
    assert rig.window


async def test_window_that_is_told_to_halt_takes_nothing_more_and_finishes_what_is_in_flight(rig: Rig) -> None:
    rig.halt_at = b"b"
    rig.offer("a", "b", "c")
    assert await rig.still() == ["take a", "row a"]
    await rig.ack("row a")
    await rig.ack("out a")
    assert await rig.still() == ["out a", "finish a"]
    assert [event.message.key for event in rig.window.waiting] == [b"b", b"c"], "they come again, and in their order"


async def test_window_that_is_opened_again_takes_what_led_to_the_halt_first_and_all_behind_it(rig: Rig) -> None:
    rig.halt_at = b"b"
    rig.offer("a", "b", "c")
    await rig.ack("row a")
    await rig.ack("out a")
    await rig.still()
    rig.window.reopen()
    assert await rig.still() == [], "the same again leads to the same halt"
    rig.halt_at = b""
    rig.window.reopen()
    assert await rig.still() == ["take b", "take c", "row b", "row c"]


@pytest.mark.parametrize("what", ["row a", "out a"])
async def test_window_whose_write_fails_ends_the_process_and_finishes_nothing_past_it(rig: Rig, what: str) -> None:
    rig.offer("a", "b")
    if what == "out a":
        await rig.ack("row a")
        await rig.ack("row b")
        await rig.ack("out b")
    await eventually(lambda: what in rig.acks, 1, what)
    rig.acks[what].set_exception(OSError("refused"))
    await eventually(lambda: rig.failed, 1, "the window has failed")
    assert "finish" not in " ".join(await rig.still())
