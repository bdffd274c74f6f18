"""The window: events processed and not yet acknowledged by the broker, finished strictly in the order they came.

Waiting for the broker after each event would cost a round trip each; acknowledging out of order would let Faust commit
past an event in flight. So up to `size` events are in flight at once, and one task finishes them from the front. The
window holds at most one event of a key: the row keeps the effects of the key's last event only, and those of an earlier
one would be lost in a crash.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from services.runtime.handled import Handled


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """One processed event and what must be acknowledged before it is finished."""

    event: Any
    key: bytes | None
    began_s: float
    handled: Handled
    sends: Sequence[Awaitable[Any]]
    row: Awaitable[Any] | None
    rebalances: int = 0
    """How many rebalances had begun when it was processed."""


class EventWindow:
    """A bounded queue with one reader."""

    def __init__(
        self, size: int, finish: Callable[[InFlight, Any], None], fail: Callable[[BaseException], NoReturn]
    ) -> None:
        self._size, self._finish, self._fail = size, finish, fail
        self._entries: deque[InFlight] = deque()
        self._keys: set[bytes | None] = set()
        self._work: asyncio.Future[None] | None = None
        self._freed: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def start(self) -> None:
        """Start finishing."""
        self._task = asyncio.create_task(self._run(), name="fence window")

    async def stop(self) -> None:
        """Stop; what is still in the window stays unfinished and comes again after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def is_free(self, key: bytes | None) -> bool:
        """Say whether an event of this key may be processed now."""
        return len(self._entries) < self._size and key not in self._keys

    async def wait_free(self, key: bytes | None) -> None:
        """Return once there is room and no event of this key under way. One caller at a time."""
        while not self.is_free(key):
            self._freed = asyncio.get_running_loop().create_future()
            await self._freed

    def add(self, entry: InFlight) -> None:
        """Put a processed event at the end."""
        self._entries.append(entry)
        self._keys.add(entry.key)
        if self._work is not None and not self._work.done():
            self._work.set_result(None)

    async def _run(self) -> None:
        try:
            while True:
                if not self._entries:
                    self._work = asyncio.get_running_loop().create_future()
                    await self._work
                entry = self._entries[0]
                for send in entry.sends:
                    await send
                row = None if entry.row is None else await entry.row
                self._finish(entry, row)
                self._entries.popleft()
                self._keys.discard(entry.key)
                if self._freed is not None and not self._freed.done():
                    self._freed.set_result(None)
        except Exception as error:
            self._fail(error)
