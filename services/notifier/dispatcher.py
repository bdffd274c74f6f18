"""When deliveries are worked on: at once when they arrive, else by looking in the store, urgent ones first."""

import asyncio
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from schemas.base import Lane
from services.notifier import metrics
from services.notifier.adapters.store import LANES, BrokenDelivery, Found
from services.notifier.domain.delivery import Delivery
from services.notifier.errors import ProviderAway, UnreadableDocument
from services.notifier.shell import Shell
from services.runtime.errors import TransientError
from services.runtime.rounds import Rounds

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.5
STOP_WITHIN_S: Final = 11.0
"""A request at the provider takes ten seconds at most; the parts of a service have fifteen together."""
URGENT_SHARE: Final = 0.25
"""This share of the senders takes urgent texts only: slow answers to bulk texts must not stand before a first text."""
DEFECTS_KEPT: Final = 1_000


def touch_of(found: Delivery | BrokenDelivery) -> str:
    """Return the touch whose delivery was found: its name in logs."""
    return found.touch_id


def readable(found: Delivery | BrokenDelivery) -> Delivery:
    """Return a delivery that was found.

    Raises:
        UnreadableDocument: it is broken.
    """
    if isinstance(found, BrokenDelivery):
        raise UnreadableDocument(found.why)
    return found


class Dispatcher(Rounds):
    """Works on deliveries, several at once; each round claims what is due."""

    name = "look for due texts"
    period_s = LOOK_EVERY_S

    def __init__(self, shell: Shell, senders: int) -> None:
        super().__init__(shell.health)
        self._shell, self._senders = shell, senders
        self._reserved = max(1, int(senders * URGENT_SHARE))
        self._running: set[asyncio.Task[None]] = set()
        self._defects: dict[str, None] = {}

    def has_room(self, lane: Lane) -> bool:
        """Return whether one more of this lane may start at once."""
        return not self.stopping and self._room(lane) > 0

    def _room(self, lane: Lane) -> int:
        limit = self._senders if lane == "urgent" else self._senders - self._reserved
        return limit - len(self._running)

    def take(self, delivery: Delivery) -> None:
        """Work on a delivery that is claimed for us."""
        task = asyncio.create_task(self._work_on(delivery), name=delivery.touch_id)
        self._running.add(task)
        metrics.UNDER_WAY.set(len(self._running))
        task.add_done_callback(self._done)

    def waiting(self) -> None:
        """Say that something was kept that nobody has claimed."""
        self.wake()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        metrics.UNDER_WAY.set(len(self._running))
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(task.get_name(), error)
        if len(self._running) >= self._senders - self._reserved - 1:
            self.wake()

    def _failed(self, touch_id: str, error: BaseException) -> None:
        """Count a failed delivery; log it the first time.

        Its claim lapses and it is tried again until it expires, which is a task for a person. A text that was on its way
        is settled by its receipt or by the provider's list.
        """
        metrics.DEFECTS.inc()
        if touch_id in self._defects:
            return
        self._defects[touch_id] = None
        while len(self._defects) > DEFECTS_KEPT:
            del self._defects[next(iter(self._defects))]
        log.error("delivery_failed", touch_id=touch_id, exc_info=error)

    async def _work_on(self, delivery: Delivery) -> None:
        found: Delivery | None = delivery
        interrupted = False
        with self._shell.health.waiter("mongo") as away:
            while found is not None and not self.stopping:
                try:
                    if interrupted:
                        found = await self._shell.recover(delivery.touch_id, delivery.claim_by)
                        if found is None:
                            break
                    await self._shell.deliver(found)
                    break
                except TransientError as error:
                    interrupted = True
                    away(str(error))
                    await self._shell.results.pause()

    async def start(self) -> None:
        """Have idleness asked; do now what would make the first text wait."""
        self._shell.warm_up()
        self._shell.health.idle_checks.append(self._busy)

    async def round(self) -> None:
        """Claim what is due, as far as there is room, and work on it.

        With the tail away no borrower's text is claimed only to be put back: officers' texts would wait behind thousands.
        Expired texts need no token: where the budget leaves texts unclaimed, those are claimed all the same.
        """
        for lane in LANES:
            while not self.stopping and (free := self._room(lane)) > 0:
                spent = self._shell.budget.spent_branches(lane)
                limit = self._shell.budget.room(lane, free)
                found = await self._claim(lane, limit, without=spent)
                if (limit < free or spent) and (left := self._room(lane)) > 0:
                    await self._claim(lane, left, expired_only=True)
                if found < limit or limit < free:
                    break

    async def _claim(self, lane: Lane, limit: int, *, without: Collection[str] = (), expired_only: bool = False) -> int:
        """Claim texts that are due and work on them; return how many were found."""
        found = await self._shell.store.claim_due(
            lane,
            limit,
            self._shell.new_claim(),
            self._shell.clock.now(),
            borrowers_held=self._shell.tail.is_away(),
            without=without,
            expired_only=expired_only,
        )
        await self.each(found, self._take_found, key=touch_of)
        return _count_readable(found)

    async def _take_found(self, found: Delivery | BrokenDelivery) -> None:
        self.take(readable(found))

    async def stop(self) -> None:
        """Take nothing more, and finish what is under way, a round included."""
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await super().stop()
                while self._running:
                    await asyncio.wait(self._running)
        except TimeoutError:
            for task in self._running:
                task.cancel()

    async def _busy(self) -> str | None:
        if self._running:
            return f"{len(self._running)} texts under way"
        return await self._shell.store.busy(self._shell.clock.now())


def _count_readable(found: Found) -> int:
    return sum(isinstance(one, Delivery) for one in found)


class OutboxSweep(Rounds):
    """Emits results that waited: Kafka was away, or whoever saved them ended before it emitted them.

    Args:
        shell: emits.
        partition_of: where in `touch-results` a key's records lie.
    """

    name = "outbox sweep"
    period_s = 2.0
    WAITED: Final = timedelta(seconds=3)
    BATCH: Final = 100

    def __init__(self, shell: Shell, partition_of: Callable[[bytes], int]) -> None:
        super().__init__(shell.health)
        self._shell, self._partition_of = shell, partition_of

    async def round(self) -> None:
        """Emit what has waited long enough that nobody is about to: the partitions side by side, the oldest first.

        Raises:
            TransientError: MongoDB is away, or at least one partition of `touch-results`; the others are emitted.
        """
        find = partial(self._shell.store.outboxes, self._shell.clock.real_now() - self.WAITED)
        left = await self.each_left(find, self._emit, key=touch_of, group=self._group_of, batch=self.BATCH)
        for error in left.values():
            raise error

    async def _emit(self, found: Delivery | BrokenDelivery) -> None:
        await self._shell.results.emit(readable(found))

    def _group_of(self, found: Delivery | BrokenDelivery) -> int | None:
        return self._partition_of(found.key.encode()) if isinstance(found, Delivery) else None


class DoubtSweep(Rounds):
    """Asks the provider about texts that no answer and no receipt has settled."""

    name = "doubt sweep"
    period_s = 2.0
    BATCH: Final = 100

    def __init__(self, shell: Shell, wait_s: float) -> None:
        super().__init__(shell.health)
        self._shell, self._wait = shell, timedelta(seconds=wait_s)

    async def round(self) -> None:
        """Resolve what is still in doubt `wait_s` after its request had to be written.

        The provider's list being away keeps no text from going: it is counted and logged, and the notifier stays ready.
        """
        past = self._shell.clock.real_now() - self._wait
        found = await self._shell.store.in_doubt(past, self.asks_for(self.BATCH))
        try:
            await self.each(found, self._resolve, key=touch_of)
        except ProviderAway:
            return  # `each` has counted and logged it, and stops after a few: each may take as long as a time-out

    async def _resolve(self, found: Delivery | BrokenDelivery) -> None:
        await self._shell.resolve(readable(found))
