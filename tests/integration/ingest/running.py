"""Ingest as a process of its own, someone who calls its webhooks, and a reader of what arrived on a real broker."""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.process import die_with_parent
from schemas.base import EventData
from schemas.envelope import Event, decode
from schemas.topics import PARTITIONS
from services.ingest.signing import CALLS_HEADER, TWILIO_HEADER, sign_calls, sign_twilio
from services.runtime.clock import real_now

ACCOUNT, TOKEN, SECRET = "AC" + "5" * 32, "an-auth-token", "a-secret-of-the-phone-system"
PUBLIC = "https://hooks.larkspur.example"


def new_sid(prefix: str) -> str:
    """Return an id that no other test uses."""
    return prefix + secrets.token_hex(16)


@dataclass
class Running:
    """One process of ingest."""

    process: asyncio.subprocess.Process
    url: str
    ops: str
    log: Path
    http: aiohttp.ClientSession

    async def twilio(self, target: str, form: Mapping[str, str]) -> tuple[int, str]:
        """Post a signed form to `/webhooks/twilio/<target>`; return status and body."""
        path, full = f"/webhooks/twilio/{target}", {"AccountSid": ACCOUNT, **form}
        headers = {TWILIO_HEADER: sign_twilio(PUBLIC + path, full, TOKEN)}
        async with self.http.post(self.url + path, data=full, headers=headers) as answer:
            return answer.status, await answer.text()

    async def calls(self, report: Mapping[str, Any]) -> tuple[int, str]:
        """Post a signed report to `/webhooks/calls`."""
        body = json.dumps(report).encode()
        headers = {
            CALLS_HEADER: sign_calls(body, int(real_now().timestamp()), SECRET),
            "Content-Type": "application/json",
        }
        async with self.http.post(f"{self.url}/webhooks/calls", data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def ops_status(self, path: str) -> int:
        """Return the status of an operations endpoint."""
        async with self.http.get(self.ops + path) as answer:
            return answer.status

    async def metrics(self) -> str:
        """Return what /metrics says."""
        async with self.http.get(f"{self.ops}/metrics") as answer:
            return await answer.text()


@asynccontextmanager
async def ingest(servers: str, folder: Path, **env: str) -> AsyncIterator[Running]:
    """Run ingest until the end of the block."""
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_BASE_URL": PUBLIC,
        "DIRECTORY": "deploy/examples/lender.yaml",
        "WEBHOOK_SECRET": SECRET,
        "INGEST_PORT": "0",
        "OPS_PORT": "0",
        **env,
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RINGBACK_")}
    log = folder / "ingest.log"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.ingest",
            stdout=asyncio.subprocess.PIPE,
            stderr=out,
            env={**kept, **{f"RINGBACK_{key}": value for key, value in settings.items()}},
            preexec_fn=die_with_parent,
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        assert line, log.read_text()
        ports = json.loads(line)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            yield Running(
                process, f"http://127.0.0.1:{ports['port']}", f"http://127.0.0.1:{ports['ops_port']}", log, http
            )
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def arrived(servers: str, topic: str, numbers: Iterable[int] = range(PARTITIONS)) -> list[Event[EventData]]:
    """Return every event of a topic, or of some of its partitions, decoded."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, n) for n in numbers]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Event[EventData]] = []
        async with asyncio.timeout(30):
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(decode(record.key, record.value, record.headers) for record in records)
        return found
    finally:
        await consumer.stop()
