"""The store of timers in memory, for unit tests: one process, leases on a real time that a test may replace."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from services.runtime.clock import real_now
from services.runtime.mongo_errors import StoreAway, StoreRefused
from services.sequencer.adapters.store import Claim, Timer

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryTimers:
    """Keeps the promises of `TimerStore` in one process.

    Attributes:
        asked: the methods called so far.
        fail: how many of the next calls find the store away.
        refused: ids of timers that can never be written; a call with one of them writes nothing.
        unreadable: ids of timers whose documents cannot be read back.
    """

    def __init__(self, real: Callable[[], datetime] = real_now) -> None:
        self._real = real
        self._pending: dict[str, Timer] = {}
        self._fired: set[str] = set()
        self._leases: dict[str, tuple[str, datetime]] = {}
        self.asked: list[str] = []
        self.fail = 0
        self.refused: set[str] = set()
        self.unreadable: set[str] = set()

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.fail:
            self.fail -= 1
            raise StoreAway("the fake was told to be away")

    def _free(self) -> list[Timer]:
        now = self._real()
        free = [t for t in self._pending.values() if self._leases.get(t.timer_id, ("", _LONG_AGO))[1] <= now]
        return sorted(free, key=lambda timer: timer.due)

    async def put(self, timers: Sequence[Timer]) -> set[str]:
        """Keep timers; return the ids of those that were not pending."""
        self._answer("put")
        if refused := self.refused.intersection(timer.timer_id for timer in timers):
            raise StoreRefused(f"the fake was told to refuse {sorted(refused)}")
        new = {timer.timer_id: timer for timer in timers if timer.timer_id not in self._pending}
        self._pending.update(new)
        self._fired.difference_update(new)
        for timer_id in new:
            self._leases.pop(timer_id, None)
        return set(new)

    async def claim(self, due_by: datetime, limit: int, lease_s: float) -> Claim:
        """Take pending timers."""
        self._answer("claim")
        token = uuid4().hex
        taken = [timer for timer in self._free() if timer.due <= due_by][:limit]
        for timer in taken:
            self._leases[timer.timer_id] = (token, self._real() + timedelta(seconds=lease_s))
        readable = tuple([timer for timer in taken if timer.timer_id not in self.unreadable])
        broken = {timer.timer_id: "the fake was told so" for timer in taken if timer.timer_id in self.unreadable}
        return Claim(token, readable, broken)

    def _ours(self, claim: Claim, timer_id: str) -> bool:
        return timer_id in self._pending and self._leases.get(timer_id, ("",))[0] == claim.token

    async def fired(self, claim: Claim, timer_ids: Sequence[str]) -> int:
        """Mark timers as fired."""
        self._answer("fired")
        ours = [timer_id for timer_id in timer_ids if self._ours(claim, timer_id)]
        for timer_id in ours:
            del self._pending[timer_id]
            self._fired.add(timer_id)
        return len(ours)

    async def rearm(self, claim: Claim, timer_id: str, due: datetime) -> None:
        """Give a timer back."""
        self._answer("rearm")
        if self._ours(claim, timer_id):
            self._pending[timer_id] = replace(self._pending[timer_id], due=due)
            del self._leases[timer_id]

    async def next_due(self) -> datetime | None:
        """Return the earliest due time."""
        self._answer("next_due")
        return next((timer.due for timer in self._free()), None)

    async def overdue(self, now: datetime) -> int:
        """Count what is due."""
        self._answer("overdue")
        return sum(timer.due <= now for timer in self._pending.values())
