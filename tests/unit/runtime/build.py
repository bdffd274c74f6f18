"""A Kafka client in memory for the consumer loop, and a handler that does as its test says."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from schemas.base import EventData
from schemas.envelope import Event, Wire, encode
from schemas.inbound import ReplyReceived
from services.runtime.clock import real_now
from services.runtime.consumer import ConsumerLoop
from services.runtime.dead_letter_topics import DeadLetterTopics, Letter
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, Handled
from services.runtime.health import Health
from services.runtime.offsets import LIMIT_S, Ends
from services.runtime.producer import FakeProducer

TOPIC = "replies"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a broker keeps it."""

    offset: int
    key: bytes | None = b"demo:+12125550100"
    value: bytes | None = b"not JSON"
    headers: Sequence[tuple[str, bytes]] = ()
    topic: str = TOPIC
    partition: int = 0


def reply(number: int) -> Event[EventData]:
    """Return one text of a borrower; `number` tells it from the others."""
    now = real_now()
    data = ReplyReceived(message_id=f"SM{number}", caller="+12125550100", to="+12125550199", body="hi", received_at=now)
    return Event(
        id=f"twilio:SM{number}",
        data=data,
        source="ringback/test",
        time=now,
        key=b"demo:+12125550100",
        lender_id="demo",
        received_at=now,
    )


def record(offset: int, partition: int = 0) -> Record:
    """Return a record that can be decoded."""
    wire = encode(reply(offset))
    return Record(offset, wire.key, wire.value, list(wire.headers), partition=partition)


class Script:
    """A handler: what `answers` says for a message id, else applied; remembers what it saw."""

    def __init__(self, answers: Mapping[str, Callable[[], Handled]] | None = None) -> None:
        self.answers = dict(answers or {})
        self.seen: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, event: Event[EventData]) -> Handled:
        """Handle one event once the gate is open."""
        name = event.id.removeprefix("twilio:SM")
        self.seen.append(name)
        await self.gate.wait()
        answer = self.answers.get(name)
        return answer() if answer else APPLIED


def fails(error: Exception, times: int | None = None) -> Callable[[], Handled]:
    """Return an answer that raises, always or that many times."""
    left = [times]

    def answer() -> Handled:
        if left[0] is None:
            raise error
        if left[0] > 0:
            left[0] -= 1
            raise error
        return APPLIED

    return answer


@dataclass
class PickyProducer(FakeProducer):
    """Raises what `refuse` returns for a record."""

    refuse: Callable[[Wire], Exception | None] = field(default=lambda wire: None)

    async def send_wire(self, *records: Wire) -> None:
        """Keep records, or fail."""
        for wire in records:
            if (error := self.refuse(wire)) is not None:
                raise error
        await super().send_wire(*records)


class FakeKafka:
    """What the loop asks of `AIOKafkaConsumer` and of `Ends`: some partitions of one topic, with records in them."""

    def __init__(self, partitions: int = 1) -> None:
        self.mine = {TopicPartition(TOPIC, n) for n in range(partitions)}
        self.waiting: dict[TopicPartition, list[Record]] = {}
        self.ends: dict[TopicPartition, int] = dict.fromkeys(self.mine, 0)
        self.kept: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.leaderless: set[TopicPartition] = set()
        self.poll_errors: list[Exception] = []
        self.commit_errors: list[Exception] = []
        self.commit_takes_s = 0.0
        self.commits_begun = 0
        self.stopped = False
        self.listener: ConsumerRebalanceListener | None = None
        self.settings: Mapping[str, Any] = {}

    def put(self, *records: Record) -> None:
        """Append records."""
        for one in records:
            partition = TopicPartition(one.topic, one.partition)
            self.waiting.setdefault(partition, []).append(one)
            self.ends[partition] = max(self.ends.get(partition, 0), one.offset + 1)

    # the consumer

    def __call__(self, **settings: Any) -> "FakeKafka":
        """Be made."""
        self.settings = settings
        return self

    def subscribe(self, _topics: Sequence[str], listener: ConsumerRebalanceListener) -> None:
        """Remember whom to tell of rebalances."""
        self.listener = listener

    async def start(self) -> None:
        """Join."""

    async def stop(self) -> None:
        """Leave."""
        self.stopped = True

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Record]]:
        """Return what waits in partitions that are not paused."""
        await asyncio.sleep(0.001)
        if self.poll_errors:
            raise self.poll_errors.pop(0)
        return {p: self.waiting.pop(p) for p in list(self.waiting) if p not in self.paused and p in self.mine}

    def assignment(self) -> set[TopicPartition]:
        """Return our partitions."""
        return set(self.mine)

    def highwater(self, partition: TopicPartition) -> int:
        """Return where a partition ends."""
        return self.ends[partition]

    async def committed(self, partition: TopicPartition) -> int | None:
        """Return what was committed."""
        return self.kept.get(partition)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Keep offsets."""
        self.commits_begun += 1
        await asyncio.sleep(self.commit_takes_s)
        if self.commit_errors:
            raise self.commit_errors.pop(0)
        self.kept.update(offsets)

    def pause(self, partition: TopicPartition) -> None:
        """Leave a partition out."""
        self.paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        """Read it again."""
        self.paused.discard(partition)


class FakeEnds(Ends):
    """Where the fake's partitions end and begin."""

    def __init__(self, kafka: FakeKafka) -> None:
        super().__init__("nowhere:1")
        self._kafka = kafka

    async def of(
        self, partitions: Collection[TopicPartition], limit_s: float = LIMIT_S
    ) -> Mapping[TopicPartition, int | None]:
        """Return the ends; None for partitions without a leader."""
        return {one: None if one in self._kafka.leaderless else self._kafka.ends[one] for one in partitions}

    async def begins(
        self, partitions: Collection[TopicPartition], limit_s: float = LIMIT_S
    ) -> Mapping[TopicPartition, int | None]:
        """Return zeros."""
        return dict.fromkeys(partitions, 0)


def stored(wires: Sequence[Wire]) -> list[Letter]:
    """Return records as a dead-letter topic of one partition keeps them."""
    return [
        ConsumerRecord(
            topic=wire.topic,
            partition=0,
            offset=at,
            timestamp=0,
            timestamp_type=0,
            key=wire.key,
            value=wire.value,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            headers=list(wire.headers),
        )
        for at, wire in enumerate(wires)
    ]


class FakeLetters(DeadLetterTopics):
    """Dead-letter topics that hold what a fake producer was given; another life has another reader of the same."""

    def __init__(self, producer: PickyProducer) -> None:
        super().__init__("nowhere:1", [TOPIC])
        self.producer = producer
        self.away = False
        self.reads = 0
        self._seen = 0

    async def read(self) -> list[Letter]:
        """Return what has come since the last call."""
        if self.away:
            raise TransientError("dead-letter topics cannot be read")
        self.reads += 1
        new, self._seen = self.producer.records[self._seen :], len(self.producer.records)
        return stored(new)


@dataclass
class Rig:
    """A consumer loop over the fake, running while its test does."""

    kafka: FakeKafka
    handler: Script
    producer: FakeProducer
    health: Health
    loop: ConsumerLoop
    task: "asyncio.Task[None] | None" = None

    @classmethod
    def of(
        cls,
        partitions: int = 1,
        handler: Script | None = None,
        group: str = "it",
        health: Health | None = None,
        letters: "FakeLetters | None" = None,
    ) -> "Rig":
        """Return a loop that is not started."""
        kafka, script = FakeKafka(partitions), handler or Script()
        producer = letters.producer if letters else PickyProducer()
        health = health or Health(not_ready={})
        loop = ConsumerLoop(
            topics=[TOPIC],
            group=group,
            bootstrap_servers="nowhere:1",
            handler=script,
            producer=producer,
            health=health,
            make_consumer=kafka,
            make_ends=lambda _servers: FakeEnds(kafka),
            make_dead_letters=lambda _servers, _topics: letters or FakeLetters(producer),
        )
        return cls(kafka, script, producer, health, loop)

    async def __aenter__(self) -> "Rig":
        await self.loop.start()
        await self.loop.on_partitions_assigned(self.kafka.mine)
        self.task = asyncio.create_task(self.loop.run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.handler.gate.set()
        await self.loop.stop()
        if self.task is not None:
            async with asyncio.timeout(5):
                await asyncio.gather(self.task, return_exceptions=True)

    async def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Take partitions away, as the group's coordinator does."""
        gone = set(partitions)
        await self.loop.on_partitions_revoked(gone)
        self.kafka.mine -= gone
