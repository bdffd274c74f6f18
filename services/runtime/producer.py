"""The producer: a send returns once every in-sync replica has acknowledged it; its fake; and Kafka's errors as ours."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka

from schemas.base import EventData
from schemas.envelope import Event, Wire, decode, encode
from services.runtime.errors import PermanentError, ProcessMustEnd, TransientError

SEND_TIMEOUT_S: Final = 5.0
"""How long a send may wait. Whoever sends waits in place and says why; a partition without a leader is away for longer."""


class RecordRefused(PermanentError):
    """This record can never be written: it is too large, or its time or topic is refused."""


class ProducerEnded(ProcessMustEnd):
    """This producer can never send again; only a new process can."""


ERRORS: Final[Mapping[type[Exception], type[TransientError] | type[PermanentError]]] = {
    kafka.KafkaError: TransientError,
    # The record itself; the same one would be refused again and again.
    kafka.MessageSizeTooLargeError: RecordRefused,
    kafka.RecordTooLargeError: RecordRefused,
    kafka.RecordListTooLargeError: RecordRefused,
    kafka.InvalidTimestampError: RecordRefused,
    kafka.InvalidTopicError: RecordRefused,
    kafka.UnsupportedForMessageFormatError: RecordRefused,
    # The broker and this producer no longer agree on what came last.
    kafka.OutOfOrderSequenceNumber: ProducerEnded,
    kafka.UnknownProducerId: ProducerEnded,
    kafka.InvalidProducerEpoch: ProducerEnded,
    kafka.InvalidProducerIdMapping: ProducerEnded,
    kafka.ProducerFenced: ProducerEnded,
    # Not retriable for the client, yet no fault of the record: it waits, unready, until someone has put it right.
    kafka.TopicAuthorizationFailedError: TransientError,
    kafka.ClusterAuthorizationFailedError: TransientError,
    kafka.SaslAuthenticationFailed: TransientError,
    kafka.AuthenticationFailedError: TransientError,
    kafka.AuthenticationMethodNotSupported: TransientError,
    kafka.UnsupportedSaslMechanismError: TransientError,
    kafka.IllegalSaslStateError: TransientError,
    kafka.SecurityDisabled: TransientError,
    kafka.PolicyViolationError: TransientError,
    kafka.QuotaViolationError: TransientError,
    kafka.BrokerNotAvailableError: TransientError,
    kafka.ReplicaNotAvailableError: TransientError,
    kafka.InvalidRequiredAcksError: TransientError,
    kafka.InvalidRequestError: TransientError,
    kafka.UnsupportedVersionError: TransientError,
    kafka.IncompatibleBrokerVersion: TransientError,
    kafka.UnrecognizedBrokerVersion: TransientError,
    kafka.CorruptRecordException: TransientError,  # damaged on its way
    kafka.KafkaTimeoutError: TransientError,
    kafka.KafkaUnavailableError: TransientError,
    kafka.UnknownError: TransientError,
    kafka.ProducerClosed: TransientError,  # we are stopping; nothing is wrong with the record
}
"""Our kind of each error that sending may meet; the most specific class wins. What the client calls retriable is
transient without being listed."""


def kind_of(error: type[BaseException]) -> type[TransientError] | type[PermanentError]:
    """Return our kind of one of aiokafka's error classes."""
    if getattr(error, "retriable", False):
        return TransientError
    return next(ERRORS[model] for model in error.__mro__ if model in ERRORS)


class Producer(Protocol):
    """What emits events."""

    async def send(self, *events: Event[EventData]) -> None:
        """Send in order; return once the broker has acknowledged every one.

        Raises:
            TransientError: at least one is not acknowledged in time; any of them may have arrived, or may yet.
            RecordRefused: at least one never can be.
            ProducerEnded: only a new process can send.
        """

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records, with the same promise."""


class KafkaProducer:
    """The real one: idempotent, acknowledged by all in-sync replicas.

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
        bootstrap_servers: str,
        client_id: str,
        request_timeout_s: float = 10.0,
        send_timeout_s: float = SEND_TIMEOUT_S,
        make_producer: Callable[..., AIOKafkaProducer] = AIOKafkaProducer,
    ) -> None:
        self._send_timeout_s = send_timeout_s
        self._producer = make_producer(
            bootstrap_servers=bootstrap_servers,
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            request_timeout_ms=int(request_timeout_s * 1000),
            max_request_size=1 << 20,
        )

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Send what is under way, and disconnect."""
        await self._producer.stop()

    async def check(self) -> None:
        """Ask the cluster whether it is there.

        Raises:
            TransientError: it does not answer.
            ProducerEnded: only a new process can send.
        """
        if self._has_ended():
            raise ProducerEnded("the producer's sender has ended")
        try:
            await self._producer.client.fetch_all_metadata()
        except kafka.KafkaError as error:
            raise TransientError(f"Kafka does not answer: {error!r}") from error

    def _has_ended(self) -> bool:
        task = self._producer._sender.sender_task
        return task is not None and bool(task.done())

    async def send(self, *events: Event[EventData]) -> None:
        """Send in order; return once the broker has acknowledged every one."""
        await self.send_wire(*(encode(event) for event in events))

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records in order; return once all are acknowledged."""
        acks: list[asyncio.Future[object]] = []
        try:
            async with asyncio.timeout(self._send_timeout_s):
                for record in records:
                    acks.append(
                        await self._producer.send(record.topic, record.value, key=record.key, headers=record.headers)
                    )
                await asyncio.gather(*acks)
        except TimeoutError as error:
            topics = ", ".join(sorted({record.topic for record in records}))
            raise TransientError(f"Kafka did not acknowledge within {self._send_timeout_s:g} s: {topics}") from error
        except kafka.KafkaError as error:
            for ack in acks:
                ack.add_done_callback(_forget)
            kind = ProducerEnded if self._has_ended() else kind_of(type(error))
            raise kind(f"Kafka did not acknowledge: {error!r}") from error


def _forget(ack: asyncio.Future[object]) -> None:
    """Take note of how a send ended that nobody waits for any more, so that asyncio does not complain."""
    if not ack.cancelled():
        ack.exception()


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
