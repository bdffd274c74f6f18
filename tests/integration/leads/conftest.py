"""Leads processes with a database and groups of their own, and what is written to and read from the topics around them."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.system import System, fresh_name
from schemas.base import EventData
from schemas.envelope import Event, decode
from schemas.leads import LeadEvent
from services.runtime.producer import KafkaProducer
from tests.infra.polling import eventually
from tests.infra.providers import Kafka, Mongo
from tests.infra.topics import empty_topics


@dataclass
class Rig:
    """What a test does to the leads service, and what it sees."""

    kafka: Kafka
    mongo: Mongo
    database: Any
    folder: Path
    prefix: str = field(default_factory=fresh_name)
    systems: list[System] = field(default_factory=list)
    told: list[LeadEvent] = field(default_factory=list)
    _callers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(secrets.randbelow(8_000_000)))

    def __post_init__(self) -> None:
        self.producer = KafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers, client_id="test")

    def system(self, name: str = "a", **env: str) -> System:
        """Return another instance's settings; start it with `start("leads")`."""
        found = System(
            self.kafka.bootstrap_servers,
            self.mongo.url,
            self.folder / name,
            self.database.name,
            group_prefix=self.prefix,
            env={"RINGBACK_INSTANCE": name, "RINGBACK_LOG_LEVEL": "INFO", **env},
        )
        self.systems.append(found)
        return found

    async def start(self, name: str = "a", **env: str) -> System:
        """Start an instance and wait until it is ready."""
        system = self.system(name, **env)
        await system.start("leads")
        await system.ready("leads")
        return system

    def caller(self) -> str:
        """Return a number no other test uses."""
        return f"+1718{2_000_000 + next(self._callers) % 7_999_999:07d}"

    async def write(self, *events: Event[EventData]) -> None:
        await self.producer.send(*events)

    async def read(self) -> None:
        """Read the `leads` topic until cancelled."""
        consumer = AIOKafkaConsumer(
            "leads", bootstrap_servers=self.kafka.bootstrap_servers, group_id=None, auto_offset_reset="earliest"
        )
        try:
            await consumer.start()
            async for record in consumer:
                found = decode(record.key, record.value, record.headers).data
                if isinstance(found, LeadEvent):
                    self.told.append(found)
        finally:
            await consumer.stop()

    def of(self, caller: str) -> list[LeadEvent]:
        """Return what was told of a caller, first copies, in the order they arrived."""
        found: dict[int, LeadEvent] = {}
        for one in self.told:
            if one.caller == caller:
                found.setdefault(one.lead_seq, one)
        return list(found.values())

    def types(self, caller: str) -> list[str]:
        return [one.TYPE for one in self.of(caller)]

    async def tells(self, caller: str, *types: str, timeout_s: float = 15.0) -> None:
        """Wait until exactly these have been told of a caller."""
        await eventually(lambda: self.types(caller) == list(types), timeout_s, f"told {types}")

    async def tells_so_many(self, caller: str, events: int) -> None:
        """Wait until that many events have been told of a caller."""
        await eventually(lambda: len(self.of(caller)) == events, why=f"told {events} events")

    async def lead(self, caller: str) -> dict[str, Any]:
        found = await self.database.leads.find_one({"caller": caller})
        assert found is not None
        return dict(found)

    async def call(self, call_id: str) -> dict[str, Any]:
        found = await self.database.calls.find_one({"call_id": call_id})
        assert found is not None
        return dict(found)


@pytest.fixture
async def rig(kafka: Kafka, mongo: Mongo, database: Any, folder: Path) -> AsyncIterator[Rig]:
    """Topics, a producer and a reader; every leads process a test starts is stopped."""
    await empty_topics(kafka.bootstrap_servers)
    found = Rig(kafka, mongo, database, folder)
    await found.producer.start()
    reader = asyncio.create_task(found.read())
    try:
        yield found
    finally:
        for system in found.systems:
            await system.stop()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await found.producer.stop()
