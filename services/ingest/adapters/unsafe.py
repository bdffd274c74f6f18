"""Events of calls that went on although nothing took the event: kept in memory, and tried again until Kafka or the spool does.

A key press is in no list of the provider's: without it a borrower who was served may look missed.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

from schemas.base import EventData
from schemas.envelope import Event
from services.ingest import metrics
from services.ingest.adapters.kafka import Outlet
from services.ingest.errors import NotAcknowledged
from services.runtime import logs
from services.runtime.health import Health
from services.runtime.rounds import Rounds

log = logs.get(__name__)

MOST: Final = 10_000
"""About 20 MB; an hour of calls without Kafka and without a disk."""
LAST_TRY_S: Final = 5.0


class Unsafe(Rounds):
    """Holds such events, and lets them go in the order in which they came.

    Args:
        outlet: where they become safe.
        health: of the service.
        most: how many are held; the oldest are lost when there are more.
    """

    name = "unsafe"
    period_s = 2.0

    def __init__(self, *, outlet: Outlet, health: Health, most: int = MOST) -> None:
        super().__init__(health)
        self._outlet, self._most = outlet, most
        self._held: deque[Event[EventData]] = deque()
        metrics.UNSAFE_HELD.set_function(lambda: len(self._held))

    def hold(self, events: Iterable[Event[EventData]]) -> None:
        """Take events that are not safe."""
        self._held.extend(events)
        while len(self._held) > self._most:
            self._lose(self._held.popleft(), "too many are held")

    async def busy(self) -> str | None:
        """Return what is held, or None."""
        return f"{len(self._held)} events that are not safe" if self._held else None

    async def round(self) -> None:
        """Make safe what can be; the outlet says in readiness why the rest cannot."""
        while self._held:
            self._health.beat(self.name)
            event = self._held[0]
            try:
                await self._outlet.emit(event)
            except NotAcknowledged:
                return
            except Exception as error:  # Kafka refuses this one event for itself
                self._lose(event, repr(error))
            else:
                log.info("unsafe_made_safe", id=event.id)
            if self._held and self._held[0] is event:
                self._held.popleft()

    async def stop(self) -> None:
        """Try once more; what is not safe then is lost."""
        await super().stop()
        try:
            async with asyncio.timeout(LAST_TRY_S):
                await self.round()
        except TimeoutError:
            pass
        for event in self._held:
            self._lose(event, "the service stops")
        self._held.clear()

    def _lose(self, event: Event[EventData], why: str) -> None:
        metrics.UNSAFE_LOST.inc()
        log.error("unsafe_event_lost", id=event.id, type=event.type, why=why)
