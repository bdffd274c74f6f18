"""The line of a partition that takes nothing: bounded, its source partitions are fetched no more, all others are.

Faust and the fence offer no door for this without a broker, so the rig overrides what is private to them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from faust.types.tuples import Message

from services.sequencer.adapters.fence import UNCHANGED, Fence, FenceSettings, Incoming, Lease, Outcome, Send, TableRow
from services.sequencer.adapters.fence.transport import FencedApp, FencedConsumer, FencedTransport

SLOW = frozenset({TP("leads", 0), TP("ticks", 0)})
"""The source partitions of one number: of what their events send, the broker takes nothing before the test says so."""
FAST = frozenset({TP("leads", 1), TP("ticks", 1)})
LINE = 6
EVENTS = 20
"""Of each source partition."""
TURNS = 40
"""Turns of the loop in which a window that may go on does so."""


class Thread:
    """Stands for aiokafka's thread: has the broker's records and gives one of each wanted partition a fetch."""

    def __init__(self) -> None:
        self.next = dict.fromkeys(SLOW | FAST, 0)
        self.mine = SLOW | FAST

    def assignment(self) -> frozenset[TP]:
        return self.mine

    async def getmany(self, wanted: frozenset[TP], timeout: float) -> Mapping[TP, int]:
        assert wanted <= self.mine, "the client refuses to fetch what is not assigned"
        found = {tp: self.next[tp] for tp in sorted(wanted) if self.next[tp] < EVENTS}
        self.next |= {tp: offset + 1 for tp, offset in found.items()}
        return found


class Consumer(FencedConsumer):
    """Faust's consumer on that thread."""

    thread: Thread
    finished: list[tuple[TP, int]]

    def _new_consumer_thread(self) -> Any:
        self.thread, self.finished = Thread(), []
        return self.thread

    def add_dependency(self, service: Any) -> Any:
        return service

    async def fetch(self) -> Mapping[TP, int]:
        """Fetch once, of the partitions that are to be fetched now."""
        found: Mapping[TP, int] = await self._getmany(self._get_active_partitions(), 0.0)
        return found

    def ack(self, message: Message) -> bool:
        self._unacked_messages.discard(message)
        self.finished.append((message.tp, message.offset))
        return True

    def begun(self) -> int:
        """How many events a rebalance would wait for."""
        return len(self._unacked_messages)

    def assign(self, mine: frozenset[TP]) -> None:
        """Begin an assignment, each partition at its first event that is not finished."""
        self.thread.mine = mine
        self.thread.next |= {tp: sum(one == tp for one, _ in self.finished) for tp in mine}
        self._set_active_tps(set(mine))


class Transport(FencedTransport):
    Consumer = Consumer


class App(FencedApp):
    Transport = Transport


class Rig(Fence):
    """A fence without a broker, with one event of each partition in flight."""

    App = App

    def __init__(self, folder: Path) -> None:
        settings = FenceSettings(
            app_id="app",
            topics=("leads", "ticks"),
            table="rows",
            instance=None,
            data_dir=folder,
            window=1,
            waiting=LINE,
        )
        lease = Lease(10.0, 60.0)
        lease.joined(lease.now())
        super().__init__(settings, self._decide, lease=lease)
        self.decided: list[tuple[TP, int]] = []
        self.unanswered: deque[asyncio.Future[None]] = deque()
        self.messages: list[Message] = []
        """Kept: Faust itself counts what is begun by weak references."""
        self.consumer: Consumer = self.app.consumer
        self.consumer.assign(SLOW | FAST)

    def _decide(self, event: Incoming, row: TableRow | None) -> Outcome:
        tp = TP(event.topic, event.partition)
        self.decided.append((tp, event.offset))
        return Outcome(UNCHANGED, sends=((event.topic, event.key, b"slow" if tp in SLOW else b"fast", ()),))

    async def _send(self, send: Send) -> Any:
        answer = asyncio.get_running_loop().create_future()
        if send[2] == b"slow":
            self.unanswered.append(answer)
        else:
            answer.set_result(None)
        return answer

    async def turn(self) -> frozenset[TP]:
        """Fetch once and offer what came; return which partitions gave something."""
        found = await self.consumer.fetch()
        for tp, offset in found.items():
            message = Message(
                *tp,
                offset,
                timestamp=0.0,
                timestamp_type=0,
                headers=(),
                key=b"k%d" % offset,
                value=b"",
                checksum=None,
                tp=tp,
            )
            self.messages.append(message)
            self.consumer.track_message(message)
            self._offer(SimpleNamespace(message=message))
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return frozenset(found)

    def answer(self) -> None:
        """Let the broker take the oldest record of the slow partition."""
        self.unanswered.popleft().set_result(None)

    def in_line(self) -> int:
        return len(self.windows[0].waiting)

    async def fill(self) -> None:
        """Go on until nothing more comes."""
        while await self.turn():
            pass

    async def close(self) -> None:
        for window in self.windows.values():
            await window.stop()


@pytest.fixture
async def rig(folder: Path) -> AsyncIterator[Rig]:
    rig = Rig(folder)
    yield rig
    await rig.close()


async def test_full_line_holds_its_source_partitions_and_every_event_of_the_others_is_finished(rig: Rig) -> None:
    await rig.fill()
    assert LINE <= rig.in_line() <= LINE + len(SLOW), "bounded, but for what has been fetched"
    assert {tp for tp, _ in rig.consumer.finished} == FAST
    assert len(rig.consumer.finished) == len(FAST) * EVENTS


async def test_held_partitions_are_fetched_again_once_half_the_line_is_gone_and_finish_in_order(rig: Rig) -> None:
    await rig.fill()
    before = rig.in_line()
    while not (came := await rig.turn()):
        rig.answer()
    assert came == SLOW, "all of them again"
    assert before - rig.in_line() >= LINE // 2 - len(SLOW)
    while rig.unanswered:
        rig.answer()
        await rig.turn()
    for tp in SLOW | FAST:
        in_order = [(tp, offset) for offset in range(EVENTS)]
        assert [one for one in rig.decided if one[0] == tp] == in_order
        assert [one for one in rig.consumer.finished if one[0] == tp] == in_order


async def test_line_of_a_partition_that_goes_is_left_to_its_next_owner_and_comes_whole_when_it_comes_back(
    rig: Rig,
) -> None:
    """What stands in line is neither decided on nor finished nor waited for; nothing of the partition is fetched."""
    await rig.fill()
    rig.app.drop_waiting()
    assert rig.in_line() == 0
    assert rig.consumer.begun() == 1, "the rebalance waits for what is in flight alone"
    rig.consumer.assign(FAST)
    rig.answer()
    await rig.fill()
    rig.consumer.assign(SLOW | FAST)
    await rig.fill()
    assert rig.in_line() >= LINE, "held again where it is full again"
    while rig.unanswered:
        rig.answer()
        await rig.turn()
    assert sorted(rig.consumer.finished) == sorted((tp, offset) for tp in SLOW | FAST for offset in range(EVENTS))
    assert sorted(rig.decided) == sorted(rig.consumer.finished), "none lost, none twice"


async def test_partition_that_was_held_before_a_rebalance_is_not_fetched_for_a_late_release(rig: Rig) -> None:
    """It may be another worker's by now: the client refuses the whole fetch then."""
    gone = TP("leads", 0)
    rig.consumer.hold(gone)
    rig.app.drop_waiting()
    rig.consumer.assign(FAST)
    rig.consumer.release(gone)
    assert await rig.turn() == FAST
