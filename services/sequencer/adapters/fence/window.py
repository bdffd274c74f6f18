"""The window of one partition: events decided on and not yet acknowledged by the broker, finished in the order they came.

Each event goes through three steps, each step a task of the partition's own, and each of them in the order of the events:

    write   what the row's last event may not have sent (after an assignment), acknowledged; then the row
    send    once the broker has acknowledged the row, what the event causes
    finish  once the broker has acknowledged all of that: only now may the offset be committed

A row before its sends: what is sent comes back as an event (a text that has left, a tick), and that must never be read by
a worker whose row does not know of the cause. Waiting for the broker after each event would cost two round trips each;
finishing out of order would let Faust commit past an event in flight. So up to `size` events are in flight at once, at most
one of a key: the row keeps the effects of the key's last event only, and those of an earlier one would be lost in a crash.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from services.runtime.handled import Handled

from .handler import Halt, Send

YIELD_AFTER: Final = 50
"""So many events are finished at a stretch before everything else on the loop has its turn."""


@dataclass(slots=True, kw_only=True)
class InFlight:
    """One event that has been decided on, and how far it is.

    Attributes:
        repeats: sent and acknowledged before the row is written.
        write: writes the row and returns the future of its acknowledgement; None: nothing is written.
        sends: sent once the row is acknowledged.
        rebalances: how many rebalances had begun when it was decided on.
        row: what the broker said of the row.
        acks: the acknowledgements of the sends.
    """

    event: Any
    key: bytes | None
    began_s: float
    handled: Handled
    sends: Sequence[Send] = ()
    repeats: Sequence[Send] = ()
    write: Callable[[], Coroutine[Any, Any, asyncio.Future[Any]]] | None = None
    rebalances: int = 0
    written: asyncio.Future[Any] | None = None
    row: Any = None
    acks: Sequence[asyncio.Future[Any]] = ()


class PartitionWindow:
    """A bounded pipeline with its waiting line. Nobody ever waits for it: what it has no room for stands in the line.

    Args:
        size: most events in flight.
        take: decides on an event; called strictly in the order of `offer`. After a Halt out of it nothing more is taken
            before `reopen`.
        send: hands one record to the producer; returns the future of its acknowledgement.
        finish: told of each event once all of it is acknowledged, in order.
        fail: told of anything that goes wrong; ends the process.
    """

    def __init__(
        self,
        size: int,
        *,
        take: Callable[[Any], InFlight],
        send: Callable[[Send], Coroutine[Any, Any, asyncio.Future[Any]]],
        finish: Callable[[InFlight], None],
        fail: Callable[[BaseException], NoReturn],
    ) -> None:
        self._size, self._take, self._send, self._finish, self._fail = size, take, send, finish, fail
        self._keys: set[bytes | None] = set()
        self._flying: deque[InFlight] = deque()
        self.waiting: deque[Any] = deque()
        self.closed = False
        self._to_write: asyncio.Queue[InFlight] = asyncio.Queue()
        self._to_send: asyncio.Queue[InFlight] = asyncio.Queue()
        self._to_finish: asyncio.Queue[InFlight] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def in_flight(self) -> int:
        """How many events are in flight. Not `__len__`: a window without any would be taken for none."""
        return len(self._flying)

    @property
    def oldest_s(self) -> float | None:
        """When the event was decided on that has been in flight for longest; None when there is none."""
        return self._flying[0].began_s if self._flying else None

    def waits_for(self) -> str | None:
        """The topic that the oldest event in flight waits for; None: its row's."""
        if not self._flying:
            return None
        first = self._flying[0]
        if first.write is not None and first.row is None:
            return None
        for n, send in enumerate(first.sends):
            if n >= len(first.acks) or not first.acks[n].done():
                return send[0]
        return None

    def start(self) -> None:
        """Start the steps."""
        self._tasks = [asyncio.create_task(self._run(step)) for step in (self._writes, self._sends, self._finishes)]

    def left(self) -> Sequence[Any]:
        """Return the events in flight and in line."""
        return [*(entry.event for entry in self._flying), *self.waiting]

    async def stop(self) -> None:
        """Stop; what is in flight or in line stays unfinished and comes again after the next start."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def is_free(self, key: bytes | None) -> bool:
        """Say whether an event of this key may be decided on now."""
        return not self.closed and len(self._flying) < self._size and key not in self._keys

    def reopen(self) -> None:
        """Take events again after a Halt, those in line first."""
        self.closed = False
        self._take_waiting()

    def offer(self, event: Any) -> None:
        """Take an event now, or put it in line."""
        if self.waiting or not self.is_free(event.message.key):
            self.waiting.append(event)
        else:
            self._put(event)

    def _take_waiting(self) -> None:
        while self.waiting and self.is_free(self.waiting[0].message.key):
            self._put(self.waiting.popleft())

    def _put(self, event: Any) -> None:
        try:
            entry = self._take(event)
        except Halt:
            self.closed = True
            self.waiting.appendleft(event)
            return
        self._flying.append(entry)
        self._keys.add(entry.key)
        self._to_write.put_nowait(entry)

    async def _run(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await step()
        except Exception as error:
            self._fail(error)

    async def _writes(self) -> None:
        while True:
            entry = await self._to_write.get()
            if entry.repeats:
                for ack in [await self._send(send) for send in entry.repeats]:
                    await ack
            if entry.write is not None:
                entry.written = await entry.write()
            self._to_send.put_nowait(entry)

    async def _sends(self) -> None:
        while True:
            entry = await self._to_send.get()
            if entry.written is not None:
                entry.row = await entry.written
            if entry.sends:
                entry.acks = [await self._send(send) for send in entry.sends]
            self._to_finish.put_nowait(entry)

    async def _finishes(self) -> None:
        finished = 0
        while True:
            entry = await self._to_finish.get()
            for ack in entry.acks:
                await ack
            self._finish(entry)
            self._flying.popleft()
            self._keys.discard(entry.key)
            self._take_waiting()
            finished += 1
            if finished % YIELD_AFTER == 0:
                await asyncio.sleep(0)
