"""The spool between real webhooks and a real broker that hangs, is away, or comes back while ingest is killed."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.kafka import LocalKafka
from schemas.base import EventData
from schemas.calls import CallEnded
from schemas.envelope import Event, encode
from schemas.topics import PARTITIONS, TOPICS
from services.ingest.adapters.spool import Spool
from services.runtime.clock import SystemClock, monotonic_s
from services.runtime.topics_admin import create_topics
from tests.infra.polling import eventually
from tests.integration.ingest.running import Running, arrived, ingest, new_sid
from tests.unit.ingest.rig import OPEN
from tests.unit.ingest.test_spool import event, reply

NEW_YORK = "+12125550100"
CALLERS = [f"+1303555{n:04}" for n in range(100, 124)]


@pytest.fixture
def broker(provider: str, folder: Path) -> Iterator[LocalKafka]:
    """A broker to pause and stop: never the one other tests share."""
    with LocalKafka(folder / "own") as found:
        yield found


def ended(call: str, caller: str = CALLERS[0]) -> dict[str, str]:
    return {"CallSid": call, "From": caller, "To": NEW_YORK, "CallStatus": "no-answer", "Direction": "inbound"}


def call_event(call: str, caller: str) -> Event[EventData]:
    data = CallEnded(provider="twilio", call_id=call, caller=caller, status="no-answer", ended_at=OPEN)
    return event(f"twilio:{call}:ended:no-answer", data, caller)


async def spooled(folder: Path, events: Sequence[Event[EventData]], max_bytes: int = 256 << 20) -> None:
    """Put events into the spool of an ingest that does not run."""
    spool = Spool(folder=folder / "spool" / "0", max_bytes=max_bytes, partitions=PARTITIONS, clock=SystemClock())
    await spool.start()
    await asyncio.gather(*(spool.put(encode(one)) for one in events))
    await spool.stop()


async def appended(servers: str, topic: str) -> list[tuple[int, str]]:
    """Return when the broker appended each event of a topic, and its id, in each partition's order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[tuple[int, str]] = []
        async with asyncio.timeout(30):
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [(record.timestamp, dict(record.headers)["ce_id"].decode()) for record in records]
        return found
    finally:
        await consumer.stop()


async def depth(running: Running) -> float:
    lines = [line for line in (await running.metrics()).splitlines() if line.startswith("ringback_spool_events{")]
    assert lines
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def is_empty(running: Running) -> bool:
    return await depth(running) == 0


async def test_broker_that_hangs_costs_each_webhook_a_second_at_most_and_no_event(
    broker: LocalKafka, folder: Path
) -> None:
    servers = broker.bootstrap_servers
    await create_topics(servers, replication=1, topics=TOPICS)
    calls = [new_sid("CA") for _ in range(60)]

    async def post(running: Running, call: str) -> float:
        began = monotonic_s()
        assert (await running.twilio("call-status", ended(call)))[0] == 204
        return monotonic_s() - began

    async with ingest(servers, folder, SPOOL_DIR=str(folder / "spool")) as running:
        await post(running, calls[0])
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            assert 0.9 < max(await asyncio.gather(*(post(running, call) for call in calls[1:30]))) < 2
            assert max(await asyncio.gather(*(post(running, call) for call in calls[30:]))) < 1, "behind the others"
            assert await depth(running) == 59
            assert await running.ops_status("/readyz") == 200
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        assert await eventually(partial(is_empty, running), timeout_s=30, why="the spool is sent")
    told = [f"twilio:{call}:ended:no-answer" for call in calls]
    ids = list(dict.fromkeys(one.id for one in await arrived(servers, "call-events")))
    assert ids[0] == told[0]
    assert sorted(ids[1:30]) == sorted(told[1:30]), "posted side by side, so in no order of their own"
    assert sorted(ids[30:]) == sorted(told[30:]), "all, behind those that came before them"


async def test_ingest_killed_while_it_drains_loses_nothing_keeps_the_order_and_sends_replies_first(
    broker: LocalKafka, folder: Path
) -> None:
    servers, env = broker.bootstrap_servers, {"SPOOL_DIR": str(folder / "spool")}
    await create_topics(servers, replication=1, topics=TOPICS)
    texts = [reply(f"r{n}", CALLERS[n % len(CALLERS)]) for n in range(3000)]
    calls = [call_event(new_sid("CA"), CALLERS[n % len(CALLERS)]) for n in range(3000)]
    await spooled(folder, [one for pair in zip(calls, texts, strict=True) for one in pair])
    for _ in range(2):
        async with ingest(servers, folder, **env) as running:

            async def is_draining(running: Running = running) -> bool:
                return 0 < await depth(running) < 6000

            assert await eventually(is_draining, every_s=0, timeout_s=30, why="some are sent, and some are not")
            running.process.kill()
            await running.process.wait()
    async with ingest(servers, folder, **env) as running:
        assert await eventually(partial(is_empty, running), timeout_s=60, why="the spool is sent")
    first: dict[str, dict[str, int]] = {}
    for topic, given in (("replies", texts), ("call-events", calls)):
        seen = first.setdefault(topic, {})
        for at, id_ in await appended(servers, topic):
            seen.setdefault(id_, at)
        assert set(seen) == {one.id for one in given}
        for key in {one.key for one in given}:
            mine = {one.id: None for one in given if one.key == key}
            assert [id_ for id_ in seen if id_ in mine] == list(mine), "each caller's, in their order"
    assert max(first["replies"].values()) <= min(first["call-events"].values()), "a STOP stands before all else"


async def test_full_spool_refuses_webhooks_lets_calls_through_and_recovers_by_itself(
    broker: LocalKafka, folder: Path
) -> None:
    servers = broker.bootstrap_servers
    await create_topics(servers, replication=1, topics=TOPICS)
    held = [call_event(new_sid("CA"), CALLERS[n % len(CALLERS)]) for n in range(2500)]
    await spooled(folder, held)
    broker.kill()
    call = new_sid("CA")
    async with ingest(servers, folder, SPOOL_DIR=str(folder / "spool"), SPOOL_MAX_BYTES=str(1 << 20)) as running:
        status, text = await running.twilio("call-status", ended(call))
        assert (status, "not_acknowledged" in text) == (503, True)
        assert await running.ops_status("/readyz") == 503
        assert await running.ops_status("/healthz") == 200
        began = monotonic_s()
        through = new_sid("CA")
        status, twiml = await running.twilio("voice", {**ended(through), "CallStatus": "ringing"})
        assert (status, "<Dial" in twiml or "<Record" in twiml) == (200, True)
        assert monotonic_s() - began < 2
        assert 'ringback_webhooks_unsafe_total{route="/webhooks/twilio/voice"} 1.0' in await running.metrics()
        broker.start()

        async def is_ready() -> bool:
            return await running.ops_status("/readyz") == 200

        assert await eventually(is_ready, timeout_s=60, why="readiness returns by itself")
        assert (await running.twilio("call-status", ended(call)))[0] == 204, "the sender's repetition"
        assert await eventually(partial(is_empty, running), timeout_s=60, why="the spool is sent")

        async def is_told() -> bool:
            return f"twilio:{through}:started" in {one.id for one in await arrived(servers, "call-events")}

        assert await eventually(is_told, timeout_s=20, every_s=0.5, why="the call that went through is told at last")
    ids = {one.id for one in await arrived(servers, "call-events")}
    assert {one.id for one in held} | {f"twilio:{call}:ended:no-answer"} <= ids
