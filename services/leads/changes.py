"""Changing a lead: read, decide, write on condition, emit. When another event of the caller wrote first, start over.

The lead says whether an event was applied; its outbox leaves after it, and the log of its closed task last. An outbox that its
partition of `leads` does not take now is left to the sweeper: an event is done once its lead is saved, or one partition without
a leader would keep every partition waiting in which a fact of its callers lies.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from services.leads import metrics
from services.leads.adapters.store import LeadStore
from services.leads.domain.model import OUTBOX_LIMIT, Lead, LeadChange
from services.leads.errors import TooMuchContention
from services.runtime.clock import Clock
from services.runtime.errors import TransientError
from services.runtime.producer import Producer

log = structlog.get_logger(__name__)

TRIES = 20
SILENT_S = 10.0
"""For so long nobody but the sweeper tries a partition that took nothing: each try waits for its time-out. The sweeper tries it
every few seconds."""


class LeadChanges:
    """Every change of a lead that exists; nothing is decided on a lead that was not read for this very event."""

    def __init__(
        self, store: LeadStore, producer: Producer, clock: Clock, partition_of: Callable[[bytes], int]
    ) -> None:
        self._store, self._producer, self._clock, self._partition_of = store, producer, clock, partition_of
        self._silent: dict[int, datetime] = {}

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
                await self.emit(lead)  # its partition is still away: this raises, and the event waits with it
            found = change(lead)
            if found.ignored:
                await self.emit_or_leave(lead)  # a replay finishes what the first try began
                await self._log_closed(lead)
                return found
            if found.lead.task_closed != lead.task_closed:
                await self._log_closed(lead)  # the one before, in case its own event died before it was logged
            saved = await self._store.save_lead(lead, found.lead, self._clock.real_now())
            if saved is not None:
                await self.emit_or_leave(saved)
                if saved.task_closed != lead.task_closed:
                    await self._log_closed(saved)
                return replace(found, lead=saved)
        raise TooMuchContention("lead")

    async def emit(self, lead: Lead) -> None:
        """Send a stored lead's outbox whole and in order, and only when all of it is acknowledged take it out.

        Raises:
            TransientError: Kafka has not acknowledged it, or MongoDB is away.
        """
        if lead.outbox:
            await self._send(lead)
            await self._store.pull_outbox(lead.lead_id, lead.outbox[-1].seq)

    async def emit_or_leave(self, lead: Lead) -> None:
        """Send a stored lead's outbox, or leave it to the sweeper where its partition takes nothing now."""
        if not lead.outbox:
            return
        if self._is_silent(lead):
            metrics.OUTBOX_LEFT.inc()
            return
        try:
            await self._send(lead)
        except TransientError as error:
            metrics.OUTBOX_LEFT.inc()
            log.warning("outbox_left", lead_id=lead.lead_id, why=str(error))
        else:
            await self._store.pull_outbox(lead.lead_id, lead.outbox[-1].seq)

    async def _send(self, lead: Lead) -> None:
        try:
            await self._producer.send_wire(*(entry.wire for entry in lead.outbox))
        except TransientError:
            self._silent[self._partition(lead)] = self._clock.real_now()
            raise
        if self._silent:
            self._silent.pop(self._partition(lead), None)

    def _is_silent(self, lead: Lead) -> bool:
        since = self._silent.get(self._partition(lead)) if self._silent else None
        return since is not None and abs(self._clock.real_now() - since) < timedelta(seconds=SILENT_S)

    def _partition(self, lead: Lead) -> int:
        return self._partition_of(lead.outbox[0].wire.key)

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
