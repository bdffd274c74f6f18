"""One notifier process, its own database and groups, a sandbox, and what reads and writes around it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.system import fresh_name
from deploy.sandbox import Sandbox, SandboxSettings
from schemas.base import EventData
from schemas.envelope import Event, decode
from schemas.ids import partition_key, touch_id
from schemas.inbound import ReceiptReceived, ReceiptStatus, ReplyReceived
from schemas.touches import TouchDue, TouchResult
from services.policy.suppression import suppression_id
from services.runtime.clock import real_now
from services.runtime.producer import KafkaProducer
from tests.infra.polling import eventually
from tests.infra.providers import Kafka, Mongo
from tests.infra.topics import empty_topics

LENDER = "larkspur"
NUMBER_KEY = "a-number-key-for-tests"
ROOT = Path(__file__).parents[3]


class Rig:
    """What a test does to a notifier, and what it sees."""

    def __init__(self, kafka: Kafka, mongo: Mongo, database: Any, sandbox: Sandbox) -> None:
        self.kafka, self.mongo, self.database, self.sandbox = kafka, mongo, database, sandbox
        self.producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, client_id="test")
        self.prefix = fresh_name()
        self.process: asyncio.subprocess.Process | None = None
        self.ops = ""
        self.results: list[Event[EventData]] = []

    async def start(self, **env: str) -> None:
        """Start the notifier and wait until it is ready."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.notifier",
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "RINGBACK_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
                "RINGBACK_MONGODB_URL": self.mongo.url,
                "RINGBACK_MONGODB_DATABASE": self.database.name,
                "RINGBACK_TWILIO_ACCOUNT_SID": self.sandbox.settings.account_sid,
                "RINGBACK_TWILIO_AUTH_TOKEN": self.sandbox.settings.auth_token,
                "RINGBACK_TWILIO_BASE_URL": self.sandbox.url,
                "RINGBACK_PUBLIC_BASE_URL": "https://hooks.example.com",
                "RINGBACK_DIRECTORY": str(ROOT / "deploy/examples/lender.yaml"),
                "RINGBACK_NUMBER_KEY": NUMBER_KEY,
                "RINGBACK_GROUP_PREFIX": self.prefix,
                "RINGBACK_OPS_PORT": "0",
                "RINGBACK_DOUBT_WAIT_S": "0",
                **env,
            },
        )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 30)
        self.ops = f"http://127.0.0.1:{json.loads(line)['ops_port']}" if line else ""
        if line:
            await eventually(self.ready, 30, "the notifier is ready")

    async def ready(self) -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"{self.ops}/readyz") as answer:
            return answer.status == 200

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{self.ops}/metrics") as answer:
            return await answer.text()

    async def end(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """End the process by its own pid; return its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signum)
        code = await asyncio.wait_for(self.process.wait(), 40)
        self.process = None
        return code

    async def lead(self, caller: str, **more: Any) -> str:
        """Put a lead into leads' collection; return its id."""
        lead = f"lead-{uuid4()}"
        await self.database.leads.insert_one(
            {
                "_id": lead,
                "lender_id": LENDER,
                "caller": caller,
                "branch_id": "new-york",
                "owner_id": "dana-whitfield",
                "status": "attempted_contact",
                "texting": "open",
                "lead_seq": 1,
                "halt_seq": 0,
                "seen": [],
                **more,
            }
        )
        return lead

    async def suppress(self, caller: str) -> None:
        await self.database.suppressions.insert_one({"_id": suppression_id(NUMBER_KEY, LENDER, caller)})

    def touch(self, lead: str, caller: str, **more: Any) -> Event[EventData]:
        """Return a first text that is due now."""
        now, sequence = real_now(), more.pop("sequence_id", f"sequence-of-{lead}")
        step, attempt = more.pop("step", "text-now"), more.pop("attempt", 1)
        data = TouchDue(
            touch_id=touch_id(sequence, step, attempt),
            lead_id=lead,
            caller=caller,
            sequence_id=sequence,
            step=step,
            attempt=attempt,
            template=more.pop("template", "missed_call_first"),
            lane="urgent",
            due_at=now,
            lead_seq=1,
            expires_at=more.pop("expires_at", now + timedelta(minutes=5)),
            base_at=now - timedelta(seconds=1),
            first_of_sequence=more.pop("first_of_sequence", True),
            **more,
        )
        return Event(
            id=data.touch_id,
            data=data,
            source="test",
            time=now,
            key=partition_key(LENDER, caller),
            lender_id=LENDER,
            branch_id="new-york",
            received_at=now,
        )

    async def reply(self, caller: str) -> str:
        """Have a borrower text; return the event's id."""
        sid = f"SM{uuid4().hex}"
        data = ReplyReceived(message_id=sid, caller=caller, to="+12125550100", body="STOP", received_at=real_now())
        return await self._send(f"twilio:{sid}:received", data, caller)

    async def receipt(self, caller: str, sid: str, status: ReceiptStatus, touch: str | None = None) -> None:
        data = ReceiptReceived(touch_id=touch, sid=sid, status=status, to=caller, received_at=real_now())
        await self._send(f"twilio:{sid}:{status}", data, caller)

    async def _send(self, id_: str, data: EventData, caller: str) -> str:
        event = Event(
            id=id_, data=data, source="test", time=real_now(), key=partition_key(LENDER, caller), lender_id=LENDER
        )
        await self.producer.send(event)
        return event.id

    def of(self, lead: str) -> list[TouchResult]:
        """Return the results of a lead's touches, without repeats, in their order."""
        found = {event.id: event.data for event in self.results}
        return [data for data in found.values() if isinstance(data, TouchResult) and data.lead_id == lead]

    def types(self, lead: str) -> list[str]:
        return [result.TYPE for result in self.of(lead)]

    def texts(self, caller: str) -> list[Any]:
        """Return what the provider took for a number."""
        return [one for one in self.sandbox.store.messages.values() if one.direction != "inbound" and one.to == caller]

    async def delivery(self, event: Event[EventData]) -> dict[str, Any]:
        found: dict[str, Any] | None = await self.database.deliveries.find_one({"_id": event.id})
        assert found is not None, "no delivery yet"
        return found

    async def state(self, event: Event[EventData], state: str, timeout_s: float = 15) -> dict[str, Any]:
        """Wait for a delivery's state; return the delivery."""

        async def there() -> dict[str, Any]:
            found = await self.delivery(event)
            assert found["state"] == state, found["state"]
            return found

        return await eventually(there, timeout_s, f"state {state}")


@pytest.fixture
async def rig(kafka: Kafka, mongo: Mongo, database: Any) -> AsyncIterator[Rig]:
    """A rig whose notifier is not started yet; whatever it started has ended afterwards."""
    await empty_topics(kafka.bootstrap_servers)
    settings = SandboxSettings(webhook_base="http://127.0.0.1:9", public_base_url="https://hooks.example.com")
    async with Sandbox(settings) as sandbox:
        made = Rig(kafka, mongo, database, sandbox)
        await made.producer.start()
        consumer = AIOKafkaConsumer(
            TouchResult.TOPIC, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="latest"
        )
        await consumer.start()
        for partition in consumer.assignment():
            await consumer.position(partition)  # "latest" is decided here, not at the first record

        async def listen() -> None:
            async for record in consumer:
                made.results.append(decode(record.key, record.value, record.headers))

        listening = asyncio.create_task(listen())
        try:
            yield made
        finally:
            if made.process is not None:
                await made.end(signal.SIGKILL)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await consumer.stop()
            await made.producer.stop()


@pytest.fixture
def caller() -> str:
    """A number nobody else uses in this session, of the block kept for fiction as far as it goes."""
    return f"+1720{int(datetime.now(UTC).timestamp() * 1000) % 7_999_999 + 2_000_000}"
