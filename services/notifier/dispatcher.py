"""When deliveries are worked on: at once when they arrive, else by looking, urgent ones first; and the sweepers."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog

from schemas.base import Lane
from services.notifier import metrics
from services.notifier.adapters.mongo import LANES
from services.notifier.domain.delivery import Delivery
from services.notifier.shell import CLAIM_FOR, Shell
from services.runtime.errors import TransientError

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.5
SWEEP_EVERY_S: Final = 2.0
OUTBOX_WAITS: Final = timedelta(seconds=3)
BATCH: Final = 100
URGENT_SHARE: Final = 0.25
"""This share of the senders takes urgent texts only: slow answers to bulk texts must not stand before a first text."""


class Pump:
    """Works on deliveries, several at once; a part of the service."""

    def __init__(self, shell: Shell, senders: int, doubt_wait_s: float) -> None:
        self._shell, self._senders = shell, senders
        self._reserved = max(1, int(senders * URGENT_SHARE))
        self._doubt_wait = timedelta(seconds=doubt_wait_s)
        self._running: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._stopping = False

    # Room

    def has_room(self, lane: Lane) -> bool:
        """Return whether one more of this lane may start at once."""
        return not self._stopping and len(self._running) < self._limit(lane)

    def _limit(self, lane: Lane) -> int:
        return self._senders if lane == "urgent" else self._senders - self._reserved

    def take(self, delivery: Delivery) -> None:
        """Work on a delivery that is claimed for us."""
        task = asyncio.create_task(self._work_on(delivery), name=f"deliver {delivery.touch_id}")
        self._running.add(task)
        metrics.UNDER_WAY.set(len(self._running))
        task.add_done_callback(self._done)

    def waiting(self) -> None:
        """Say that something was kept that nobody has claimed."""
        self._look.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        metrics.UNDER_WAY.set(len(self._running))
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its claim lapses and it is tried again; a text that was on its way is settled by receipt or list.
            log.error("defect", task=task.get_name(), exc_info=error)
        if len(self._running) >= self._senders - self._reserved - 1:
            self._look.set()

    async def _work_on(self, delivery: Delivery) -> None:
        found: Delivery | None = delivery
        away = False
        while found is not None and not self._stopping:
            try:
                if away:
                    found = await self._shell.recover(delivery.touch_id, delivery.claim_by)
                    if found is None:
                        break
                await self._shell.deliver(found)
                break
            except TransientError as error:
                away = True
                self._shell.health.unready("mongo", str(error))
                await self._shell.pause()
        if away:
            self._shell.health.ready("mongo")

    # Part

    async def start(self) -> None:
        """Have idleness asked; do now what would make the first text wait."""
        self._shell.warm_up()
        self._shell.health.idle_checks.append(self._busy)

    async def run(self) -> None:
        """Look, work and sweep until stopped."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_looking())
            tasks.create_task(self._keep_sweeping("outbox sweep", self._sweep_outbox, SWEEP_EVERY_S))
            tasks.create_task(self._keep_sweeping("doubt sweep", self._sweep_doubts, SWEEP_EVERY_S))

    async def stop(self) -> None:
        """Take nothing more, and finish what is under way."""
        self._stopping = True
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=20.0)
            for task in late:
                task.cancel()

    async def _busy(self) -> str | None:
        if self._running:
            return f"{len(self._running)} texts under way"
        return await self._shell.store.busy(self._shell.clock.now())

    async def _keep_looking(self) -> None:
        while not self._stopping:
            self._shell.health.beat("look for due texts")
            try:
                await self._take_due()
                self._shell.health.ready("mongo")
            except TransientError as away:
                self._shell.health.unready("mongo", str(away))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look.wait()
            self._look.clear()

    async def _take_due(self) -> None:
        for lane in LANES:
            while (room := self._limit(lane) - len(self._running)) > 0:
                clock = self._shell.clock
                real_now = clock.real_now()
                claimed = await self._shell.store.claim_due(
                    (lane,), room, self._shell.claim_name(), clock.now(), real_now, real_now + CLAIM_FOR
                )
                for delivery in claimed:
                    self.take(delivery)
                if len(claimed) < room:
                    break

    async def _keep_sweeping(self, name: str, sweep: Callable[[], Awaitable[None]], every_s: float) -> None:
        while not self._stopping:
            self._shell.health.beat(name)
            try:
                await sweep()
            except TransientError as away:
                log.warning("sweep_waits", sweep=name, why=str(away))
            await asyncio.sleep(every_s)

    async def _sweep_outbox(self) -> None:
        older = self._shell.clock.real_now() - OUTBOX_WAITS
        for delivery in await self._shell.store.claim_outbox(older, BATCH):
            await self._shell.emit(delivery)

    async def _sweep_doubts(self) -> None:
        past = self._shell.clock.real_now() - self._doubt_wait
        for delivery in await self._shell.store.in_doubt(past, BATCH):
            self._shell.health.beat("doubt sweep")
            await self._shell.resolve(delivery)
