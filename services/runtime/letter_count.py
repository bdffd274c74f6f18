"""When so many events of a partition fail that the fault is ours and not theirs.

What counts are the dead letters that stand in `<topic>.dlq`, by the offsets of their events. So neither a kill nor a rebalance
nor a deploy begins a count anew.
"""

from collections.abc import Iterable
from typing import Final

from services.runtime.dead_letter_topics import PAUSED, RESUMED, Letter, note_in, text_headers
from services.runtime.dead_letters import GROUP_HEADER

DEAD_LETTER_WINDOW: Final = 200
DEAD_LETTER_SHARE: Final = 0.2
DEAD_LETTER_FREE: Final = 20
"""More dead letters than this many, and than this share of the last 200 events of a partition, is our fault: the partition
stands rather than empties into its dead letters."""

Where = tuple[str, int]
"""A source topic and one of its partitions."""


class LetterCount:
    """Counts a group's dead letters among the last events of each partition, from the dead-letter topics.

    Args:
        group: the consumer group.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self._letters: dict[Where, set[int]] = {}
        self._paused: dict[Where, int] = {}
        self._from: dict[Where, int] = {}

    def read(self, records: Iterable[Letter]) -> None:
        """Take in what stands in dead-letter topics; records of a partition in their order."""
        for record in records:
            note, headers = note_in(record), text_headers(record)
            if note is not None and note.kind == PAUSED and note.group == self._group:
                self._paused[note.topic, note.partition] = note.offset
            elif note is not None and note.kind == RESUMED:
                where = (note.topic, note.partition)
                if where in self._paused:
                    self._from[where] = self._paused.pop(where)
            elif headers.get(GROUP_HEADER) == self._group and headers.get("dlq_offset", "").isdecimal():
                self.add((headers["dlq_topic"], int(headers["dlq_partition"])), int(headers["dlq_offset"]))

    def add(self, where: Where, offset: int) -> None:
        """Count the dead letter of one event."""
        self._letters.setdefault(where, set()).add(offset)

    def full(self, where: Where, offset: int) -> str | None:
        """Return why a dead letter of this event would be one too many; None while it would not.

        What stood before the last resumption does not count.
        """
        first = max(self._from.get(where, 0), offset - DEAD_LETTER_WINDOW + 1)
        letters = self._letters.setdefault(where, set())
        bad, length = 1 + sum(first <= one < offset for one in letters), offset - first + 1
        if bad > DEAD_LETTER_FREE and bad > DEAD_LETTER_SHARE * length:
            return f"{bad} of the last {length} events of {where[0]}[{where[1]}] failed"
        letters.difference_update([one for one in letters if one < offset - 2 * DEAD_LETTER_WINDOW])
        return None
