"""How fast texts leave from one sending number, over all instances together.

A number's budget is one token bucket, a document in `senders`; a token is a segment, which is what carriers count. An
instance takes tokens some at a time and uses them up, so that most texts cost no round trip, and none does where no bound
is set. What an instance holds when it ends is lost: the budget is an upper bound.

Texts of the urgent lane may take all of a bucket; the others leave a part of it, and each kind has its own tokens. So
thousands of bulk texts never use up what the next first text needs, nor fill the provider's queue in front of it.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Collection
from typing import Final

from schemas.base import Lane
from services.notifier.adapters.store import DeliveryStore
from services.policy.directory import Directory
from services.runtime.clock import Clock

TAKE_S: Final = 0.5
"""An instance takes tokens for as long ahead; as often does it look for texts that are due."""
BURST_MIN: Final = 8.0
"""A bucket holds a second's worth of tokens, and no fewer than a long text and the urgent share need."""
URGENT_SHARE: Final = 0.25


class Budget:
    """The budgets of all numbers, as one instance uses them.

    Args:
        store: keeps the buckets.
        directory: says which branch texts from which number.
        clock: the service's.
        rate: segments a second of each number; 0 means no bound of ours.
    """

    def __init__(self, store: DeliveryStore, directory: Directory, clock: Clock, rate: float) -> None:
        self._store, self._directory, self._clock, self._rate = store, directory, clock, rate
        self.burst = max(rate, BURST_MIN)
        self.ahead = max(1, math.ceil(rate * TAKE_S))
        self._held: dict[tuple[str, bool], int] = defaultdict(int)
        self._taking: dict[tuple[str, bool], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._spent_until_s: dict[tuple[str, bool], float] = {}

    async def take(self, number: str, lane: Lane, segments: int) -> bool:
        """Return whether a text may leave from a number now, and count it then.

        Raises:
            TransientError: nothing is known of the budget, and nothing may leave.
        """
        if not self._rate:
            return True
        urgent = lane == "urgent"
        pool = number, urgent
        async with self._taking[pool]:  # others wait for the tokens under way: one round trip serves all of them
            if self._held[pool] < segments:
                if self._is_spent(pool):
                    return False
                self._held[pool] += await self._store.take_tokens(
                    number,
                    max(self.ahead, segments - self._held[pool]),
                    leave=0.0 if urgent else self.burst * URGENT_SHARE,
                    rate=self._rate,
                    burst=self.burst,
                )
            if self._held[pool] < segments:
                self._spent_until_s[pool] = self._clock.monotonic_s() + max(TAKE_S, 1 / self._rate)
                return False
            self._held[pool] -= segments
            return True

    def _is_spent(self, pool: tuple[str, bool]) -> bool:
        return self._clock.monotonic_s() < self._spent_until_s.get(pool, -math.inf)

    def spent_branches(self, lane: Lane) -> Collection[str]:
        """Return the branches whose texts of a lane need not be looked at now: their number has no budget left."""
        if not self._spent_until_s:
            return ()
        urgent = lane == "urgent"
        return [branch.id for branch in self._directory.branches if self._is_spent((branch.numbers[0], urgent))]

    def room(self, lane: Lane, senders: int) -> int:
        """Return how many texts of a lane are worth claiming at once for so many senders that are free."""
        if not self._rate or lane == "urgent":
            return senders
        numbers = {branch.numbers[0] for branch in self._directory.branches}
        return min(senders, self.ahead * len(numbers))
