"""The producer: a send returns once every in-sync replica has acknowledged it; and its fake."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka

from schemas.base import EventData
from schemas.envelope import Event, Wire, decode, encode
from services.runtime.client_slot import ClientSlot, forget
from services.runtime.clock import monotonic_s
from services.runtime.dead_letters import REQUEST_LIMIT_BYTES
from services.runtime.errors import TransientError
from services.runtime.idempotent_client import check_pins, has_ended
from services.runtime.producer_errors import RecordRefused, kind_of

SEND_TIMEOUT_S: Final = 5.0
"""How long a send may wait. Whoever sends waits in place and says why; a partition without a leader is away for longer."""
BACKOFF_S: Final = (0.1, 5.0)
"""First and longest pause before a topic that is refused through a client of its own gets another."""


class Producer(Protocol):
    """What emits events."""

    async def send(self, *events: Event[EventData]) -> None:
        """Send in order; return once the broker has acknowledged every one.

        Raises:
            TransientError: at least one is not acknowledged in time; any of them may have arrived, or may yet.
            RecordRefused: at least one never can be.
        """

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records, with the same promise."""


@dataclass(kw_only=True)
class Apart:
    """A topic that has cost everybody a client: it has a client of its own from then on.

    Attributes:
        slot: its client.
        refused: how often in a row that client was replaced.
        not_before_s: monotonic; until then no other is opened.
        why: the last refusal.
    """

    slot: ClientSlot
    refused: int = 0
    not_before_s: float = 0.0
    why: str = ""


class KafkaProducer:
    """The real one: idempotent, acknowledged by all in-sync replicas.

    A client whose record is refused has counted it, and the broker has not: it refuses all that follow in that partition.
    So a client is replaced after any error that it does not retry itself. What waits in the old one fails as
    TransientError; what was on its way may still arrive. A topic that was refused once is sent through a client of its own
    from then on, so that one that is always refused costs no other topic its client; while it is, it is tried less and less
    often.

    Args:
        bootstrap_servers: the cluster.
        client_id: our name in the broker's logs and quotas.
        request_timeout_s: how long one request may take.
        send_timeout_s: how long a send may wait for its acknowledgements. The client's own patience has no end: a record
            whose partition has no leader waits for one.
        make_producer: another client; tests only.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        client_id: str,
        request_timeout_s: float = 10.0,
        send_timeout_s: float = SEND_TIMEOUT_S,
        make_producer: Callable[..., AIOKafkaProducer] = AIOKafkaProducer,
    ) -> None:
        self._send_timeout_s = send_timeout_s
        self._make = partial(
            make_producer,
            bootstrap_servers=bootstrap_servers,
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            request_timeout_ms=int(request_timeout_s * 1000),
            max_request_size=REQUEST_LIMIT_BYTES,
        )
        self._shared = ClientSlot(self._make)
        self._apart: dict[str, Apart] = {}

    async def start(self) -> None:
        """Connect.

        Raises:
            UntestedClient: the installed client is not the one that was tested.
            TransientError: Kafka does not answer.
        """
        check_pins()
        await self._shared.current()

    async def stop(self) -> None:
        """Send what is under way, for a few seconds at most, and disconnect."""
        await asyncio.gather(self._shared.stop(), *(apart.slot.stop() for apart in self._apart.values()))

    async def check(self) -> None:
        """Ask the cluster whether it is there.

        Raises:
            TransientError: it does not answer.
        """
        try:
            async with asyncio.timeout(self._send_timeout_s):
                client = await self._shared.current()
                await client.client.fetch_all_metadata()
        except (kafka.KafkaError, TimeoutError) as error:
            raise TransientError(f"Kafka does not answer: {error!r}") from error
        if has_ended(client):
            self._shared.replace(client, "its sender has ended")
            raise TransientError("the producer is being replaced: its sender has ended")

    async def send(self, *events: Event[EventData]) -> None:
        """Send in order; return once the broker has acknowledged every one."""
        await self.send_wire(*(encode(event) for event in events))

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records in order; return once all are acknowledged."""
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await self._send_all(records)
        except TimeoutError as error:
            topics = ", ".join(sorted({record.topic for record in records}))
            raise TransientError(f"Kafka did not acknowledge within {self._send_timeout_s:g} s: {topics}") from error

    async def _send_all(self, records: Sequence[Wire]) -> None:
        apart = self._apart_of(records)
        slot = apart.slot if apart else self._shared
        client = await slot.current()
        acks: list[asyncio.Future[object]] = []
        try:
            for record in records:
                acks.append(await _give(client, record))
        except kafka.KafkaError as error:
            # Refused by the client itself, before it was counted: the client goes on.
            _forget_all(acks)
            if has_ended(client):
                slot.replace(client, repr(error))
                raise TransientError(f"Kafka did not acknowledge: {error!r}") from error
            raise kind_of(type(error))(f"Kafka did not acknowledge: {error!r}") from error
        try:
            await asyncio.gather(*acks)
        except kafka.KafkaError as error:
            _forget_all(acks)
            refused = _refused(records, acks)  # before the client is replaced, which fails the others too
            if (has_ended(client) or not error.retriable) and slot.replace(client, repr(error)):
                self._note_refused(apart, refused)
            if kind_of(type(error)) is not RecordRefused:
                raise TransientError(f"Kafka did not acknowledge: {error!r}") from error
            await self._send_alone([record for record, ack in zip(records, acks, strict=True) if not _is_safe(ack)])
        if apart is not None:
            apart.refused = 0

    def _apart_of(self, records: Sequence[Wire]) -> Apart | None:
        """Return the client that records of these topics are sent through, where it is not everybody's.

        Raises:
            TransientError: it was refused again and again, and is not tried yet.
        """
        for topic in dict.fromkeys(record.topic for record in records) if self._apart else ():
            if (apart := self._apart.get(topic)) is None:
                continue
            if monotonic_s() < apart.not_before_s:
                raise TransientError(f"Kafka refuses {topic}, which is tried again soon: {apart.why}")
            return apart
        return None

    def _note_refused(self, apart: Apart | None, refused: Mapping[str, BaseException]) -> None:
        """Have topics that have just cost a client be sent through one of their own, and seldom if that fails too."""
        for topic, error in refused.items():
            if topic not in self._apart:
                self._apart[topic] = Apart(slot=ClientSlot(self._make))
            if apart is not None and kind_of(type(error)) is not RecordRefused:
                apart.refused, apart.why = apart.refused + 1, repr(error)
                apart.not_before_s = monotonic_s() + min(BACKOFF_S[1], BACKOFF_S[0] * 2**apart.refused)

    async def _send_alone(self, records: Sequence[Wire]) -> None:
        """Send one record after the other through a client of their own.

        The broker refuses a whole batch; another's record may have been the one that it would not take.
        """
        client = await self._shared.open()
        try:
            for record in records:
                await (await _give(client, record))
        except kafka.KafkaError as error:
            raise kind_of(type(error))(f"Kafka did not acknowledge: {error!r}") from error
        finally:
            self._shared.close(client)


async def _give(client: AIOKafkaProducer, record: Wire) -> asyncio.Future[object]:
    """Hand a record to a client; what is returned is its acknowledgement."""
    ack: asyncio.Future[object] = await client.send(record.topic, record.value, key=record.key, headers=record.headers)
    return ack


def _refused(records: Sequence[Wire], acks: Sequence[asyncio.Future[object]]) -> dict[str, BaseException]:
    """Return the topics whose records failed with an error that the client does not retry, and the error."""
    return {
        record.topic: error
        for record, ack in zip(records, acks, strict=True)
        if ack.done() and not ack.cancelled() and (error := ack.exception()) is not None
        if isinstance(error, kafka.KafkaError) and not error.retriable
    }


def _is_safe(ack: asyncio.Future[object]) -> bool:
    return ack.done() and not ack.cancelled() and ack.exception() is None


def _forget_all(acks: Iterable[asyncio.Future[object]]) -> None:
    for ack in acks:
        ack.add_done_callback(forget)


@dataclass
class FakeProducer:
    """Keeps what was sent; `fail` makes the next sends fail before anything is kept."""

    sent: list[Event[EventData]] = field(default_factory=list)
    records: list[Wire] = field(default_factory=list)
    fail: int = 0

    async def send(self, *events: Event[EventData]) -> None:
        """Keep events."""
        self._may_fail()
        for event in events:
            wire = encode(event)
            decode(wire.key, wire.value, wire.headers)  # what cannot be read back must not be written
            self.sent.append(event)
            self.records.append(wire)

    async def send_wire(self, *records: Wire) -> None:
        """Keep records."""
        self._may_fail()
        self.records.extend(records)

    def _may_fail(self) -> None:
        if self.fail:
            self.fail -= 1
            raise TransientError("the fake was told to fail")
