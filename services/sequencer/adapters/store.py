"""Where the timekeeper keeps its timers: what a store of timers promises, and what goes in and out of it.

A timer is pending until its tick is acknowledged. Whoever fires it holds a claim with a lease, so that a paused or dead
instance blocks nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from schemas.base import LocalTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """One timer, with all that its tick's envelope needs. `due` has whole milliseconds, rounded up, as MongoDB does."""

    timer_id: str
    due: datetime
    step: str
    key: str
    lender_id: str
    branch_id: str = ""
    traceparent: str = ""
    due_local: LocalTime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What is ours to fire while the lease lasts.

    Attributes:
        token: tells this claim from every other one.
        timers: the timers, earliest first.
        unreadable: claimed documents that are no timers, with the reason, by id.
    """

    token: str
    timers: tuple[Timer, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.timers) + len(self.unreadable)


class TimerStore(Protocol):
    """A store of timers.

    Every method but `stop` raises StoreAway when the same call may succeed later, and StoreRefused when it never will.
    """

    async def start(self) -> None:
        """Connect and make the indexes."""

    async def stop(self) -> None:
        """Let go."""

    async def put(self, timers: Sequence[Timer]) -> set[str]:
        """Keep timers; return the ids of those that were not pending. One that has fired is pending again."""

    async def claim(self, due_by: datetime, limit: int, lease_s: float) -> Claim:
        """Take up to `limit` pending timers due by then, earliest first, that nobody's lease holds."""

    async def fired(self, claim: Claim, timer_ids: Sequence[str]) -> int:
        """Mark timers as fired where the claim is still the last one; return how many."""

    async def rearm(self, claim: Claim, timer_id: str, due: datetime) -> None:
        """Give a claimed timer back with another due time."""

    async def next_due(self) -> datetime | None:
        """Return when the earliest pending timer that nobody's lease holds is due."""

    async def overdue(self, now: datetime) -> int:
        """Return how many timers are due and not fired, leased ones too."""
