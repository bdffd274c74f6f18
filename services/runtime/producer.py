"""The producer that promises: what it returns from is acknowledged by every replica; and its fake."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.base import EventData
from schemas.envelope import Event, Wire, decode, encode
from services.runtime.errors import PermanentError, TransientError


class Producer(Protocol):
    """What emits events."""

    async def send(self, *events: Event[EventData]) -> None:
        """Send in order; return once the broker has acknowledged every one.

        Raises:
            TransientError: at least one is not acknowledged; any of them may have arrived.
        """

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records, with the same promise."""


class KafkaProducer:
    """The real one: idempotent, all replicas."""

    def __init__(self, bootstrap_servers: str, client_id: str, request_timeout_s: float = 10.0) -> None:
        self._producer = AIOKafkaProducer(
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
        """Flush what is under way and leave."""
        await self._producer.stop()

    async def check(self) -> None:
        """Ask the cluster whether it is there.

        Raises:
            TransientError: it does not answer.
            PermanentError: this producer can never send again; only a new process can.
        """
        task = self._producer._sender.sender_task
        if task is not None and task.done():
            raise PermanentError("the producer's sender has ended")
        try:
            await self._producer.client.fetch_all_metadata()
        except KafkaError as error:
            raise TransientError(f"Kafka does not answer: {error!r}") from error

    async def send(self, *events: Event[EventData]) -> None:
        """Send in order; return once the broker has acknowledged every one."""
        await self.send_wire(*(encode(event) for event in events))

    async def send_wire(self, *records: Wire) -> None:
        """Send raw records in order; return once all are acknowledged."""
        try:
            acks = [
                await self._producer.send(record.topic, record.value, key=record.key, headers=record.headers)
                for record in records
            ]
            if acks:
                await asyncio.gather(*acks)
        except KafkaError as error:
            raise TransientError(f"Kafka did not acknowledge: {error!r}") from error


@dataclass
class FakeProducer:
    """Keeps what was sent; `fail` makes the next sends fail before anything is kept."""

    sent: list[Event[EventData]] = field(default_factory=list)
    records: list[Wire] = field(default_factory=list)
    fail: int = 0

    async def send(self, *events: Event[EventData]) -> None:
        """Keep events."""
        if self.fail:
            self.fail -= 1
            raise TransientError("the fake was told to fail")
        for event in events:
            wire = encode(event)
            decode(wire.key, wire.value, wire.headers)  # what cannot be read back must not be written
            self.sent.append(event)
            self.records.append(wire)

    async def send_wire(self, *records: Wire) -> None:
        """Keep records."""
        self.records.extend(records)
