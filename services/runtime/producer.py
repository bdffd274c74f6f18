"""The producer: a send returns once every in-sync replica has acknowledged it; its fake; and Kafka's errors as ours."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka

from schemas.base import EventData
from schemas.envelope import Event, Wire, decode, encode
from services.runtime.dead_letters import REQUEST_LIMIT_BYTES
from services.runtime.errors import PermanentError, TransientError
from services.runtime.idempotent_client import abandon, check_pins, fail_pending, has_ended, never_expire
from services.runtime.metrics import PRODUCERS_REPLACED

log = structlog.get_logger(__name__)

START_LIMIT_S: Final = 30.0
"""How long connecting may take; a client without a broker asks for its id for good."""
FLUSH_LIMIT_S: Final = 5.0
"""How long a stopping service waits for acknowledgements; who waits for one knows that it has not come."""
SEND_TIMEOUT_S: Final = 5.0
"""How long a send may wait. Whoever sends waits in place and says why; a partition without a leader is away for longer."""


class RecordRefused(PermanentError):
    """This record can never be written: it is too large, or its time or topic is refused."""


ERRORS: Final[Mapping[type[Exception], type[TransientError] | type[PermanentError]]] = {
    kafka.KafkaError: TransientError,
    # The record itself; the same one would be refused again and again.
    kafka.MessageSizeTooLargeError: RecordRefused,
    kafka.RecordTooLargeError: RecordRefused,
    kafka.RecordListTooLargeError: RecordRefused,
    kafka.InvalidTimestampError: RecordRefused,
    kafka.InvalidTopicError: RecordRefused,
    kafka.UnsupportedForMessageFormatError: RecordRefused,
    # The broker and this client no longer agree on what came last; a new client is not affected.
    kafka.OutOfOrderSequenceNumber: TransientError,
    kafka.UnknownProducerId: TransientError,
    kafka.InvalidProducerEpoch: TransientError,
    kafka.InvalidProducerIdMapping: TransientError,
    kafka.ProducerFenced: TransientError,
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
    kafka.ProducerClosed: TransientError,  # we are stopping, or its client was replaced; nothing is wrong with the record
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
        """

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records, with the same promise."""


class KafkaProducer:
    """The real one: idempotent, acknowledged by all in-sync replicas.

    A client whose record is refused has counted it, and the broker has not: it refuses all that follow in that partition.
    So a client is replaced after any error that it does not retry itself. What waits in the old one fails as
    TransientError; what was on its way may still arrive.

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
        self._client: AIOKafkaProducer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def start(self) -> None:
        """Connect.

        Raises:
            UntestedClient: the installed client is not the one that was tested.
            TransientError: Kafka does not answer.
        """
        check_pins()
        await self._current()

    async def stop(self) -> None:
        """Send what is under way, for a few seconds at most, and disconnect."""
        self._stopped = True
        if self._opening is not None:
            self._opening.cancel()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_LIMIT_S):
                    await client.flush()
            await abandon(client)
        if self._closing:
            await asyncio.wait(self._closing)

    async def check(self) -> None:
        """Ask the cluster whether it is there.

        Raises:
            TransientError: it does not answer.
        """
        try:
            async with asyncio.timeout(self._send_timeout_s):
                client = await self._current()
                await client.client.fetch_all_metadata()
        except (kafka.KafkaError, TimeoutError) as error:
            raise TransientError(f"Kafka does not answer: {error!r}") from error
        if has_ended(client):
            self._replace(client, "its sender has ended")
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
        client = await self._current()
        acks: list[asyncio.Future[object]] = []
        try:
            for record in records:
                acks.append(await _give(client, record))
        except kafka.KafkaError as error:
            # Refused by the client itself, before it was counted: the client goes on.
            _forget_all(acks)
            if has_ended(client):
                self._replace(client, repr(error))
                raise TransientError(f"Kafka did not acknowledge: {error!r}") from error
            raise kind_of(type(error))(f"Kafka did not acknowledge: {error!r}") from error
        try:
            await asyncio.gather(*acks)
        except kafka.KafkaError as error:
            _forget_all(acks)
            if has_ended(client) or not error.retriable:
                self._replace(client, repr(error))
            if kind_of(type(error)) is not RecordRefused:
                raise TransientError(f"Kafka did not acknowledge: {error!r}") from error
            await self._send_alone([record for record, ack in zip(records, acks, strict=True) if not _is_safe(ack)])

    async def _send_alone(self, records: Sequence[Wire]) -> None:
        """Send one record after the other through a client of their own.

        The broker refuses a whole batch; another's record may have been the one that it would not take.
        """
        client = await self._open()
        try:
            for record in records:
                await (await _give(client, record))
        except kafka.KafkaError as error:
            raise kind_of(type(error))(f"Kafka did not acknowledge: {error!r}") from error
        finally:
            self._close(client)

    async def _current(self) -> AIOKafkaProducer:
        """Return the client; after the last one was replaced, a new one.

        Raises:
            TransientError: Kafka does not answer, or we have stopped.
        """
        while self._client is None:
            if self._stopped:
                raise TransientError("the producer has stopped")
            if self._opening is None or self._opening.done():
                self._opening = asyncio.create_task(self._open_next())
                self._opening.add_done_callback(_forget)
            try:
                await asyncio.shield(self._opening)
            except asyncio.CancelledError:
                if not self._opening.cancelled():
                    raise  # ours; the opening goes on for others
        return self._client

    async def _open_next(self) -> None:
        self._client = await self._open()

    async def _open(self) -> AIOKafkaProducer:
        client = self._make()
        never_expire(client)
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await client.start()
        except (kafka.KafkaError, OSError, TimeoutError) as error:
            self._close(client)
            raise TransientError(f"Kafka does not answer: {error!r}") from error
        except BaseException:
            self._close(client)
            raise
        return client

    def _replace(self, client: AIOKafkaProducer, why: str) -> None:
        """Send nothing more through a client, and fail what waits in it; closing it takes its time."""
        if client is not self._client:
            return
        self._client = None
        PRODUCERS_REPLACED.inc()
        log.warning("producer_replaced", why=why)
        self._close(client)

    def _close(self, client: AIOKafkaProducer) -> None:
        fail_pending(client)
        task = asyncio.create_task(abandon(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _give(client: AIOKafkaProducer, record: Wire) -> asyncio.Future[object]:
    """Hand a record to a client; what is returned is its acknowledgement."""
    ack: asyncio.Future[object] = await client.send(record.topic, record.value, key=record.key, headers=record.headers)
    return ack


def _is_safe(ack: asyncio.Future[object]) -> bool:
    return ack.done() and not ack.cancelled() and ack.exception() is None


def _forget_all(acks: Iterable[asyncio.Future[object]]) -> None:
    for ack in acks:
        ack.add_done_callback(_forget)


def _forget(ack: asyncio.Future[Any]) -> None:
    """Take note of how something ended that nobody waits for any more, so that asyncio does not complain."""
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
