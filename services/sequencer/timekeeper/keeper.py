"""Taking timers in, in batches, and firing what falls due."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from schemas.base import EventData
from schemas.envelope import Event
from schemas.touches import TimerDue, TimerSet
from services.runtime.clock import Clock
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, Handled, ignored
from services.runtime.health import Health
from services.runtime.producer import Producer
from services.sequencer.adapters.timers import Timer, TimerStore
from services.sequencer.metrics import TIMER_LATE_SECONDS, TIMERS_FIRED, TIMERS_REARMED, TIMERS_SET

log = structlog.get_logger(__name__)

SOURCE = "ringback/timekeeper"
BATCH = 500
LEASE_S = 10.0
"""How long others leave a claimed timer alone; a batch takes a small part of a second."""
POLL_S = 1.0
"""How often to look without a reason to: only timers that another instance left behind wait for this."""
AWAY_S = 0.5


def timer_of(event: Event[EventData], data: TimerSet) -> Timer:
    """Return the timer an event asks for; a part of a millisecond is rounded up, so that none fires early."""
    due = data.due_at + timedelta(microseconds=-data.due_at.microsecond % 1000)
    return Timer(
        data.timer_id, due, data.step, event.key.decode(), event.lender_id, event.branch_id, event.traceparent,
        data.due_local,
    )  # fmt: skip


def tick_of(timer: Timer) -> Event[EventData]:
    """Return a timer's tick: the same one however often, and whenever, it is sent."""
    data = TimerDue(timer_id=timer.timer_id, due_at=timer.due, step=timer.step)
    return Event(
        timer.timer_id, data, SOURCE, timer.due, timer.key.encode(), timer.lender_id, timer.branch_id, None,
        timer.traceparent,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Waiting:
    timer: Timer
    known: asyncio.Future[bool]


class Keeper:
    """Keeps timers and fires them; a part of the service, and the handler of `sequencer-timers`.

    Args:
        store: where timers live.
        producer: sends the ticks.
        clock: timers are due in its virtual time.
        health: told what it waits for.
    """

    def __init__(self, store: TimerStore, producer: Producer, clock: Clock, health: Health) -> None:
        self._store, self._producer, self._clock, self._health = store, producer, clock, health
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._stopping = False

    # -- in --

    async def take(self, event: Event[EventData]) -> Handled:
        """Keep the timer an event asks for; returns once it is safe.

        Raises:
            TransientError: it is not; the event must come again.
        """
        if not isinstance(event.data, TimerSet):
            return ignored("not_for_us")
        waiting = _Waiting(timer_of(event, event.data), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        new = await waiting.known
        TIMERS_SET.labels("new" if new else "known").inc()
        return APPLIED if new else ignored("known")

    async def _write(self) -> None:
        """Write what waits, one batch after the other: while one is under way, the next gathers."""
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                new = await self._store.put([waiting.timer for waiting in batch])
            except Exception as error:
                for waiting in batch:
                    if not waiting.known.done():
                        waiting.known.set_exception(error)
                continue
            for waiting in batch:
                if not waiting.known.done():
                    waiting.known.set_result(waiting.timer.timer_id in new)
            self._wake.set()

    # -- out --

    async def start(self) -> None:
        """Nothing to prepare."""
        self._health.idle_checks.append(self.busy_with)

    async def stop(self) -> None:
        """Fire nothing more; what is claimed falls back when its lease ends."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Fire what falls due until stopped."""
        while not self._stopping:
            self._health.beat("timers")
            self._wake.clear()
            try:
                if await self.fire_due() == BATCH:
                    continue
                due = await self._store.next_due()
            except TransientError as error:
                self._health.unready("timers", str(error))
                log.warning("timers_wait", why=str(error))
                await asyncio.sleep(AWAY_S)
                continue
            self._health.ready("timers")
            await self._until(due)

    async def fire_due(self) -> int:
        """Fire one batch of what is due; return how many timers were claimed."""
        now = self._clock.now()
        claim = await self._store.claim(now, BATCH, LEASE_S)
        if not claim.timers:
            return 0
        due, later = _resolved(claim.timers, now)
        for timer, at in later:
            await self._store.rearm(claim, timer.timer_id, at)
            TIMERS_REARMED.inc()
        await self._producer.send(*(tick_of(timer) for timer in due))
        await self._store.fired(claim, [timer.timer_id for timer in due])
        TIMERS_FIRED.inc(len(due))
        acknowledged = self._clock.now()
        for timer in due:
            TIMER_LATE_SECONDS.observe(max(0.0, (acknowledged - timer.due).total_seconds()))
        return len(claim.timers)

    async def _until(self, due: datetime | None) -> None:
        """Wait for the earliest timer, a new one, or a little while."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._wake.wait())]
        if due is not None:
            waits.append(asyncio.create_task(self._clock.sleep_until(due)))
        try:
            await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def busy_with(self) -> str | None:
        """Say what is not done yet, for `/idle`."""
        if self._waiting or (self._writing is not None and not self._writing.done()):
            return "timers being written"
        try:
            overdue = await self._store.overdue(self._clock.now())
        except TransientError as error:
            return f"not known: {error}"
        return f"{overdue} timers due" if overdue else None


def _resolved(timers: Iterable[Timer], now: datetime) -> tuple[list[Timer], list[tuple[Timer, datetime]]]:
    """Split timers into those to fire and those whose local time, by today's zone data, is still to come."""
    due: list[Timer] = []
    later: list[tuple[Timer, datetime]] = []
    for timer in timers:
        try:
            at = timer.due_local.utc() if timer.due_local else timer.due
        except (LookupError, ValueError, OSError):  # the zone has vanished: the instant resolved at first still stands
            at = timer.due
        if at > now:
            later.append((timer, at))
        else:
            due.append(timer)
    return due, later
