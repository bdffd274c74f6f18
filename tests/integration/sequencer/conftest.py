"""A sequencer and a timekeeper, each its own process on real Kafka and MongoDB, and what writes and reads around them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.system import System, fresh_name
from schemas import ids
from schemas.base import EventData, LocalTime
from schemas.envelope import Event, decode
from schemas.leads import CallOfLead, LeadEvent, LeadSnapshot
from schemas.touches import TimerSet, TouchDue, TouchRef, TouchResult, TouchSent
from services.runtime.clock import real_now, write_clock
from services.runtime.producer import KafkaProducer
from tests.infra.polling import eventually
from tests.infra.providers import Kafka, Mongo
from tests.infra.topics import empty_topics

T0 = datetime(2026, 7, 1, 15, 0, tzinfo=UTC)
MORNING = LocalTime(on=date(2026, 7, 2), at=time(8, 30), zone="America/New_York")
CALLER = "+12125550123"


class Rig:
    """The two processes, what a test does to them, and what it sees of its own lender."""

    def __init__(self, system: System, clock: Path, http: aiohttp.ClientSession, timers: Any) -> None:
        self.system, self.clock, self.http, self.timers = system, clock, http, timers
        self.lender = fresh_name()
        self.producer = KafkaProducer(bootstrap_servers=system.kafka, client_id="test")
        self.seen: list[Event[EventData]] = []
        self.now = T0

    def move(self, to: datetime) -> None:
        """Move virtual time; it stands still there."""
        self.now = to
        write_clock(self.clock, to, 0.0)

    # -- what the leads service and the notifier say --

    def lead_id(self, caller: str = CALLER) -> str:
        """Return a caller's lead."""
        return ids.lead_id(f"{self.lender}:{caller}")

    def _event(self, data: EventData, id_: str, caller: str, source: str) -> Event[EventData]:
        key = ids.partition_key(self.lender, caller)
        return Event(
            id=id_,
            data=data,
            source=source,
            time=self.now,
            key=key,
            lender_id=self.lender,
            branch_id="nyc",
            received_at=real_now(),
        )

    def lead(self, kind: type[LeadEvent], seq: int, caller: str = CALLER, texting: str = "open") -> Event[EventData]:
        """Return a leads event."""
        lead = self.lead_id(caller)
        snapshot = LeadSnapshot(
            lead_id=lead, caller=caller, branch_id="nyc", first_contact_at=self.now, opened_by_call="CA1"
        )
        data = kind.model_validate(
            {
                "lead_id": lead,
                "lead_seq": seq,
                "caller": caller,
                "texting": texting,
                "cause": f"c{seq}",
                "lead": snapshot,
                "local_day": date(2026, 7, 1),
                "callback_morning": MORNING,
                "message_id": "SM1",
                "call": CallOfLead(call_id=f"CA{seq}", outcome="missed", ended_at=self.now),
            }
        )
        return self._event(data, f"{lead}:{seq}", caller, "ringback/leads")

    def sent(self, step: str, caller: str = CALLER) -> Event[EventData]:
        """Return the notifier's word that a text has left."""
        sequence = ids.sequence_id(self.lead_id(caller), "missed-call", date(2026, 7, 1))
        touch = ids.touch_id(sequence, step, 1)
        data = TouchSent(
            touch_id=touch,
            lead_id=self.lead_id(caller),
            caller=caller,
            sequence_id=sequence,
            step=step,
            sid="SM1",
            body="hi",
            template="t",
            template_version=1,
            variant="free",
            sent_at=self.now,
            from_number="+12125550100",
        )
        return self._event(data, f"{touch}:sent", caller, "ringback/notifier")

    # -- what comes out --

    def story(self, caller: str = CALLER) -> list[str]:
        """Return what came out for a caller, each event once, as `type step`, in the order it came."""
        key = ids.partition_key(self.lender, caller)
        ours = {event.id: event for event in self.seen if event.key == key and event.source == "ringback/sequencer"}
        return [f"{event.type} {cast(TouchRef, event.data).step}" for event in ours.values()]

    async def sees(self, *story: str, caller: str = CALLER) -> None:
        """Wait until exactly this has come out, in whatever order the topics were read."""

        def told() -> bool:
            assert sorted(self.story(caller)) == sorted(story)
            return True

        await eventually(told, 30, "the story")

    async def idle(self) -> None:
        """Wait until both processes say that nothing is left to do."""

        async def nothing() -> bool:
            return not await self.system.busy_with(self.http)

        await eventually(nothing, 30, "idle")


async def read_into(rig: Rig, consumer: Any) -> None:
    async for record in consumer:
        if record.key.startswith(rig.lender.encode()):
            rig.seen.append(decode(record.key, record.value, record.headers))


@pytest.fixture
async def rig(kafka: Kafka, mongo: Mongo, database: Any, folder: Path) -> AsyncIterator[Rig]:
    prefix = f"{fresh_name()}-"
    await empty_topics(kafka.bootstrap_servers, prefix)
    clock = folder / "clock.json"
    write_clock(clock, T0, 0.0)
    system = System(
        kafka.bootstrap_servers,
        mongo.url,
        folder,
        database=database.name,
        clock=str(clock),
        group_prefix=prefix,
        env={"RINGBACK_SEQUENCER_SESSION_TIMEOUT_S": "6"},
    )
    consumer = AIOKafkaConsumer(
        TouchDue.TOPIC,
        TouchResult.TOPIC,
        TimerSet.TOPIC,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="latest",
        group_id=None,
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    for partition in consumer.assignment():
        await consumer.position(partition)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        rig = Rig(system, clock, http, database["timers"])
        await rig.producer.start()
        reading = asyncio.create_task(read_into(rig, consumer))
        try:
            await system.start("sequencer", "timekeeper")
            yield rig
            assert system.ended() == []
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            await system.stop()
            await rig.producer.stop()
            await consumer.stop()
        log = (folder / "sequencer.log").read_text()
        assert "Task was destroyed" not in log, "a task of the fence was thrown away while it waited"
