"""The spool's way out: each lane sends what it holds to Kafka, in order, by itself; those of replies go first."""

import asyncio
from typing import Final

from services.ingest import metrics
from services.ingest.adapters.kafka import Outlet
from services.ingest.adapters.spool import Lane, Spool
from services.ingest.errors import SpoolRefuses
from services.runtime import logs
from services.runtime.errors import PermanentError, ProcessMustEnd, TransientError
from services.runtime.health import Health
from services.runtime.producer import Producer
from services.runtime.rounds import Rounds

log = logs.get(__name__)

SEND_LIMIT_S: Final = 5.0
MOST: Final = 200
"""Records sent at once. After a failure a lane begins with one: what is sent again is little."""
PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 2.0


class SpoolDrain(Rounds):
    """Gives every lane with entries a task of its own, so that a partition without a leader holds up no other."""

    name = "spool_drain"
    period_s = 0.25

    def __init__(
        self, *, spool: Spool, producer: Producer, outlet: Outlet, health: Health, send_limit_s: float = SEND_LIMIT_S
    ) -> None:
        super().__init__(health)
        self._spool, self._producer, self._outlet = spool, producer, outlet
        self._send_limit_s = send_limit_s
        self._tasks: dict[Lane, asyncio.Task[None]] = {}

    async def round(self) -> None:
        """Start what lies still; once an event could be taken again, say so."""
        if self._outlet.is_connected:
            for lane in self._spool.lanes:
                task = self._tasks.get(lane)
                if task is None or task.done():
                    if task is not None and not task.cancelled() and (error := task.exception()) is not None:
                        log.error("drain_failed", file=lane.path.name, exc_info=error)
                    self._tasks[lane] = asyncio.create_task(self._drain(lane))
        if "spool" in self._health.not_ready:
            try:
                await self._spool.probe()
            except SpoolRefuses as error:
                self._health.unready("spool", str(error))
            else:
                self._health.ready("spool")

    async def stop(self) -> None:
        """Send no more; what is left is for the next process."""
        await super().stop()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _replies_go_first(self, lane: Lane) -> bool:
        """Return whether a lane must wait: a STOP stands before all else, unless Kafka does not take it."""
        return lane.topic != "replies" and any(
            other.topic == "replies" and not other.is_stuck for other in self._spool.lanes
        )

    async def _drain(self, lane: Lane) -> None:
        most, pause_s = 1, PAUSE_S
        while lane.has_entries:
            if lane.head == lane.size or self._replies_go_first(lane):
                await asyncio.sleep(0.02)
                continue
            batch = await self._spool.read(lane, most)
            if not batch.wires:
                continue
            try:
                async with asyncio.timeout(self._send_limit_s):
                    await self._producer.send_wire(*batch.wires)
            except PermanentError as error:
                if len(batch.wires) > 1:
                    most = 1
                    continue
                log.error("spool_record_refused", file=lane.path.name, why=str(error))
                metrics.SPOOL_DAMAGED.inc()
                await self._spool.refuse(batch)
            except (TimeoutError, TransientError) as error:
                lane.is_stuck, most = True, 1
                if isinstance(error, ProcessMustEnd):
                    return  # the part that asks for Kafka ends the service
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            lane.is_stuck = False
            most, pause_s = min(most * 2, MOST), PAUSE_S
            self._spool.taken(lane, batch)
        lane.is_stuck = False
