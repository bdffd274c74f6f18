"""Partitions that stand because too many of their events fail: known at every assignment, kept in `<topic>.dlq`."""

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog

from services.runtime.dead_letter_topics import PAUSED, DeadLetterTopics, Note, Standing, paused_by
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.letter_count import LetterCount, Where

log = structlog.get_logger(__name__)

LOOK_S: Final = 5.0
"""How often an instance with a paused partition looks whether it was resumed."""
RETRY_S: Final = 1.0


class Pauses:
    """Knows which of this instance's partitions stand, and since which offset.

    Until the dead-letter topics are read after an assignment, nothing is known of its partitions: their events are handled,
    and only one that would become a dead letter waits for it.

    Args:
        group: the consumer group, for readiness.
        topics: reads the dead-letter topics.
        health: told which partitions stand, and how to go on.

    Attributes:
        count: of the group's dead letters; all of them are in it once a partition is known.
    """

    def __init__(self, group: str, topics: DeadLetterTopics, health: Health) -> None:
        self._part, self._topics, self._health = f"dead letters {group}", topics, health
        self._group, self.count = group, LetterCount(group)
        self._all: dict[Standing, Note] = {}
        self._mine: set[Where] = set()
        self._unknown: set[Where] = set()
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def assigned(self, partitions: Iterable[Where]) -> None:
        """Read the dead-letter topics for partitions that are ours now."""
        new = set(partitions)
        self._mine |= new
        self._unknown |= new
        self._look()

    def revoked(self, partitions: Iterable[Where]) -> None:
        """Forget partitions; whatever waits for one is told."""
        gone = set(partitions)
        self._mine -= gone
        self._unknown -= gone
        self._tell()

    def of(self, where: Where) -> Note | None:
        """Return why a partition stands; None while it does not, or that is not known yet."""
        return self._all.get((self._group, *where))

    def note(self, where: Where, offset: int, why: str) -> Note:
        """Return the note that a partition of ours stands from an offset on."""
        topic, partition = where
        return Note(kind=PAUSED, topic=topic, partition=partition, offset=offset, why=why, group=self._group)

    def stands(self, note: Note) -> None:
        """Note that a partition stands; its record is written already."""
        self._all[note.group, note.topic, note.partition] = note
        self._tell()
        self._look()

    def is_known(self, where: Where) -> bool:
        """Return whether it is known of a partition of ours whether it stands."""
        return where in self._mine and where not in self._unknown

    async def known(self, where: Where) -> None:
        """Return once it is known whether a partition stands, or it is not ours any more."""
        while where in self._unknown:
            await self._changed.wait()

    async def resumed(self, where: Where) -> None:
        """Return once a partition does not stand any more, or is not ours any more."""
        while where in self._mine and self.of(where) is not None:
            await self._changed.wait()

    def mine(self, where: Where) -> bool:
        """Return whether a partition is ours."""
        return where in self._mine

    async def stop(self) -> None:
        """Look no more, and let go of whatever waits."""
        self.revoked(list(self._mine))
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_while_needed())

    async def _look_while_needed(self) -> None:
        """Read once for what is not known, and again and again while one of ours stands."""
        first = bool(self._unknown)
        while self._unknown or self._standing():
            if not first and not self._unknown:
                await asyncio.sleep(LOOK_S)
            first = False
            asked = set(self._unknown)
            try:
                letters = await self._topics.read()
            except TransientError as error:
                log.warning("pauses_not_read", why=str(error))
                if not self._standing():
                    self._health.unready(self._part, str(error))
                await asyncio.sleep(RETRY_S)
                continue
            self._all = paused_by(letters, self._all)
            self.count.read(letters)
            self._unknown -= asked
            self._tell()

    def _standing(self) -> list[Note]:
        return [note for where in sorted(self._mine) if (note := self.of(where)) is not None]

    def _tell(self) -> None:
        if standing := self._standing():
            first = standing[0]
            self._health.unready(
                self._part,
                f"{', '.join(f'{one.topic}[{one.partition}]' for one in standing)} stands: {first.why}; then "
                f"`ringback dlq resume {first.topic} {first.partition}`",
            )
        else:
            self._health.ready(self._part)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
