"""The real parts work as we use them, from either provider."""

from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.kafka import LocalKafka
from schemas.topics import TOPICS, Topic
from services.runtime.topics_admin import TopicsDiffer, check_topics, create_topics
from tests.infra.providers import Kafka


async def test_topics_made_by_code_are_as_the_code_says_and_making_them_again_changes_nothing(kafka: Kafka) -> None:
    await create_topics(kafka.bootstrap_servers, replication=1)
    assert await create_topics(kafka.bootstrap_servers, replication=1) == []
    await check_topics(kafka.bootstrap_servers)


async def test_topic_that_differs_stops_the_start_with_the_difference(kafka: Kafka) -> None:
    await create_topics(kafka.bootstrap_servers, replication=1, topics=[Topic("odd-one", 1, 3)])
    with pytest.raises(TopicsDiffer, match="odd-one: 3 partitions, needs 12") as found:
        await check_topics(kafka.bootstrap_servers, [*TOPICS, Topic("odd-one", 2), Topic("not-there")])
    assert "odd-one: retention.ms is 86400000, needs 172800000" in str(found.value)
    assert "not-there: missing" in str(found.value)


async def test_writes_are_majority_and_transactions_work(database: Any) -> None:
    async with await database.client.start_session() as session, session.start_transaction():
        await database.things.insert_one({"_id": 1}, session=session)
    assert await database.things.find_one({"_id": 1}) == {"_id": 1}


async def test_broker_killed_and_started_again_keeps_what_it_acknowledged(folder: Path) -> None:
    with LocalKafka(folder) as broker:
        await create_topics(broker.bootstrap_servers, replication=1, topics=[Topic("kept", partitions=1)])
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all")
        await producer.start()
        for n in range(100):
            await producer.send_and_wait("kept", str(n).encode())
        await producer.stop()
        broker.kill()
        broker.restart()
        consumer = AIOKafkaConsumer("kept", bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
        await consumer.start()
        read = [int(record.value) for record in [await consumer.getone() for _ in range(100)]]
        await consumer.stop()
    assert read == list(range(100))
