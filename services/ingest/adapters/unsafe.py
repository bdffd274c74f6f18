"""Events of calls that went on although nothing took the event: kept in memory, and tried again until Kafka or the spool does.

A key press is in no list of the provider's: without it a borrower who was served may look missed.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from schemas.base import EventData
from schemas.calls import CallLegAnswered
from schemas.envelope import Event
from services.ingest import metrics
from services.ingest.adapters.kafka import Outlet
from services.ingest.errors import NotAcknowledged
from services.runtime import logs
from services.runtime.health import Health
from services.runtime.partitions import partition_of
from services.runtime.rounds import Rounds

log = logs.get(__name__)

MOST: Final = 10_000
"""About 20 MB; an hour of calls without Kafka and without a disk."""
LAST_TRY_S: Final = 5.0


@dataclass(eq=False, slots=True)
class _Held:
    """Events of one partition by the number under which each came, and the task that lets them go: all wait for one."""

    events: dict[int, Event[EventData]] = field(default_factory=dict)
    task: asyncio.Task[NotAcknowledged | None] | None = None


class Unsafe(Rounds):
    """Holds such events, and the way to the outlet: an event never passes one of its partition that is held.

    Each partition's events go in the order in which they came, and wait for no other partition.

    Args:
        outlet: where events become safe.
        health: of the service.
        partitions: of each topic.
        most: how many are held; beyond that the oldest is lost, a key press only when there is nothing else.
    """

    name = "unsafe"
    period_s = 0.25
    """Leads decides a call three seconds after its end: once Kafka is back, a key press must be there before."""

    def __init__(self, *, outlet: Outlet, health: Health, partitions: int, most: int = MOST) -> None:
        super().__init__(health)
        self._outlet, self._partitions, self._most = outlet, partitions, most
        self._groups: dict[tuple[str, int], _Held] = {}
        self._numbers = count()
        metrics.UNSAFE_HELD.set_function(lambda: self._count)

    async def emit(self, *events: Event[EventData]) -> None:
        """Return once all are safe, and before them what is held of their partitions.

        Raises:
            NotAcknowledged: at least one is not. Any of them may still arrive: a repetition has the same id.
        """
        for group in dict.fromkeys(self._group(event) for event in events) if self._count else ():
            if (error := await self._let_go(group)) is not None:
                raise NotAcknowledged(f"an earlier event of its partition waits: {error}") from error
        await self._outlet.emit(*events)

    def hold(self, events: Iterable[Event[EventData]]) -> None:
        """Take events that are not safe."""
        for event in events:
            self._group(event).events[next(self._numbers)] = event
        while self._count > self._most:
            (_, number), group = min(
                ((isinstance(event.data, CallLegAnswered), number), group)
                for group in self._groups.values()
                for number, event in group.events.items()
            )
            self._lose(group.events.pop(number), "too many are held")

    async def busy(self) -> str | None:
        """Return what is held, or None."""
        return f"{self._count} events that are not safe" if self._count else None

    async def round(self) -> None:
        """Make safe what can be; the outlet says in readiness why the rest cannot."""
        await asyncio.gather(*(self._let_go(group) for group in self._groups.values()))

    async def stop(self) -> None:
        """Try once more; what is not safe then is lost."""
        await super().stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_TRY_S):
                await self.round()
        for group in self._groups.values():
            if group.task is not None:
                group.task.cancel()
            for event in group.events.values():
                self._lose(event, "the service stops")
            group.events.clear()

    @property
    def _count(self) -> int:
        return sum(len(group.events) for group in self._groups.values())

    def _group(self, event: Event[EventData]) -> _Held:
        return self._groups.setdefault((event.topic, partition_of(event.key, self._partitions)), _Held())

    async def _let_go(self, group: _Held) -> NotAcknowledged | None:
        """Make safe what is held of a partition, once for all who wait for that; return why the first could not be."""
        if group.task is None or group.task.done():
            if not group.events:
                return None
            group.task = asyncio.create_task(self._send(group))
        return await asyncio.shield(group.task)

    async def _send(self, group: _Held) -> NotAcknowledged | None:
        while group.events:
            self._health.beat(self.name)
            number, event = next(iter(group.events.items()))
            try:
                await self._outlet.emit(event)
            except NotAcknowledged as error:
                return error
            except Exception as error:  # Kafka refuses this one event for itself
                self._lose(event, repr(error))
            else:
                log.info("unsafe_made_safe", id=event.id)
            group.events.pop(number, None)
        return None

    def _lose(self, event: Event[EventData], why: str) -> None:
        metrics.UNSAFE_LOST.inc()
        log.error("unsafe_event_lost", id=event.id, type=event.type, why=why)
