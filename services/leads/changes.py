"""Changing a lead: read, decide, write on condition, emit. When another event of the caller wrote first, start over.

The lead says whether an event was applied; its outbox leaves after it, and the log of its closed task last.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from services.leads import metrics
from services.leads.adapters.store import LeadStore
from services.leads.domain.model import OUTBOX_LIMIT, Lead, LeadChange
from services.leads.errors import TooMuchContention
from services.runtime.clock import Clock
from services.runtime.producer import Producer

TRIES = 20


class LeadChanges:
    """Every change of a lead that exists; nothing is decided on a lead that was not read for this very event."""

    def __init__(self, store: LeadStore, producer: Producer, clock: Clock) -> None:
        self._store, self._producer, self._clock = store, producer, clock

    async def change(self, lender_id: str, caller: str, change: Callable[[Lead], LeadChange]) -> LeadChange | None:
        """Change a caller's lead and emit what it has to tell; None when there is none.

        Args:
            lender_id: whose lead.
            caller: the borrower.
            change: pure; asked again with the newest lead whenever another write came first.
        """
        async for _ in tries("leads"):
            lead = await self._store.find_lead(lender_id, caller)
            if lead is None:
                return None
            if len(lead.outbox) > OUTBOX_LIMIT // 2:
                await self.emit(lead)  # Kafka is away: this raises, and the event waits with it
            found = change(lead)
            if found.ignored:
                await self.emit(lead)  # a replay finishes what the first try began
                await self._log_closed(lead)
                return found
            if found.lead.task_closed != lead.task_closed:
                await self._log_closed(lead)  # the one before, in case its own event died before it was logged
            saved = await self._store.save_lead(lead, found.lead, self._clock.real_now())
            if saved is not None:
                await self.emit(saved)
                if saved.task_closed != lead.task_closed:
                    await self._log_closed(saved)
                return replace(found, lead=saved)
        raise TooMuchContention("lead")

    async def emit(self, lead: Lead) -> None:
        """Send a stored lead's outbox whole and in order, and only when all of it is acknowledged take it out."""
        if lead.outbox:
            await self._producer.send_wire(*(entry.wire for entry in lead.outbox))
            await self._store.pull_outbox(lead.lead_id, lead.outbox[-1].seq)

    async def _log_closed(self, lead: Lead) -> None:
        """Log a task as the lead was saved with it: an attempt that was overtaken has logged nothing."""
        if lead.task_closed is not None:
            await self._store.log_task(lead, lead.task_closed)


async def tries(collection: str) -> AsyncIterator[int]:
    """Yield once for each try to decide and write; the pauses keep two deciders from conflicting for ever."""
    for attempt in range(TRIES):
        if attempt:
            metrics.CONFLICTS.labels(collection).inc()
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(0.05, 0.001 * 2**attempt))
        yield attempt
