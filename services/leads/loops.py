"""What every instance does beside consuming: settle calls that have gone quiet, emit what was left, report.

Any instance may do it for any call or lead: claims are conditional, and what is done twice changes nothing twice.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar

import structlog

from services.leads import metrics
from services.leads.adapters.store import Store
from services.leads.shell import DECISION_LEASE_S, Shell
from services.runtime.clock import Clock
from services.runtime.errors import RingbackError
from services.runtime.health import Health
from services.runtime.service import Resource

log = structlog.get_logger(__name__)

SWEEP_BATCH = 100
LEFT_AFTER_S = 2.0
"""Whoever filled an outbox empties it within milliseconds; what is there longer was left behind."""


class Rounds(Resource, ABC):
    """Something done every so often, that a dependency's absence delays and nothing ends."""

    name: ClassVar[str]
    period_s: ClassVar[float]

    def __init__(self, store: Store, shell: Shell, clock: Clock, health: Health) -> None:
        self._store, self._shell, self._clock, self._health = store, shell, clock, health
        self._stopping = asyncio.Event()

    async def stop(self) -> None:
        """End after the round in hand."""
        self._stopping.set()

    async def run(self) -> None:
        """Do round after round until stopped."""
        while not self._stopping.is_set():
            self._health.beat(self.name)
            try:
                await self.round()
                self._health.ready(self.name)
            except RingbackError as error:
                self._health.unready(self.name, str(error))
                log.warning("waiting", part=self.name, why=str(error))
            except Exception:  # a defect over one document must not stop the rounds for all others
                log.exception("defect", part=self.name)
            try:
                await asyncio.wait_for(self._stopping.wait(), self.period_s)
            except TimeoutError:
                continue

    @abstractmethod
    async def round(self) -> None:
        """Do what is due now."""


class Settler(Rounds):
    """Decides calls whose last facts do not come.

    Args:
        caught_up: returns whether every call fact that was in Kafka when asked has been read by this instance. After an
            outage the proof of an answer may be waiting there, and a call must not be decided over its head.
    """

    name = "settler"
    period_s = 0.25

    def __init__(
        self, store: Store, shell: Shell, clock: Clock, health: Health, caught_up: Callable[[], Awaitable[bool]]
    ) -> None:
        super().__init__(store, shell, clock, health)
        self._caught_up = caught_up

    async def round(self) -> None:
        """Settle what was due before the facts were read up to."""
        now = self._clock.real_now()
        if not await self._store.call_due(now) or not await self._caught_up():
            return
        while call := await self._store.claim_call(now, self._clock.real_now() + timedelta(seconds=DECISION_LEASE_S)):
            await self._shell.settle(call)


class Sweeper(Rounds):
    """Emits what a dead instance (or a desk's write) left in outboxes, and reports what waits."""

    name = "sweeper"
    period_s = 1.0

    async def round(self) -> None:
        """Emit old outboxes, the oldest first."""
        left = self._clock.real_now() - timedelta(seconds=LEFT_AFTER_S)
        for lead in await self._store.leads_to_emit(left, SWEEP_BATCH):
            await self._shell.emit(lead)
            metrics.OUTBOX_SWEPT.inc()
        metrics.OUTBOX_PENDING.set(await self._store.outboxes_pending())
        metrics.SETTLING.set(await self._store.calls_settling())


async def busy_with(store: Store) -> str | None:
    """Say what leads still has to do, for `/idle`; None when nothing."""
    if pending := await store.outboxes_pending():
        return f"{pending} leads with an outbox"
    if settling := await store.calls_settling():
        return f"{settling} calls settling"
    return None
