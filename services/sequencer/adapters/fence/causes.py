"""Which rows may hold effects that were never sent.

A row is written before what it causes is sent. A worker that dies in between leaves a row whose effects nobody has, and the
event that caused them comes again; but another event of the same key may be read first, and its row would replace the
effects. So beside its effects a row keeps where its event stood, and in which life of which worker it was written. After an
assignment the effects of a key's row are sent again before the key's first row is written, where the event that caused
them had not been committed by then. It is the one place where offsets are compared: without it, every start would repeat
effects that are weeks old.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final

from faust.types import TP

from .table import TableRow

CAUSE: Final = "@"
"""The field of a row that is the fence's own: topic, partition and offset of its event, and the life that wrote it."""


class Causes:
    """Knows this assignment's life and where each partition was committed when it began."""

    def __init__(self) -> None:
        self._life = ""
        self._committed: Mapping[TP, int | None] = {}
        self._sent_again: set[bytes | None] = set()

    def assigned(self, committed: Mapping[TP, int | None]) -> None:
        """Note an assignment: offsets of the next events of all its partitions; None: of none yet."""
        self._life = secrets.token_hex(4)
        self._committed = dict(committed)
        self._sent_again.clear()

    def mark(self, row: TableRow, message: Any) -> TableRow:
        """Return a row with effects together with where its event stands."""
        return {**row, CAUSE: [message.topic, message.partition, message.offset, self._life]}

    def are_doubtful(self, row: TableRow | None, message: Any) -> bool:
        """Say whether the effects of a row must be sent before the row that `message` leads to; True once a key and life."""
        found = None if row is None else row.get(CAUSE)
        if found is None:
            return False  # no effects, or a row from before there were causes
        topic, partition, offset, life = found
        if life == self._life or message.key in self._sent_again:
            return False
        committed = self._committed.get(TP(topic, partition))
        if committed is not None and offset < committed:
            return False
        self._sent_again.add(message.key)
        # The event itself come again: its handler sends the effects, and nothing has replaced them.
        return (message.topic, message.partition, message.offset) != (topic, partition, offset)

    def not_sent(self, key: bytes | None) -> None:
        """Note that what `are_doubtful` was asked for was not taken after all, and comes again."""
        self._sent_again.discard(key)
