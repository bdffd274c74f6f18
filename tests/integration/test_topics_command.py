"""`ringback topics` on real Kafka: it makes and checks what the services of the same environment look for at start."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.system import fresh_name
from schemas.topics import CHANGELOG
from services.cli.app import run
from services.cli.exits import CANNOT, DONE
from services.runtime.settings import RuntimeSettings
from services.runtime.topics_admin import check_topics
from tests.infra.polling import eventually_now


@pytest.fixture
def prefix(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """An environment with a prefix of this test's own; returns the prefix."""
    name = f"{fresh_name()}-"
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("RINGBACK_GROUP_PREFIX", name)
    return name


async def make(servers: str, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()


def test_topics_of_a_deployment_with_a_prefix_are_created_once_and_pass_the_services_own_check(
    kafka: Any, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["topics", "check"]) == CANNOT
    assert f"{prefix}{CHANGELOG}: missing" in capsys.readouterr().err
    assert run(["topics", "create", "--replication", "1", "--shared"]) == DONE
    assert f"{prefix}{CHANGELOG}" in capsys.readouterr().out
    assert run(["topics", "check"]) == DONE
    settings = RuntimeSettings.load(service="sequencer")
    asyncio.run(check_topics(kafka.bootstrap_servers, settings.topics()))
    capsys.readouterr()
    assert run(["topics", "create", "--replication", "1", "--shared"]) == DONE
    assert "all topics exist already" in capsys.readouterr().out


def test_topic_with_another_partition_count_is_told_by_create_and_by_check(
    kafka: Any, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(make(kafka.bootstrap_servers, prefix + CHANGELOG, 3))
    for command in (["topics", "create", "--replication", "1", "--shared"], ["topics", "check"]):
        assert run(command) == CANNOT
        assert f"{prefix}{CHANGELOG}: 3 partitions, needs 12" in capsys.readouterr().err


async def set_by_hand(servers: str, topic: str, **settings: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)])
    finally:
        await admin.close()


async def time_of_a_record(servers: str, topic: str, claimed_ms: int) -> int:
    """Write a record that claims a time; return the time that it has in Kafka."""
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        sent = await producer.send_and_wait(topic, b"", partition=0, timestamp_ms=claimed_ms)
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=servers)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, sent.offset)
        async with asyncio.timeout(20):
            return int((await consumer.getone()).timestamp)
    finally:
        await consumer.stop()


@pytest.mark.parametrize("topic", ["replies", "call-events"])
def test_create_gives_topics_of_an_older_version_the_brokers_own_time(
    kafka: Any, prefix: str, capsys: pytest.CaptureFixture[str], topic: str
) -> None:
    """Before it, a record had the time that its producer's clock claimed."""
    servers = kafka.bootstrap_servers
    assert run(["topics", "create", "--replication", "1", "--shared"]) == DONE
    asyncio.run(set_by_hand(servers, topic, **{"message.timestamp.type": "CreateTime", "retention.ms": "3600000"}))
    eventually_now(lambda: run(["topics", "check"]) == CANNOT, timeout_s=20, why="the broker shows it")
    assert f"{topic}: message.timestamp.type is CreateTime, needs LogAppendTime" in capsys.readouterr().err
    assert run(["topics", "create", "--replication", "1", "--shared"]) == DONE
    assert topic in capsys.readouterr().out.partition("altered")[2]
    assert run(["topics", "check"]) == DONE
    assert asyncio.run(time_of_a_record(servers, topic, claimed_ms=1_000)) > 1_000_000_000_000


def test_second_deployment_on_one_cluster_is_refused(
    kafka: Any, prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its services would handle the first one's events: a prefix keeps groups apart, and no topic but the changelog."""
    assert run(["topics", "create", "--replication", "1", "--shared"]) == DONE
    monkeypatch.setenv("RINGBACK_GROUP_PREFIX", f"another-{prefix}")
    assert run(["topics", "create", "--replication", "1"]) == CANNOT
    said = capsys.readouterr().err
    assert "another deployment uses this cluster" in said
    assert f"{prefix}{CHANGELOG}" in said
