"""Ingest as a process, on a real broker: what is answered 2xx is there, and what is not there is answered 503."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from schemas.topics import TOPICS
from services.runtime.topics_admin import create_topics
from tests.infra.polling import eventually
from tests.infra.providers import Kafka
from tests.integration.ingest.running import Running, arrived, ingest, new_sid

CALLER, NEW_YORK = "+13035550123", "+12125550100"


def ended(call: str) -> dict[str, str]:
    return {"CallSid": call, "From": CALLER, "To": NEW_YORK, "CallStatus": "no-answer", "Direction": "inbound"}


@pytest.fixture
async def servers(kafka: Kafka) -> str:
    await create_topics(kafka.bootstrap_servers, replication=1)
    return kafka.bootstrap_servers


@pytest.fixture
async def running(servers: str, folder: Path) -> AsyncIterator[Running]:
    async with ingest(servers, folder) as found:
        yield found


async def test_call_through_all_its_webhooks_arrives_as_facts_keyed_by_the_caller(
    running: Running, servers: str
) -> None:
    call, leg = new_sid("CA"), new_sid("CA")
    status, _ = await running.twilio("voice", {**ended(call), "CallStatus": "ringing"})
    assert status == 200
    query = f"leg?step=status&call={call}&branch=new-york&officer=dana-whitfield"
    assert (await running.twilio(query, {"CallSid": leg, "From": CALLER, "CallStatus": "no-answer"}))[0] == 204
    form = {**ended(call), "DialCallSid": leg, "DialCallStatus": "no-answer"}
    assert (await running.twilio(f"dial?call={call}&branch=new-york", form))[0] == 200
    assert (await running.twilio("call-status", ended(call)))[0] == 204
    facts = [event for event in await arrived(servers, "call-events") if call in event.data.model_dump_json()]
    assert [event.id for event in facts] == [
        f"twilio:{call}:started",
        f"twilio:{leg}:ended",
        f"twilio:{leg}:ended",
        f"twilio:{call}:ended:no-answer",
    ]
    assert {event.key for event in facts} == {b"larkspur:+13035550123"}
    assert len({event.traceparent[:35] for event in facts}) == 1


async def test_reply_receipt_and_report_arrive_on_their_topics(running: Running, servers: str) -> None:
    message, call = new_sid("SM"), new_sid("rc-")
    reply = {"MessageSid": message, "From": CALLER, "To": NEW_YORK, "Body": "STOP"}
    assert (await running.twilio("sms", reply))[0] == 200
    receipt = {"MessageSid": message, "To": CALLER, "MessageStatus": "delivered"}
    assert (await running.twilio("message-status?touch=t-1", receipt))[0] == 204
    report = {
        "event": "call.completed",
        "call_id": call,
        "from": CALLER,
        "to": NEW_YORK,
        "duration": 0,
        "started_at": "2026-03-03T19:58:00Z",
        "answered": False,
        "talk_time": 0,
    }
    assert (await running.calls(report))[0] == 202
    for topic, event_id in (
        ("replies", f"twilio:{message}:received"),
        ("receipts", f"twilio:{message}:delivered"),
        ("call-events", f"calls:{call}:completed"),
    ):
        assert event_id in {event.id for event in await arrived(servers, topic)}


async def test_running_ingest_answers_its_operations_endpoints_and_logs_no_number_or_body(running: Running) -> None:
    assert [await running.ops_status(path) for path in ("/healthz", "/readyz", "/metrics", "/idle")] == [
        200,
        200,
        200,
        404,
    ]
    reply = {"MessageSid": new_sid("SM"), "From": CALLER, "To": NEW_YORK, "Body": "my secret words"}
    await running.twilio("sms", reply)
    await running.twilio("voice", {**ended(new_sid("CA")), "To": "+12065550177"})
    await running.twilio("sms", {**reply, "MessageSid": "wrong"})
    metrics = await running.metrics()
    assert 'ringback_http_requests_total{method="POST",route="/webhooks/twilio/sms",status="200"} 1.0' in metrics
    assert 'ringback_webhooks_rejected_total{reason="unknown_number",route="/webhooks/twilio/voice"} 1.0' in metrics
    assert 'ringback_webhooks_rejected_total{reason="bad_signature",route="/webhooks/calls"} 0.0' in metrics
    text = running.log.read_text()
    assert "unknown_number" in text
    assert not any(secret in text + metrics for secret in ("3035550123", "2065550177", "secret words", "an-auth-token"))


async def test_sigterm_in_the_middle_of_webhooks_loses_none_that_was_answered(running: Running, servers: str) -> None:
    calls = [new_sid("CA") for _ in range(200)]
    taken: list[str] = []

    async def post(call: str) -> None:
        try:
            status, _ = await running.twilio("call-status", ended(call))
        except OSError:
            return
        if status < 300:
            taken.append(call)

    posts = [asyncio.create_task(post(call)) for call in calls]
    await eventually(lambda: len(taken) >= 20, why="webhooks are taken")
    running.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*posts, return_exceptions=True)
    async with asyncio.timeout(20):
        assert await running.process.wait() == 0
    kept = {event.id for event in await arrived(servers, "call-events")}
    assert {f"twilio:{call}:ended:no-answer" for call in taken} <= kept


async def test_ingest_without_its_topics_says_so_and_ends(kafka: Kafka, folder: Path) -> None:
    with LocalKafka(folder / "bare") as bare, pytest.raises(AssertionError, match="call-events: missing"):
        async with ingest(bare.bootstrap_servers, folder):
            pass


@pytest.fixture
def own_broker(provider: str, folder: Path) -> Iterator[LocalKafka]:
    """A broker to pause and kill: never the one other tests share."""
    with LocalKafka(folder / "own") as broker:
        yield broker


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_ingest_without_a_spool_answers_503_while_the_broker_is_away_and_nothing_is_lost_once_it_is_back(
    own_broker: LocalKafka, folder: Path, how: str
) -> None:
    servers = own_broker.bootstrap_servers
    await create_topics(servers, replication=1, topics=TOPICS)
    async with ingest(servers, folder, ACK_LIMIT_S="0.5") as running:
        calls = [new_sid("CA") for _ in range(30)]
        assert (await running.twilio("call-status", ended(calls[0])))[0] == 204
        pid = own_broker.pid
        if how == "paused":
            os.kill(pid, signal.SIGSTOP)
        else:
            own_broker.kill()
        try:
            answers = await asyncio.gather(*(running.twilio("call-status", ended(call)) for call in calls[1:]))
            assert {status for status, _ in answers} == {503}
            assert all('"not_acknowledged"' in text for _, text in answers)
            assert await running.ops_status("/readyz") == 503
            assert await running.ops_status("/healthz") == 200
        finally:
            if how == "paused":
                os.kill(pid, signal.SIGCONT)
            else:
                own_broker.start()
        assert await eventually(partial(_is_ready, running), timeout_s=60, why="readiness returns by itself")
        for call in calls[1:]:
            assert await eventually(partial(_taken, running, call), timeout_s=60, why="the sender's retry is taken")
        ids = [event.id for event in await arrived(servers, "call-events")]
        assert set(ids) == {f"twilio:{call}:ended:no-answer" for call in calls}
        assert "ringback_webhooks_unacknowledged_total" in await running.metrics()


async def test_kafka_stopped_under_load_and_ingest_killed_lose_no_acknowledged_webhook(
    own_broker: LocalKafka, folder: Path
) -> None:
    servers, env = own_broker.bootstrap_servers, {"SPOOL_DIR": str(folder / "spool")}
    await create_topics(servers, replication=1, topics=TOPICS)
    taken: list[str] = []
    texts: dict[str, list[str]] = {f"+1303555{n:04}": [] for n in range(100, 112)}

    async def load(running: Running, until: asyncio.Event) -> None:
        """Post calls, and texts of each caller one after the other, until told to stop or ingest is gone."""

        async def texting(caller: str) -> None:
            while not until.is_set():
                message = new_sid("SM")
                form = {"MessageSid": message, "From": caller, "To": NEW_YORK, "Body": "hello"}
                if (await running.twilio("sms", form))[0] < 300:
                    texts[caller].append(f"twilio:{message}:received")
                await asyncio.sleep(0.05)

        async def calling() -> None:
            while not until.is_set():
                call = new_sid("CA")
                assert (await running.twilio("voice", {**ended(call), "CallStatus": "ringing"}))[0] == 200
                if (await running.twilio("call-status", ended(call)))[0] < 300:
                    taken.append(f"twilio:{call}:ended:no-answer")
                await asyncio.sleep(0.05)

        await asyncio.gather(*(texting(caller) for caller in texts), calling(), return_exceptions=True)

    async with ingest(servers, folder, **env) as running:
        stop = asyncio.Event()
        loading = asyncio.create_task(load(running, stop))
        assert await eventually(lambda: len(taken) >= 5, why="webhooks are taken")
        own_broker.kill()
        before = len(taken)
        assert await eventually(lambda: len(taken) >= before + 40, timeout_s=60, why="webhooks are taken without Kafka")
        assert await running.ops_status("/readyz") == 200
        running.process.kill()
        await running.process.wait()
        stop.set()
        await loading
    async with ingest(servers, folder, **env) as running:  # starts without Kafka
        stop = asyncio.Event()
        loading = asyncio.create_task(load(running, stop))
        before = len(taken)
        assert await eventually(lambda: len(taken) >= before + 20, timeout_s=60, why="webhooks are taken again")
        own_broker.start()
        assert await eventually(partial(_spool_is_empty, running), timeout_s=60, why="the spool is sent")
        before = len(taken)
        assert await eventually(lambda: len(taken) >= before + 5, why="webhooks go straight to Kafka again")
        stop.set()
        await loading
        assert await eventually(partial(_spool_is_empty, running), timeout_s=60, why="the spool is sent")
    assert {event.id for event in await arrived(servers, "call-events")} >= set(taken)
    replies = [event.id for event in await arrived(servers, "replies")]
    for told in texts.values():
        first_seen = [id_ for id_ in dict.fromkeys(replies) if id_ in told]
        assert first_seen == told, "each caller's texts, in their order"


async def test_ingest_killed_between_disk_and_answer_sends_the_event_after_its_restart(
    own_broker: LocalKafka, folder: Path
) -> None:
    servers, spool = own_broker.bootstrap_servers, folder / "spool"
    await create_topics(servers, replication=1, topics=TOPICS)
    calls = [new_sid("CA") for _ in range(5)]
    async with ingest(servers, folder, SPOOL_DIR=str(spool)) as running:
        own_broker.kill()
        posts = [asyncio.create_task(running.twilio("call-status", ended(call))) for call in calls]
        # Without a pause, so that the kill comes as soon as there are bytes, answered or not.
        assert await eventually(lambda: _spooled(spool), every_s=0, why="the event is in its file")
        running.process.kill()
        await asyncio.gather(*posts, return_exceptions=True)
        on_disk = b"".join(path.read_bytes() for path in spool.rglob("*.spool"))
    own_broker.start()
    async with ingest(servers, folder, SPOOL_DIR=str(spool)) as running:
        assert await eventually(partial(_spool_is_empty, running), timeout_s=60, why="the spool is sent")
    whole = {f"twilio:{call}:ended:no-answer" for call in calls if f"twilio:{call}:ended:no-answer".encode() in on_disk}
    assert whole
    assert {event.id for event in await arrived(servers, "call-events")} >= whole


def _spooled(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.rglob("*.spool"))


async def _spool_is_empty(running: Running) -> bool:
    metrics = await running.metrics()
    lines = [line for line in metrics.splitlines() if line.startswith("ringback_spool_events{")]
    return bool(lines) and all(line.endswith(" 0.0") for line in lines)


async def _is_ready(running: Running) -> bool:
    return await running.ops_status("/readyz") == 200


async def _taken(running: Running, call: str) -> bool:
    return (await running.twilio("call-status", ended(call)))[0] == 204
