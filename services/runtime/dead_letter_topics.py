"""Reading `<topic>.dlq`: dead letters, and beside them what was done about them and which partitions stand.

A partition of which too much fails is paused: `dlq.paused` says so, with topic, partition and offset of the first event not
handled, and `dlq.resumed` ends it. Both stand in the topic's dead-letter topic, so that they outlive processes, rebalances and
deployments. `dlq.replayed` and `dlq.dropped` name a dead letter by its place in the dead-letter topic.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.envelope import Wire
from schemas.topics import dead_letter_topic
from services.runtime.errors import TransientError
from services.runtime.offsets import closed

LIMIT_S: Final = 10.0
"""How long reading may take; what cannot be read in it is not known."""
PAUSED, RESUMED, REPLAYED, DROPPED = "dlq.paused", "dlq.resumed", "dlq.replayed", "dlq.dropped"
KINDS: Final = frozenset({PAUSED, RESUMED, REPLAYED, DROPPED})

Letter: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a record in a dead-letter topic that is no dead letter says.

    Attributes:
        kind: one of `KINDS`.
        topic: the source topic; for what was done about a dead letter, the dead-letter topic.
        partition: of that topic.
        offset: in that partition.
        why: for people.
        group: the consumer group whose partition stands; several groups may read a topic. A resumption is for all.
    """

    kind: str
    topic: str
    partition: int
    offset: int
    why: str = ""
    group: str = ""

    def wire(self) -> Wire:
        """Return the record; all notes on one partition have one key, so that they stay in order."""
        topic = self.topic if self.topic.endswith(dead_letter_topic("")) else dead_letter_topic(self.topic)
        value = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "why": self.why,
            "group": self.group,
        }
        key = f"{self.topic}[{self.partition}]".encode()
        return Wire(topic=topic, key=key, value=json.dumps(value).encode(), headers=[("ce_type", self.kind.encode())])


def note_in(record: Letter) -> Note | None:
    """Return what a record notes; None for a dead letter, and for what is neither."""
    kind = text_headers(record).get("ce_type", "")
    if kind not in KINDS or "dlq_topic" in text_headers(record):
        return None
    try:
        found: dict[str, Any] = json.loads(record.value or b"")
        return Note(
            kind=kind,
            topic=str(found["topic"]),
            partition=int(found["partition"]),
            offset=int(found["offset"]),
            why=str(found.get("why", "")),
            group=str(found.get("group", "")),
        )
    except (ValueError, KeyError, TypeError):
        return None


def text_headers(record: Letter) -> dict[str, str]:
    """Return a record's headers as text."""
    return {name: value.decode(errors="replace") for name, value in record.headers or ()}


Standing: TypeAlias = tuple[str, str, int]
"""A group, a topic and one of its partitions."""


def paused_by(records: Iterable[Letter], before: Mapping[Standing, Note] | None = None) -> dict[Standing, Note]:
    """Return the partitions that stand, after records in the order of their partitions."""
    found = dict(before or {})
    for record in records:
        note = note_in(record)
        if note is not None and note.kind == PAUSED:
            found[note.group, note.topic, note.partition] = note
        elif note is not None and note.kind == RESUMED:
            found = {key: one for key, one in found.items() if key[1:] != (note.topic, note.partition)}
    return found


class DeadLetterTopics:
    """Reads dead-letter topics from where it stopped last time to their ends.

    Args:
        bootstrap_servers: the cluster.
        topics: the source topics.
        make_consumer: another client; tests only.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topics: Sequence[str],
        make_consumer: Callable[..., AIOKafkaConsumer] = AIOKafkaConsumer,
    ) -> None:
        self._bootstrap_servers, self._make = bootstrap_servers, make_consumer
        self._topics = [dead_letter_topic(topic) for topic in topics]
        self._at: dict[TopicPartition, int] = {}

    async def read(self) -> list[Letter]:
        """Return what has come since the last call; the first time, everything.

        Raises:
            TransientError: not all of it could be read in time; the next call returns all of it.
        """
        consumer = self._make(
            *self._topics,
            bootstrap_servers=self._bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                await consumer.start()
                return await self._read(consumer)
        except (KafkaError, OSError, TimeoutError) as error:
            why = f"dead-letter topics cannot be read from Kafka at {self._bootstrap_servers}: {type(error).__name__}"
            raise TransientError(why) from error
        finally:
            await closed(consumer.stop())

    async def _read(self, consumer: AIOKafkaConsumer) -> list[Letter]:
        partitions = list(consumer.assignment())  # all of the topics' partitions: there is no group to share them with
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        at = {one: min(max(begins[one], self._at.get(one, 0)), ends[one]) for one in partitions}
        behind = {one for one in partitions if at[one] < ends[one]}
        found: list[Letter] = []
        for one in partitions:
            consumer.seek(one, at[one])
        while behind:
            for one, records in (await consumer.getmany(timeout_ms=200)).items():
                found.extend(records)
                at[one] = records[-1].offset + 1
            behind = {one for one in behind if at[one] < ends[one]}
        self._at = {**self._at, **at}
        return found
