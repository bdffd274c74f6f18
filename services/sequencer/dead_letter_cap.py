"""When so many events fail that the fault is ours: nothing more is handled until somebody says that it may go on.

What counts stands in the dead-letter topics: the dead letters themselves, by the offsets of their events, and the pause. So
neither a kill nor a rebalance nor a deploy begins a count anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import structlog

from schemas.envelope import Wire
from services.runtime.dead_letter_topics import DeadLetterTopics, Note
from services.runtime.dead_letters import REASON_LIMIT
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.letter_count import Where
from services.runtime.pauses import Pauses
from services.runtime.producer import KafkaProducer
from services.runtime.service import Resource
from services.sequencer.adapters.fence import Halt

log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0

SendWire = Callable[[Wire], Awaitable[None]]


class DeadLetterCap(Resource):
    """Halts the fence at the cap, writes the pause, and lets the fence go on once it is resumed.

    A part of the service. While the dead-letter topics are not read after an assignment, events are handled; one that
    would become a dead letter halts the fence until they are.

    Args:
        group: the consumer group.
        bootstrap_servers: the cluster.
        topics: the source topics.
        health: told which partition stands, and how to go on.
        go_on: called when events may be taken again.
        letters: another reader of the dead-letter topics; tests only.
        send: another way to send the pause; tests only.
    """

    def __init__(
        self,
        *,
        group: str,
        bootstrap_servers: str,
        topics: Sequence[str],
        health: Health,
        go_on: Callable[[], None],
        letters: DeadLetterTopics | None = None,
        send: SendWire | None = None,
    ) -> None:
        self._group, self._bootstrap_servers = group, bootstrap_servers
        self._health, self._part, self._go_on = health, f"dead letters {group}: pausing", go_on
        self._send = send or self._send_alone
        self._pauses = Pauses(group, letters or DeadLetterTopics(bootstrap_servers, topics), health)
        self._mine: set[Where] = set()
        self._halts: asyncio.Queue[tuple[Where, Note | None]] = asyncio.Queue()
        self._stopping = False

    def assigned(self, partitions: Iterable[Where]) -> None:
        """Read the dead-letter topics for what is ours from now on."""
        now = set(partitions)
        self._pauses.revoked(self._mine - now)
        self._pauses.assigned(now)
        self._mine = now

    def check(self, where: Where) -> None:
        """Return only if a partition does not stand.

        Raises:
            Halt: it stands.
        """
        if (note := self._pauses.of(where)) is not None:
            self._halts.put_nowait((where, None))
            raise Halt(note.why)

    def failed(self, where: Where, offset: int, error: Exception) -> None:
        """Count an event that becomes a dead letter.

        Raises:
            Halt: it must not become one, now or at all.
        """
        self.check(where)
        if self._stopping or not self._pauses.is_known(where):
            self._halts.put_nowait((where, None))
            raise Halt(f"not known yet whether {where[0]}[{where[1]}] stands")
        if (why := self._pauses.count.full(where, offset)) is not None:
            why = f"{why}, the last with {error!r}"[:REASON_LIMIT]
            self._halts.put_nowait((where, self._pauses.note(where, offset, why)))
            raise Halt(why)
        self._pauses.count.add(where, offset)

    async def run(self) -> None:
        """For each halt: write its pause, wait until it is resumed, and let the fence go on."""
        while True:
            where, note = await self._halts.get()
            if note is not None:
                await self._pause(note)
            await self._pauses.known(where)
            await self._pauses.resumed(where)
            if self._halts.empty() and not self._stopping:
                self._go_on()

    async def stop(self) -> None:
        """Wait for nothing any more; the fence stays as it is."""
        self._stopping = True
        await self._pauses.stop()

    async def _pause(self, note: Note) -> None:
        """Write a pause, however long Kafka is away; killed before that, the next life comes to the same count."""
        while True:
            try:
                await self._send(note.wire())
                break
            except TransientError as error:
                self._health.unready(self._part, f"{note.why}; the pause is not written yet: {error}")
                await asyncio.sleep(RETRY_S)
        log.error("partition_paused", topic=note.topic, partition=note.partition, why=note.why)
        self._pauses.stands(note)
        self._health.ready(self._part)

    async def _send_alone(self, wire: Wire) -> None:
        # A connection for this alone: the fence's own sends nothing that no event has caused.
        producer = KafkaProducer(bootstrap_servers=self._bootstrap_servers, client_id=f"{self._group}-pause")
        try:
            await producer.start()
            await producer.send_wire(wire)
        finally:
            await producer.stop()
