"""What every instance does beside consuming: settle calls that have gone quiet, and emit what was left behind.

Any instance may do it for any call or lead: claims are conditional, and what is done twice changes nothing twice. A call
or lead that fails keeps nobody from the others.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from services.leads import metrics
from services.leads.adapters.store import LeadStore
from services.leads.shell import DECISION_LEASE_S, Shell
from services.runtime.clock import Clock
from services.runtime.health import Health
from services.runtime.rounds import Rounds

SETTLE_BATCH = 100
SWEEP_BATCH = 1_000
LEFT_AFTER_S = 2.0
"""Whoever filled an outbox empties it within milliseconds; what is there longer was left behind."""


class Settler(Rounds):
    """Decides calls whose last facts do not come.

    Args:
        store: of the calls.
        shell: decides a call and does all it causes.
        clock: `settle_at` is counted in real time.
        health: where a round that fails says so.
        caught_up: returns whether this instance has read every call fact that was in Kafka when asked. After an outage
            the proof of an answer may be waiting there, and a call must not be decided without it.
    """

    name = "settler"
    period_s = 0.25

    def __init__(
        self, store: LeadStore, shell: Shell, clock: Clock, health: Health, caught_up: Callable[[], Awaitable[bool]]
    ) -> None:
        super().__init__(health)
        self._store, self._shell, self._clock, self._caught_up = store, shell, clock, caught_up

    async def round(self) -> None:
        """Settle the calls that were due before the facts were read up to."""
        now = self._clock.real_now()
        due = await self._store.calls_due(now, SETTLE_BATCH)
        if not due or not await self._caught_up():
            return
        await self.each(due, partial(self._settle, now=now), key=str)
        if len(due) == SETTLE_BATCH:
            self.wake()

    async def _settle(self, key: str, now: datetime) -> None:
        lease_until = self._clock.real_now() + timedelta(seconds=DECISION_LEASE_S)
        call = await self._store.claim_call(key, now, lease_until)
        if call is not None:
            await self._shell.settle(call)


class Sweeper(Rounds):
    """Emits what a dead instance (or a desk's write) left in outboxes, and reports what waits."""

    name = "sweeper"
    period_s = 1.0

    def __init__(self, store: LeadStore, shell: Shell, clock: Clock, health: Health) -> None:
        super().__init__(health)
        self._store, self._shell, self._clock = store, shell, clock

    async def round(self) -> None:
        """Report what waits, then emit old outboxes, the oldest first."""
        metrics.OUTBOX_PENDING.set(await self._store.outboxes_pending())
        metrics.SETTLING.set(await self._store.calls_settling())
        left = self._clock.real_now() - timedelta(seconds=LEFT_AFTER_S)
        await self.each(await self._store.outboxes_left(left, SWEEP_BATCH), self._emit, key=str)

    async def _emit(self, lead_id: str) -> None:
        lead = await self._store.lead_by_id(lead_id)
        if lead is not None and lead.outbox:
            await self._shell.emit(lead)
            metrics.OUTBOX_SWEPT.inc()


async def busy_with(store: LeadStore) -> str | None:
    """Say what the leads service still has to do, for `/idle`; None when nothing."""
    if pending := await store.outboxes_pending():
        return f"{pending} leads with an outbox"
    if settling := await store.calls_settling():
        return f"{settling} calls settling"
    return None
