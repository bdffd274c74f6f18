"""Taking timers in, in batches, and firing what falls due."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.base import EventData
from schemas.envelope import Event
from schemas.topics import PARTITIONS
from schemas.touches import TimerDue, TimerSet
from services.runtime.clock import Clock
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, Handled, ignored
from services.runtime.health import Health
from services.runtime.mongo_errors import StoreAway
from services.runtime.partitions import partition_of
from services.runtime.producer import Producer
from services.runtime.rounds import Rounds
from services.sequencer.adapters.store import Claim, Timer, TimerStore
from services.sequencer.errors import BrokenTimer
from services.sequencer.metrics import TIMER_LATE_SECONDS, TIMERS_FIRED, TIMERS_REARMED, TIMERS_SET

SOURCE: Final = "ringback/timekeeper"
BATCH: Final = 500
LEASE_S: Final = 10.0
"""How long others leave a claimed timer alone; a batch takes a small part of a second."""
POLL_S: Final = 1.0
"""How often to look when nothing is known to be due: only timers that another instance left behind wait this long."""


def timer_of(event: Event[EventData], data: TimerSet) -> Timer:
    """Return the timer an event asks for; a part of a millisecond is rounded up, so that none fires early."""
    return Timer(
        timer_id=data.timer_id,
        due=data.due_at + timedelta(microseconds=-data.due_at.microsecond % 1000),
        step=data.step,
        key=event.key.decode(),
        lender_id=event.lender_id,
        branch_id=event.branch_id,
        traceparent=event.traceparent,
        due_local=data.due_local,
    )


def tick_of(timer: Timer) -> Event[EventData]:
    """Return a timer's tick: the same one however often, and whenever, it is sent."""
    return Event(
        id=timer.timer_id,
        data=TimerDue(timer_id=timer.timer_id, due_at=timer.due, step=timer.step),
        source=SOURCE,
        time=timer.due,
        key=timer.key.encode(),
        lender_id=timer.lender_id,
        branch_id=timer.branch_id,
        traceparent=timer.traceparent,
    )


@dataclass(frozen=True, slots=True)
class _Waiting:
    timer: Timer
    known: asyncio.Future[bool]


class Keeper(Rounds):
    """Keeps timers and fires them; a part of the service, and the handler of `sequencer-timers`.

    Args:
        store: where timers live.
        producer: sends the ticks.
        clock: timers are due in its virtual time.
        health: told what it waits for.
        partitions: how many the topic of the ticks has.
    """

    name = "timers"
    period_s = POLL_S

    def __init__(
        self, *, store: TimerStore, producer: Producer, clock: Clock, health: Health, partitions: int = PARTITIONS
    ) -> None:
        super().__init__(health)
        self._partitions = partitions
        self._silent: set[int] = set()
        self._store, self._producer, self._clock = store, producer, clock
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._next_due: datetime | None = None

    # -- in --

    async def take(self, event: Event[EventData]) -> Handled:
        """Keep the timer an event asks for; returns once it is safe.

        Raises:
            TransientError: it is not; the event must come again.
            PermanentError: it never will be.
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
        """Write what waits, one batch after the other: while one is being written, the next gathers."""
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            await self._put(batch)
            self.wake()

    async def _put(self, batch: Sequence[_Waiting]) -> None:
        try:
            new = await self._store.put([waiting.timer for waiting in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, TransientError):
                # One timer that can never be written must not take the others of its batch with it.
                for waiting in batch:
                    await self._put([waiting])
                return
            for waiting in batch:
                if not waiting.known.done():
                    waiting.known.set_exception(error)
            return
        for waiting in batch:
            if not waiting.known.done():
                waiting.known.set_result(waiting.timer.timer_id in new)

    # -- out --

    async def start(self) -> None:
        """Nothing to prepare."""
        self._health.idle_checks.append(self.busy_with)

    async def round(self) -> None:
        """Fire everything that is due; note when the next timer is.

        Raises:
            TransientError: MongoDB or Kafka is away, or at least one partition of `sequencer-ticks`; the others have fired.
        """
        self._silent.clear()
        while await self.fire_due() == BATCH and not self.stopping:
            self._health.beat(self.name)
        self._next_due = await self._store.next_due()
        if self._silent:
            where = ", ".join(f"{TimerDue.TOPIC}[{partition}]" for partition in sorted(self._silent))
            raise TransientError(f"no acknowledgement from {where}")

    async def rest(self) -> None:
        """Wait for the earliest timer, a new one, or a little while."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(super().rest())]
        if self._next_due is not None:
            waits.append(asyncio.create_task(self._clock.sleep_until(self._next_due)))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a clock file that cannot be read fails the round, and its reason is told
        finally:
            for task in waits:
                task.cancel()

    async def fire_due(self) -> int:
        """Fire one batch of what is due, partition by partition, side by side; return how many timers were claimed.

        Claimed timers that could not be fired fall back when the lease ends. A partition that has not answered once is left
        out until the next round: each try would cost all the others a time-out.

        Raises:
            TransientError: MongoDB or Kafka is away, for every partition of the batch.
        """
        now = self._clock.now()
        claim = await self._store.claim(now, BATCH, LEASE_S)
        await self.each(claim.unreadable.items(), _report_unreadable, key=lambda item: item[0])
        due, later = _resolved(claim.timers, now)
        for timer, at in later:
            await self._store.rearm(claim, timer.timer_id, at)
            TIMERS_REARMED.inc()
        groups: dict[int, list[Timer]] = {}
        for timer in due:
            if (partition := self._partition_of(timer)) not in self._silent:
                groups.setdefault(partition, []).append(timer)
        fired = await asyncio.gather(*(self._fire_group(claim, group) for group in groups.values()))
        if errors := {n: error for n, error in zip(groups, fired, strict=True) if error is not None}:
            self._silent.update(errors)
            if len(errors) == len(groups):
                raise next(iter(errors.values()))
        return len(claim)

    def _partition_of(self, timer: Timer) -> int:
        return partition_of(timer.key.encode(), self._partitions)

    async def _fire_group(self, claim: Claim, timers: Sequence[Timer]) -> TransientError | None:
        """Fire the timers of one partition; return why not, where the partition takes nothing now.

        Each partition by itself: those that are acknowledged are marked, whatever becomes of the others.
        """
        try:
            await self._fire(claim, timers)
        except StoreAway:
            raise
        except TransientError as error:
            return error
        except Exception:
            # One timer whose tick can never be sent must not hold back the others that are due with it.
            await self.each(timers, lambda timer: self._fire(claim, [timer]), key=lambda timer: timer.timer_id)
        return None

    async def _fire(self, claim: Claim, timers: Sequence[Timer]) -> None:
        if not timers:
            return
        await self._producer.send(*(tick_of(timer) for timer in timers))
        await self._store.fired(claim, [timer.timer_id for timer in timers])
        TIMERS_FIRED.inc(len(timers))
        acknowledged = self._clock.now()
        for timer in timers:
            TIMER_LATE_SECONDS.observe(max(0.0, (acknowledged - timer.due).total_seconds()))

    async def busy_with(self) -> str | None:
        """Say what is not done yet, for `/idle`."""
        if self._waiting or (self._writing is not None and not self._writing.done()):
            return "timers being written"
        try:
            overdue = await self._store.overdue(self._clock.now())
        except TransientError as error:
            return f"not known: {error}"
        return f"{overdue} timers due" if overdue else None


async def _report_unreadable(item: tuple[str, str]) -> None:
    """Have a document that is no timer counted, and logged once."""
    timer_id, why = item
    raise BrokenTimer(f"the document of timer {timer_id} cannot be read: {why}")


def _resolved(timers: Iterable[Timer], now: datetime) -> tuple[list[Timer], list[tuple[Timer, datetime]]]:
    """Split timers into those to fire and those whose local time, by today's zone data, is still to come."""
    due: list[Timer] = []
    later: list[tuple[Timer, datetime]] = []
    for timer in timers:
        try:
            at = timer.due_local.utc() if timer.due_local else timer.due
        except (LookupError, ValueError, OSError):  # the zone is gone: keep the instant that it gave at first
            at = timer.due
        if at > now:
            later.append((timer, at))
        else:
            due.append(timer)
    return due, later
