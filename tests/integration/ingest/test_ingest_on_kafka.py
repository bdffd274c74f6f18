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
        f"twilio:{call}:started", f"twilio:{leg}:ended", f"twilio:{leg}:ended", f"twilio:{call}:ended:no-answer",
    ]  # fmt: skip
    assert {event.key for event in facts} == {b"larkspur:+13035550123"}
    assert len({event.traceparent[:35] for event in facts}) == 1


async def test_reply_receipt_and_report_arrive_on_their_topics(running: Running, servers: str) -> None:
    message, call = new_sid("SM"), new_sid("rc-")
    reply = {"MessageSid": message, "From": CALLER, "To": NEW_YORK, "Body": "STOP"}
    assert (await running.twilio("sms", reply))[0] == 200
    receipt = {"MessageSid": message, "To": CALLER, "MessageStatus": "delivered"}
    assert (await running.twilio("message-status?touch=t-1", receipt))[0] == 204
    report = {"event": "call.completed", "call_id": call, "from": CALLER, "to": NEW_YORK, "duration": 0,
              "started_at": "2026-03-03T19:58:00Z", "answered": False, "talk_time": 0}  # fmt: skip
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
async def test_broker_that_is_away_gets_503_and_nothing_is_lost_once_it_is_back(
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


async def _is_ready(running: Running) -> bool:
    return await running.ops_status("/readyz") == 200


async def _taken(running: Running, call: str) -> bool:
    return (await running.twilio("call-status", ended(call)))[0] == 204
