"""The fence as a part of the service: health, readiness, idleness, metrics, and dead letters."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

from schemas.envelope import UndecodableEvent, Wire
from services.runtime.clock import monotonic_s
from services.runtime.dead_letter_topics import DeadLetterTopics
from services.runtime.dead_letters import GROUP_HEADER
from services.runtime.errors import PermanentError, TransientError
from services.runtime.handled import OUTCOMES, Handled, count
from services.runtime.health import Health
from services.runtime.metrics import DEAD_LETTERS, EVENT_SECONDS, EVENTS_CONSUMED
from services.runtime.rounds import Rounds
from services.sequencer.adapters.fence import (
    UNCHANGED,
    Fence,
    FenceSettings,
    Halt,
    Incoming,
    Outcome,
    Send,
    TableRow,
    dead_letter,
)
from services.sequencer.dead_letter_cap import DeadLetterCap, SendWire
from services.sequencer.metrics import RECOVERIES
from services.sequencer.shell import RecordHandler, repeat

log = structlog.get_logger(__name__)

LOOK_S = 0.1
ROWS_WAIT = "joining the group and reading the changelog"
ASK_S = 5.0
"""How often a recovery that is under way is asked whether it stands still."""
BEAT = "rows"
"""Stops where a recovery stands still though the broker answers, and for nothing else: liveness then ends the process."""
STANDS_AFTER_S = 5.0
"""A partition of the broker that has kept events waiting for so long takes nothing."""


class Worker:
    """Runs the fence, and says how it is.

    Args:
        settings: the fence's.
        handle: decides on one record.
        health: told of readiness and progress.
        make_fence: another fence; tests only.
        letters: another reader of dead-letter topics; tests only.
        send: another way to send a pause; tests only.

    Attributes:
        watch: a part of its own, to run beside this one.
        cap: another.
    """

    def __init__(
        self,
        *,
        settings: FenceSettings,
        handle: RecordHandler,
        health: Health,
        make_fence: Callable[..., Fence] = Fence,
        letters: DeadLetterTopics | None = None,
        send: SendWire | None = None,
    ) -> None:
        self._handle, self._health, self._group = handle, health, settings.app_id
        self._fence = make_fence(
            settings,
            self._decide,
            repeat=_repeat,
            on_error=self._refuse,
            on_event_done=_count,
            on_assigned=self._assigned,
        )
        self.cap = DeadLetterCap(
            group=settings.app_id,
            bootstrap_servers=settings.bootstrap_servers,
            topics=settings.topics,
            health=health,
            go_on=self._fence.go_on,
            letters=letters,
            send=send,
        )
        self.watch = Watch(self._fence, health)
        for topic in settings.topics:
            for outcome in OUTCOMES:
                EVENTS_CONSUMED.labels(topic, outcome).inc(0)

    async def start(self) -> None:
        """Check the topics."""
        self._health.unready("rows", ROWS_WAIT)
        await self._fence.start()
        self._health.idle_checks.append(self._busy_with)
        self._health.states["rows"] = self._fence.row_digests

    async def run(self) -> None:
        """Work until stopped."""
        await self._fence.run()

    async def stop(self) -> None:
        """Finish the events in hand, and leave."""
        await self._fence.stop()

    def _assigned(self, partitions: Collection[TP]) -> None:
        self.cap.assigned((tp.topic, tp.partition) for tp in partitions)

    def _decide(self, event: Incoming, row: TableRow | None) -> Outcome:
        self.cap.check((event.topic, event.partition))
        made = self._handle(event.key, event.value, event.headers, row)
        return Outcome(made.row if made.changed else UNCHANGED, _records(made.sends), made.handled)

    def _refuse(self, event: Incoming, error: Exception) -> Outcome:
        if isinstance(error, Halt):
            raise error
        self.cap.failed((event.topic, event.partition), event.offset, error)
        where = {"topic": event.topic, "partition": event.partition, "offset": event.offset}
        if isinstance(error, PermanentError | UndecodableEvent):
            log.error("dead_letter", why=str(error), **where)
        else:  # a defect of ours: the event is kept with its bytes and logged, and does not block the next
            log.error("defect", exc_info=error, **where)
        letter = dead_letter(event, error)
        ours = (GROUP_HEADER, self._group.encode())
        sends = [(topic, key, value, [*headers, ours]) for topic, key, value, headers in letter.sends]
        return replace(letter, sends=sends)

    async def _busy_with(self) -> str | None:
        if not self._fence.is_ready():
            return "rows being read"
        try:
            behind = await self._fence.pending()
        except (KafkaError, TransientError, OSError) as error:
            return f"not known: {error!r}"
        return ", ".join(f"{count} events in {where}" for where, count in behind.items()) or None


class Watch(Rounds):
    """Looks at the fence, and tells health and metrics what it sees."""

    name = "fence"
    period_s = LOOK_S

    def __init__(self, fence: Fence, health: Health) -> None:
        super().__init__(health)
        self._fence = fence
        self._asked_s = -ASK_S

    async def round(self) -> None:
        """Look once."""
        RECOVERIES.set(self._fence.recoveries)
        if standing := self._fence.standing(STANDS_AFTER_S):
            waits = ", ".join(f"{where} for {seconds:.0f} s" for where, seconds in standing.items())
            self._health.unready("partitions", f"no acknowledgement from {waits}")
        else:
            self._health.ready("partitions")
        if self._fence.is_ready():
            self._health.ready("rows")
            self._health.beat(BEAT)
            return
        silent = f"; no answer from {', '.join(self._fence.silent)}" if self._fence.silent else ""
        self._health.unready("rows", f"{ROWS_WAIT}{silent}")
        if monotonic_s() - self._asked_s >= ASK_S:
            self._asked_s = monotonic_s()
            if not await self._fence.recovery_stands():
                self._health.beat(BEAT)


def _repeat(key: bytes, row: TableRow) -> Sequence[Send]:
    return _records(repeat(key, row))


def _records(wires: Iterable[Wire]) -> list[Send]:
    return [(wire.topic, wire.key, wire.value, wire.headers) for wire in wires]


def _count(topic: str, handled: Handled, seconds: float) -> None:
    count(topic, handled)
    EVENT_SECONDS.labels(topic).observe(seconds)
    if handled.outcome == "dead_lettered":
        DEAD_LETTERS.labels(topic).inc()
