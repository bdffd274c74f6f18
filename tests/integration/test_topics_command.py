"""`ringback topics` on real Kafka: it makes and checks what the services of the same environment look for at start."""

import asyncio
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.system import fresh_name
from schemas.topics import CHANGELOG
from services.cli.app import run
from services.cli.exits import CANNOT, DONE
from services.runtime.settings import RuntimeSettings
from services.runtime.topics_admin import check_topics


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
    assert run(["topics", "create", "--replication", "1"]) == DONE
    assert f"{prefix}{CHANGELOG}" in capsys.readouterr().out
    assert run(["topics", "check"]) == DONE
    settings = RuntimeSettings.load(service="sequencer")
    asyncio.run(check_topics(kafka.bootstrap_servers, settings.topics()))
    capsys.readouterr()
    assert run(["topics", "create", "--replication", "1"]) == DONE
    assert "all topics exist already" in capsys.readouterr().out


def test_topic_with_another_partition_count_is_told_by_create_and_by_check(
    kafka: Any, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(make(kafka.bootstrap_servers, prefix + CHANGELOG, 3))
    for command in (["topics", "create", "--replication", "1"], ["topics", "check"]):
        assert run(command) == CANNOT
        assert f"{prefix}{CHANGELOG}: 3 partitions, needs 12" in capsys.readouterr().err
