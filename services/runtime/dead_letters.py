"""Dead letters: what cannot be handled, kept with its bytes and the reason; and when so many are our own fault.

Source: docs/design.md, topics and events.
"""

from collections.abc import Iterable
from datetime import datetime

from schemas.envelope import Wire
from schemas.topics import dead_letter_topic
from services.runtime.errors import TransientError

DEAD_LETTER_WINDOW = 200
DEAD_LETTER_SHARE = 0.2
DEAD_LETTER_FREE = 20
"""More dead letters than this many, and than this share of the last 200 events of a partition, is our fault and not
theirs: the loop stops rather than empties the topic."""


class TooManyDeadLetters(TransientError):
    """Too many events of one partition fail: a bad deploy, not bad events."""


def dead_letter(
    topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None,
    headers: Iterable[tuple[str, bytes]], error: Exception, attempts: int, first: datetime,
) -> Wire:  # fmt: skip
    """Return the dead letter of a record: its bytes as they came, and in headers where it stood and why it failed."""
    return Wire(
        dead_letter_topic(topic),
        key or b"",
        value or b"",
        [
            *headers,
            ("dlq_reason", f"{type(error).__name__}: {error}"[:1000].encode()),
            ("dlq_topic", topic.encode()),
            ("dlq_partition", str(partition).encode()),
            ("dlq_offset", str(offset).encode()),
            ("dlq_attempts", str(attempts).encode()),
            ("dlq_first_failed", first.isoformat().encode()),
        ],
    )
