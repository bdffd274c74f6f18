"""Kafka away: creating and checking topics end in one line that says where it was looked for and what to do."""

import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.topics import Topic
from services.runtime.errors import TransientError
from services.runtime.topics_admin import alter_topics, check_topics, create_topics, differences


@pytest.fixture
def nothing_there() -> str:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("ask", [create_topics, check_topics])
async def test_nothing_listens_one_line_says_so(ask: Callable[[str], Awaitable[object]], nothing_there: str) -> None:
    with pytest.raises(TransientError) as found:
        await ask(nothing_there)
    said = str(found.value)
    assert said.startswith(f"Kafka does not answer at {nothing_there}")
    assert "RINGBACK_KAFKA_BOOTSTRAP_SERVERS" in said
    assert "\n" not in said


class AdminOfOneTopic:
    """Describes a topic as the code wants it, with the leaders that it is given; what it alters shows some looks later."""

    def __init__(self, topic: Topic, leaders: list[int], looks: list[dict[str, str]] | None = None) -> None:
        self.topic, self.leaders, self.looks = topic, leaders, looks or []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def alter_configs(self, resources: list[Any]) -> list[Any]:
        return [SimpleNamespace(resources=[(0, "", 2, self.topic.name)])]

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        parts = [{"partition": n, "leader": leader} for n, leader in enumerate(self.leaders)]
        return [{"topic": self.topic.name, "error_code": 0, "partitions": parts}]

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        settings = self.looks.pop(0) if self.looks else self.topic.settings
        entries = [(name, value, False, 1) for name, value in settings.items()]
        return [SimpleNamespace(resources=[(0, "", 2, self.topic.name, entries)])]


async def test_partition_without_a_leader_keeps_no_service_from_starting() -> None:
    """It is an outage of one partition: a service that ends at its start for it does nothing for all the others either."""
    topic = Topic("leads", partitions=3)
    assert await differences(AdminOfOneTopic(topic, [1, -1, 2]), [topic]) == []
    assert await differences(AdminOfOneTopic(topic, [1, 2]), [topic]) == ["leads: 2 partitions, needs 3"]


async def test_altered_topics_are_told_once_the_brokers_show_the_new_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever checks right after `ringback topics create` would otherwise read the old value, and be told to run it again."""
    topic = Topic("replies", retention_days=1)
    admin = AdminOfOneTopic(topic, [1], looks=[{**topic.settings, "retention.ms": "5"}] * 3)
    monkeypatch.setattr("services.runtime.topics_admin.AIOKafkaAdminClient", lambda **_: admin)
    assert await alter_topics("kafka:9092", [topic]) == ["replies"]
    assert admin.looks == []
