"""Taking one record of Kafka to its end: applied, ignored or dead-lettered; while a dependency is away, tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from schemas.base import EventData
from schemas.envelope import Event, UndecodableEvent, UnknownEventType, decode
from services.runtime.clock import monotonic_s, real_now
from services.runtime.dead_letters import REASON_LIMIT, Record, dead_letter
from services.runtime.errors import PermanentError, ProcessMustEnd, TransientError
from services.runtime.handled import DEAD_LETTERED, UNKNOWN_TYPE, Handled, count
from services.runtime.health import Health
from services.runtime.metrics import DEAD_LETTERS, EVENT_SECONDS
from services.runtime.pauses import Pauses
from services.runtime.producer import Producer

log = structlog.get_logger(__name__)

BACKOFF_S: Final = (0.1, 5.0)
"""First and longest pause between tries at an event whose dependency is away; the wait is our back-pressure."""

Handler = Callable[[Event[EventData]], Awaitable[Handled]]
"""Handles one event. May raise PermanentError (a dead letter) or TransientError (tried again, in place)."""

BeforeDeadLetter = Callable[[Record, Exception], Awaitable[None]]
"""Done before a record becomes a dead letter. Whatever it raises, the dead letter waits and it is tried again."""


class EventRunner:
    """Runs a group's handler over one record at a time per partition, several partitions side by side.

    Readiness names the group, because a service may run several: a group that works must not hide one that waits.

    Args:
        group: the consumer group.
        handler: handles one event.
        producer: sends dead letters.
        health: told which group waits, and for what.
        before_dead_letter: see `BeforeDeadLetter`.
        pauses: which partitions stand.
    """

    def __init__(
        self,
        *,
        group: str,
        handler: Handler,
        producer: Producer,
        health: Health,
        pauses: Pauses,
        before_dead_letter: BeforeDeadLetter | None = None,
    ) -> None:
        self._group, self._pauses = group, pauses
        self._before = before_dead_letter
        self._handler, self._producer, self._health = handler, producer, health
        self._dependency = f"dependency {group}"
        self._waiting: dict[tuple[str, int], str] = {}
        self._stopping = False

    def stop(self) -> None:
        """Try nothing again from here on: an event that waits is left to whoever reads next."""
        self._stopping = True

    async def finish(self, record: Record) -> Handled:
        """Return once an event is finished, so that its offset may be committed.

        Raises:
            TransientError: we are stopping, and it is not finished.
            ProcessMustEnd: only another process can finish it.
        """
        began_s, first, tries = monotonic_s(), real_now(), 0
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        try:
            while True:
                tries += 1
                await self._stand(record)
                try:
                    handled = await self._handler(decode(record.key, record.value, record.headers))
                    break
                except UnknownEventType as error:
                    log.info("unknown_event_type", why=str(error), **where)
                    handled = UNKNOWN_TYPE
                    break
                except ProcessMustEnd:
                    raise
                except TransientError as error:
                    await self._wait(record, error, tries)
                except Exception as error:
                    if await self._stops_at(record, error):
                        tries = 0
                        continue  # whatever was wrong has been put right meanwhile
                    if not isinstance(error, PermanentError | UndecodableEvent):
                        # A defect of ours: kept with its bytes, seen, and never in the way of the next.
                        log.exception("defect", **where)
                    await self._bury(record, error, tries, first)
                    log.error("dead_letter", why=str(error), **where)
                    handled = DEAD_LETTERED
                    break
        finally:
            self._goes_on(record)
        count(record.topic, handled)
        EVENT_SECONDS.labels(record.topic).observe(monotonic_s() - began_s)
        return handled

    async def _bury(self, record: Record, error: Exception, tries: int, first: datetime) -> None:
        """Put a record into its dead-letter topic, however long Kafka is away."""
        if self._before is not None:
            await self._prepare(self._before, record, error)
        make = partial(dead_letter, record, error, attempts=tries, first_failed=first, group=self._group)
        wire, attempt = make(), 0
        while True:
            attempt += 1
            try:
                await self._producer.send_wire(wire)
                break
            except ProcessMustEnd:
                raise
            except TransientError as away:
                await self._wait(record, away, attempt)
            except PermanentError as refused:
                # With its headers the dead letter is larger than the record was, and may be too large.
                small = make(with_value=False)
                if wire == small:
                    raise ProcessMustEnd(f"a dead letter of {record.topic} cannot be written: {refused}") from refused
                wire = small
        self._pauses.count.add((record.topic, record.partition), record.offset)
        DEAD_LETTERS.labels(record.topic).inc()

    async def _stand(self, record: Record) -> None:
        """Wait while the record's partition stands.

        Raises:
            TransientError: the partition is not ours any more, or we are stopping.
        """
        where = (record.topic, record.partition)
        if self._pauses.of(where) is None:
            return
        await self._pauses.resumed(where)
        if self._stopping or not self._pauses.mine(where):
            raise TransientError(f"{record.topic}[{record.partition}] stands, and is not ours any more")

    async def _stops_at(self, record: Record, error: Exception) -> bool:
        """Pause a partition of which too much fails already, before another dead letter; return whether it stood.

        The record of it is written first: whoever gets the partition next, after a kill too, reads it there.
        """
        where = (record.topic, record.partition)
        await self._pauses.known(where)
        if not self._pauses.mine(where):
            raise TransientError(f"{record.topic}[{record.partition}] is not ours any more")
        if self._pauses.of(where) is None:
            if (why := self._pauses.count.full(where, record.offset)) is None:
                return False
            note, attempt = self._pauses.note(where, record.offset, f"{why}, the last with {error!r}"[:REASON_LIMIT]), 0
            while True:
                attempt += 1
                try:
                    await self._producer.send_wire(note.wire())
                    break
                except ProcessMustEnd:
                    raise
                except TransientError as away:
                    await self._wait(record, away, attempt)
            log.error("partition_paused", topic=record.topic, partition=record.partition, why=note.why)
            self._pauses.stands(note)
        return True

    async def _prepare(self, before: BeforeDeadLetter, record: Record, error: Exception) -> None:
        """Do what must stand before the dead letter does, however often it takes."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await before(record, error)
                return
            except ProcessMustEnd:
                raise
            except TransientError as away:
                await self._wait(record, away, attempt)
            except Exception as defect:
                log.exception("before_dead_letter_failed", topic=record.topic, partition=record.partition)
                await self._wait(record, TransientError(f"before a dead letter: {defect!r}"), attempt)

    async def _wait(self, record: Record, error: TransientError, tries: int) -> None:
        """Say what a partition waits for, and wait; raises the error when we are stopping, or the partition goes."""
        self._waiting[record.topic, record.partition] = str(error)
        self._say_what_waits()
        is_going = not self._pauses.mine((record.topic, record.partition))
        if self._stopping or is_going:
            raise error  # not finished, not committed: whoever reads next repeats it
        log.warning("waiting", topic=record.topic, partition=record.partition, why=str(error), tries=tries)
        await asyncio.sleep(min(BACKOFF_S[1], BACKOFF_S[0] * 2 ** min(tries, 8)) * random.uniform(0.5, 1.0))

    def _goes_on(self, record: Record) -> None:
        """Say that a partition waits no more; the group is ready once none does."""
        if self._waiting.pop((record.topic, record.partition), None) is None:
            return
        self._say_what_waits()

    def _say_what_waits(self) -> None:
        """Name the partitions that wait, the one that has waited longest first, and what for."""
        if self._waiting:
            names = ", ".join(f"{topic}[{partition}]" for topic, partition in self._waiting)
            self._health.unready(self._dependency, f"{next(iter(self._waiting.values()))} ({names} waiting)")
        else:
            self._health.ready(self._dependency)
