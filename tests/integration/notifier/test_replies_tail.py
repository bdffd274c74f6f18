"""The tail of `replies` on a real broker: it knows the replies that leads has not finished, and says when it does not."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.envelope import Event, encode
from schemas.ids import partition_key
from schemas.inbound import ReplyReceived
from schemas.topics import PARTITIONS
from services.notifier.adapters.replies_tail import FRESH_S, KafkaTail, replies_consumer
from services.runtime.clock import boottime_s, real_now
from services.runtime.health import Health
from services.runtime.offsets import Ends
from services.runtime.topics_admin import create_topics
from tests.infra.polling import eventually
from tests.infra.providers import Kafka


@asynccontextmanager
async def running(
    kafka: Kafka,
    *,
    health: Health | None = None,
    consumer: AIOKafkaConsumer | None = None,
    ends: Ends | None = None,
    group: str = "nobody",
) -> AsyncIterator[KafkaTail]:
    tail = KafkaTail(
        consumer=consumer or replies_consumer(kafka.bootstrap_servers),
        offsets=ends or Ends(kafka.bootstrap_servers),
        group=group,
        partitions=PARTITIONS,
        health=health or Health(),
    )
    await tail.start()
    task = asyncio.create_task(tail.run())
    try:
        yield tail
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await tail.stop()


@pytest.fixture
async def producer(kafka: Kafka) -> AsyncIterator[AIOKafkaProducer]:
    await create_topics(kafka.bootstrap_servers, replication=1)
    found = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    await found.start()
    yield found
    await found.stop()


async def reply(
    producer: AIOKafkaProducer, number: str, ago: timedelta = timedelta(0), value: bytes | None = None
) -> str:
    sid, at = f"SM{uuid4().hex}", real_now() - ago
    data = ReplyReceived(message_id=sid, caller=number, to="+12125550100", body="hi", received_at=at)
    wire = encode(
        Event(
            id=f"twilio:{sid}:received",
            data=data,
            source="test",
            time=at,
            key=partition_key("tail", number),
            lender_id="tail",
        )
    )
    await producer.send_and_wait(
        wire.topic, value or wire.value, key=wire.key, headers=wire.headers, timestamp_ms=int(at.timestamp() * 1000)
    )
    return f"twilio:{sid}:received"


def number() -> str:
    return f"+1720{uuid4().int % 8_000_000 + 2_000_000}"


async def test_reply_is_known_whatever_its_age_until_leads_has_committed_it(
    kafka: Kafka, producer: AIOKafkaProducer
) -> None:
    caller, group = number(), f"leads-{uuid4()}"
    old = await reply(producer, caller, timedelta(hours=2))
    async with running(kafka, group=group) as tail:
        await eventually(lambda: tail.of(f"tail:{caller}").complete)
        assert tail.of(f"tail:{caller}").replies == {old}
        assert tail.of(f"tail:{number()}").replies == frozenset()
    await commit_all(kafka, group)
    async with running(kafka, group=group) as tail:
        await eventually(lambda: tail.of(f"tail:{caller}").complete)
        assert tail.of(f"tail:{caller}").replies == frozenset()


async def commit_all(kafka: Kafka, group: str) -> None:
    """Commit the end of `replies` for a group, as leads does when it has finished everything."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=group, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition(ReplyReceived.TOPIC, n) for n in range(PARTITIONS)]
    consumer.assign(partitions)
    await consumer.commit(dict(await consumer.end_offsets(partitions)))
    await consumer.stop()


async def test_reply_is_known_at_the_latest_when_the_tail_says_that_it_is_complete_as_of_after_it(
    kafka: Kafka, producer: AIOKafkaProducer
) -> None:
    async with running(kafka) as tail:
        await eventually(lambda: tail.of("x").complete)
        for _ in range(20):
            caller = number()
            name = await reply(producer, caller)
            await eventually(partial(_complete_since, tail, boottime_s()), timeout_s=2 * FRESH_S)
            assert tail.of(f"tail:{caller}").replies == {name}


def _complete_since(tail: KafkaTail, at_s: float) -> bool:
    age_s = tail.age_s()
    return age_s is not None and boottime_s() - age_s >= at_s


async def test_reply_that_cannot_be_decoded_counts_all_the_same(kafka: Kafka, producer: AIOKafkaProducer) -> None:
    caller = number()
    async with running(kafka) as tail:
        name = await reply(producer, caller, value=b"not json")
        await eventually(lambda: tail.of(f"tail:{caller}").replies == {name})


async def test_tail_that_stops_reading_is_incomplete_within_a_second_and_says_so(
    kafka: Kafka, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = Health()
    consumer = replies_consumer(kafka.bootstrap_servers)
    async with running(kafka, health=health, consumer=consumer) as tail:
        await eventually(lambda: tail.of("x").complete)
        assert "tail" not in health.not_ready
        getmany, stuck, standing = consumer.getmany, asyncio.Event(), asyncio.Event()

        async def stands_still(**_: Any) -> dict[Any, Any]:
            standing.set()
            await stuck.wait()
            return {}

        monkeypatch.setattr(consumer, "getmany", stands_still)
        await asyncio.wait_for(standing.wait(), 10)  # the read that was under way when it was replaced has ended
        caller = number()
        name = await reply(producer, caller)
        await eventually(lambda: not tail.of(f"tail:{caller}").complete, timeout_s=3)
        await eventually(lambda: "tail" in health.not_ready, timeout_s=6)
        monkeypatch.setattr(consumer, "getmany", getmany)
        stuck.set()
        await eventually(lambda: tail.of(f"tail:{caller}").complete)
        assert tail.of(f"tail:{caller}").replies == {name}
        await eventually(lambda: "tail" not in health.not_ready)


async def test_broker_that_cannot_be_asked_leaves_the_tail_incomplete(
    kafka: Kafka, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = Ends(kafka.bootstrap_servers)
    async with running(kafka, ends=ends) as tail:
        await eventually(lambda: tail.of("x").complete)

        async def never(partitions: Collection[TopicPartition], _: float) -> dict[TopicPartition, int | None]:
            return dict.fromkeys(partitions)

        monkeypatch.setattr(ends, "of", never)
        await eventually(lambda: not tail.of("x").complete, timeout_s=3)
