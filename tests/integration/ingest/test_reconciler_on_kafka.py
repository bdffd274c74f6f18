"""Three hours of webhooks are lost: the reconciler finds them in the sandbox's lists, and a real Kafka has them once."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from deploy.local.process import die_with_parent, free_ports
from schemas.topics import TOPICS
from services.runtime.clock import real_now
from services.runtime.topics_admin import create_topics
from tests.infra.polling import eventually
from tests.infra.providers import Kafka
from tests.integration.ingest.running import ACCOUNT, PUBLIC, TOKEN, arrived, ingest, new_sid

CALLER, NEW_YORK, DANA = "+13035550123", "+12125550100", "+12125550161"


@asynccontextmanager
async def process(folder: Path, *args: str, **env: str) -> AsyncIterator[dict[str, object]]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RINGBACK_")}
    log = folder / f"{args[0]}.log"
    with log.open("ab") as out:
        found = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *args,
            stdout=asyncio.subprocess.PIPE,
            stderr=out,
            preexec_fn=die_with_parent,
            env={**kept, **{f"RINGBACK_{key}": value for key, value in env.items()}},
        )
    try:
        assert found.stdout is not None
        async with asyncio.timeout(30):
            line = await found.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)
    finally:
        found.kill()
        await found.wait()


@pytest.fixture
async def servers(kafka: Kafka) -> str:
    await create_topics(kafka.bootstrap_servers, replication=1, topics=TOPICS)
    return kafka.bootstrap_servers


async def test_three_hours_of_lost_webhooks_are_made_good_and_nothing_is_told_twice(servers: str, folder: Path) -> None:
    [port] = free_ports(1)
    calls, told = [], set()
    for n in range(36):
        call, leg, end = new_sid("CA"), new_sid("CA"), real_now() - timedelta(minutes=10 + 5 * n)
        times = {"start_time": (end - timedelta(seconds=40)).isoformat(), "end_time": end.isoformat()}
        calls.append({"sid": call, "from": CALLER, "to": NEW_YORK, "status": "completed", "duration_s": 40, **times})
        calls.append(
            {
                "sid": leg,
                "from": CALLER,
                "to": DANA,
                "status": "no-answer",
                "direction": "outbound-dial",
                "parent_call_sid": call,
                **times,
            }
        )
        told |= {f"twilio:{call}:started", f"twilio:{call}:ended:completed", f"twilio:{leg}:ended"}
    sandbox = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN}
    url = f"http://127.0.0.1:{port}"
    async with process(folder, "deploy.sandbox", "--port", str(port), **sandbox), ingest(servers, folder) as running:
        async with aiohttp.ClientSession() as http, http.post(f"{url}/_control/calls", json={"calls": calls}) as answer:
            assert answer.status == 201, await answer.text()
        first = str(calls[0]["sid"])  # of one call a webhook came through
        ended = {"CallSid": first, "From": CALLER, "To": NEW_YORK, "CallStatus": "completed", "Direction": "inbound"}
        assert (await running.twilio("call-status", ended))[0] == 204
        env = {
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "TWILIO_BASE_URL": url,
            "PUBLIC_BASE_URL": PUBLIC,
            "DIRECTORY": "deploy/examples/lender.yaml",
            "OPS_PORT": "0",
        }

        async def all_there() -> bool:
            return told <= {event.id for event in await arrived(servers, "call-events")}

        for _ in range(2):  # a second process looks a day back again, and finds everything there
            async with process(folder, "services.ingest.reconcile", **env) as ports:
                assert await eventually(all_there, timeout_s=60, every_s=0.5, why="what was lost is told")
                finished = partial(_has_finished_a_pass, f"http://127.0.0.1:{ports['ops_port']}/metrics")
                assert await eventually(finished, timeout_s=60, why="a pass has finished")
    ids = [event.id for event in await arrived(servers, "call-events") if event.id in told]
    assert sorted(ids) == sorted(told), "each once"


async def _has_finished_a_pass(url: str) -> bool:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return "ringback_reconciler_passes_total 1.0" in await answer.text()
