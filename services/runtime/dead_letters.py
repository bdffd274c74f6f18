"""Dead letters: what cannot be handled, kept with its bytes and the reason.

The only place that writes their headers, for the consumer loop and for the sequencer.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Protocol

from schemas.envelope import Wire
from schemas.topics import dead_letter_topic

GROUP_HEADER: Final = "dlq_group"
"""Whose dead letter it is: several groups read a topic, and each counts its own."""

REQUEST_LIMIT_BYTES: Final = 1 << 20
"""The largest record that a producer of ours may send; Kafka's own limit is the same but for the record's frame."""

FRAME_BYTES: Final = 4096
"""More than what a record's lengths and a batch's header take."""

REASON_LIMIT: Final = 1000
"""Most characters of a reason: a header is no place for a document."""


class Record(Protocol):
    """A record as a broker keeps it: aiokafka's, and the fence's."""

    @property
    def topic(self) -> str:
        """Where it stands."""

    @property
    def partition(self) -> int:
        """Where it stands in the topic."""

    @property
    def offset(self) -> int:
        """Where it stands in the partition."""

    @property
    def key(self) -> bytes | None:
        """Its key's bytes."""

    @property
    def value(self) -> bytes | None:
        """Its value's bytes."""

    @property
    def headers(self) -> Iterable[tuple[str, bytes]]:
        """Its headers."""


def dead_letter(
    record: Record,
    error: Exception,
    *,
    attempts: int,
    first_failed: datetime,
    group: str = "",
    with_value: bool = True,
) -> Wire:
    """Return the dead letter of a record: its bytes as they came, and in headers where it stood and why it failed.

    Args:
        record: what could not be handled.
        error: why.
        attempts: how often it was tried.
        first_failed: when it was first tried, real time.
        group: the consumer group that could not handle it.
        with_value: False where the value makes the dead letter too large to be written. A header then says how many
            bytes were left out; they still stand where the other headers point, for as long as the topic keeps them.
    """
    value = record.value or b""
    headers = [
        *(record.headers or ()),
        ("dlq_reason", f"{type(error).__name__}: {error}"[:REASON_LIMIT].encode(errors="replace")),
        ("dlq_topic", record.topic.encode()),
        ("dlq_partition", str(record.partition).encode()),
        ("dlq_offset", str(record.offset).encode()),
        ("dlq_attempts", str(attempts).encode()),
        ("dlq_first_failed", first_failed.isoformat().encode()),
    ]
    if group:
        headers.append((GROUP_HEADER, group.encode()))
    if not with_value:
        headers.append(("dlq_value_left_out", str(len(value)).encode()))
    return Wire(
        topic=dead_letter_topic(record.topic),
        key=record.key or b"",
        value=value if with_value else b"",
        headers=headers,
    )


def is_too_large(wire: Wire) -> bool:
    """Return whether a producer of ours would refuse a record for its size."""
    headers = sum(len(name) + len(value) for name, value in wire.headers)
    return len(wire.key) + len(wire.value) + headers > REQUEST_LIMIT_BYTES - FRAME_BYTES
