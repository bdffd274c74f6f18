"""Work that a service does every so often, beside consuming: one form for all of it.

What fails is counted every time and logged once, until it works again. A failed round is repeated; a failed item keeps
nobody from the others of its round.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import Final, TypeVar

import structlog

from services.runtime.errors import ProcessMustEnd, RingbackError, TransientError
from services.runtime.health import Health
from services.runtime.metrics import ROUND_FAILURES
from services.runtime.service import Resource
from services.runtime.stopping import ROUND_LIMIT_S

log = structlog.get_logger(__name__)

T = TypeVar("T")
G = TypeVar("G", bound=Hashable)

RETRY_S: Final = 0.5
"""The shortest pause after a round that failed."""
AWAY_AFTER: Final = 3
"""So many items in a row that fail for a dependency's sake mean that it is away for the rest too: each may have waited
for its time-out, and the round would outlast its beat."""
KEYS_KEPT: Final = 10_000
"""So many failing items are known; beyond that, the newer ones are reached no more."""


class Rounds(Resource, ABC):
    """A part of a service that does `round` after `round`, `period_s` apart or sooner after `wake`.

    A round that raises makes the service unready under `name`, with the reason, until a round succeeds. Only
    ProcessMustEnd ends the service.

    Attributes:
        name: in health, metrics and logs.
        period_s: real seconds from the end of one round to the next.
    """

    name: str
    period_s: float

    def __init__(self, health: Health) -> None:
        self._health = health
        self._woken, self._stop, self._resting = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._resting.set()
        self._failing: dict[str, None] = {}
        self._told: str | None = None
        ROUND_FAILURES.labels(self.name).inc(0)

    @abstractmethod
    async def round(self) -> None:
        """Do what is due now."""

    async def rest(self) -> None:
        """Wait for the next round's time: `period_s`, or until woken. A subclass may know better."""
        await _within(self._woken, self.period_s)

    def wake(self) -> None:
        """Have the next round begin at once."""
        self._woken.set()

    @property
    def stopping(self) -> bool:
        """Whether the service is stopping: a long round ends early."""
        return self._stop.is_set()

    async def run(self) -> None:
        """Do round after round until stopped."""
        while not self.stopping:
            self._health.beat(self.name)
            self._woken.clear()
            self._resting.clear()
            try:
                await self.round()
                self._told = None
                self._health.ready(self.name)
                self._resting.set()
                await self.rest()
            except ProcessMustEnd:
                raise
            except Exception as error:
                self._resting.set()
                self._round_failed(error)
                await _within(self._stop, max(RETRY_S, self.period_s))
            finally:
                self._resting.set()

    async def stop(self) -> None:
        """Begin no other round, and wait a little for the one in hand."""
        self._stop.set()
        self.wake()
        if not await _within(self._resting, ROUND_LIMIT_S):
            log.warning("round_left", round=self.name)

    def asks_for(self, batch: int) -> int:
        """Return how many items to ask a store for, the oldest first.

        As many more as fail at present: however many of the oldest fail every time, the newer ones are reached.
        """
        return batch + len(self._failing)

    async def each(
        self,
        items: Iterable[T],
        work: Callable[[T], Awaitable[object]],
        key: Callable[[T], str],
    ) -> None:
        """Do `work` for every item, whatever happens to the others; those that failed last come last.

        After a failure for a dependency's sake the round goes on at the other end: the oldest often wait for the same.

        Args:
            items: what is due, the oldest first.
            work: raises when it cannot.
            key: an item's name, for the log and for knowing it again.

        Raises:
            TransientError: a dependency is away: no item succeeded, or several in a row failed for its sake.
        """
        in_a_row, succeeded = 0, False
        away: TransientError | None = None
        (fresh, failed), from_the_end = self._apart(items, key), False
        while fresh or failed:
            if self.stopping:
                return
            item = failed.popleft() if not fresh else fresh.pop() if from_the_end else fresh.popleft()
            self._health.beat(self.name)
            name = key(item)
            try:
                await work(item)
            except ProcessMustEnd:
                raise
            except TransientError as error:
                self._item_failed(name, error)
                in_a_row, away, from_the_end = in_a_row + 1, error, not from_the_end
                if in_a_row == AWAY_AFTER:
                    raise
            except Exception as error:
                self._item_failed(name, error)
                in_a_row = 0
            else:
                in_a_row, succeeded = 0, True
                self._failing.pop(name, None)
        if away is not None and not succeeded:
            raise away

    async def each_group(
        self,
        items: Iterable[T],
        work: Callable[[T], Awaitable[object]],
        key: Callable[[T], str],
        group: Callable[[T], G],
    ) -> dict[G, TransientError]:
        """Do `work` for every item, the groups side by side, each in order; those that failed last time come last.

        A group is left for this round after its first TransientError: each further try would wait for a time-out too.

        Args:
            items: what is due.
            work: raises when it cannot.
            key: an item's name, for the log and for knowing it again.
            group: what items may wait for together, such as a partition.

        Returns:
            The groups that were left, and why.
        """
        groups: dict[G, list[T]] = {}
        for item in chain(*self._apart(items, key)):
            groups.setdefault(group(item), []).append(item)

        async def work_off(of_group: list[T]) -> TransientError | None:
            for item in of_group:
                if self.stopping:
                    return None
                self._health.beat(self.name)
                try:
                    await work(item)
                except ProcessMustEnd:
                    raise
                except TransientError as error:
                    self._item_failed(key(item), error)
                    return error
                except Exception as error:
                    self._item_failed(key(item), error)
                else:
                    self._failing.pop(key(item), None)
            return None

        ends = await asyncio.gather(*(work_off(of_group) for of_group in groups.values()))
        return {name: error for name, error in zip(groups, ends, strict=True) if error is not None}

    async def each_left(
        self,
        find: Callable[[int, int], Awaitable[Sequence[T]]],
        work: Callable[[T], Awaitable[object]],
        key: Callable[[T], str],
        group: Callable[[T], G],
        batch: int,
        groups: int | None = None,
    ) -> dict[G, TransientError]:
        """Do `work` for all that a store has left to do, a batch at a time, as `each_group` does each batch.

        Args:
            find: returns at least so many items, the oldest first, after so many others; fewer where there are no more.
            work: takes an item out of what `find` returns; raises when it cannot.
            key: an item's name, for the log and for knowing it again.
            group: what items may wait for together, such as a partition.
            batch: how many items are asked for at a time.
            groups: how many there are, where that is known: once all are left, nothing more is asked for.

        Returns:
            The groups that were left, and why.
        """
        left: dict[G, TransientError] = {}
        stay = done = 0

        async def and_count(item: T) -> None:
            nonlocal done
            await work(item)
            done += 1

        while not self.stopping:
            self._health.beat(self.name)
            done = 0
            found = await find(batch, stay)
            left |= await self.each_group(
                [item for item in found if group(item) not in left], and_count, key=key, group=group
            )
            if len(found) < batch or len(left) == groups:
                break
            stay += len(found) - done  # so many come first again: they must not hide the others
        return left

    def _apart(self, items: Iterable[T], key: Callable[[T], str]) -> tuple[deque[T], deque[T]]:
        """Return the items that have not failed, in their order, and those that have, the longest ago first."""
        order = {name: n for n, name in enumerate(self._failing)}
        fresh: deque[T] = deque()
        failed: list[T] = []
        for item in items:
            (failed if key(item) in order else fresh).append(item)
        failed.sort(key=lambda item: order[key(item)])
        return fresh, deque(failed)

    def _round_failed(self, error: Exception) -> None:
        """Count a failed round; log it where its reason is new."""
        ROUND_FAILURES.labels(self.name).inc()
        why = str(error) if isinstance(error, RingbackError) else f"defect: {error!r}"
        self._health.unready(self.name, why)
        if why == self._told:
            return
        self._told = why
        if isinstance(error, RingbackError):
            log.warning("round_waits", round=self.name, why=why)
        else:
            log.error("round_failed", round=self.name, exc_info=error)

    def _item_failed(self, name: str, error: Exception) -> None:
        """Count a failed item; log it the first time."""
        ROUND_FAILURES.labels(self.name).inc()
        known = name in self._failing
        self._failing.pop(name, None)
        self._failing[name] = None  # at the end: those that failed the longest ago are tried first
        if known:
            return
        while len(self._failing) > KEYS_KEPT:
            del self._failing[next(iter(self._failing))]
        if isinstance(error, TransientError):
            log.warning("item_waits", round=self.name, item=name, why=str(error))
        else:
            log.error("item_failed", round=self.name, item=name, exc_info=error)


async def _within(event: asyncio.Event, limit_s: float) -> bool:
    """Wait for an event, but not longer than a limit; return whether it came."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
