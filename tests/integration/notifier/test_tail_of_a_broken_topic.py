"""The tail of `replies` on a cluster that loses the topic, or one partition of it: complete or not, for each by itself."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.kafka.cluster import LocalCluster
from schemas.ids import partition_key
from schemas.inbound import ReplyReceived
from schemas.topics import PARTITIONS, topics_of
from services.notifier.adapters import replies_tail
from services.notifier.adapters.replies_tail import KafkaTail
from services.runtime.health import Health
from services.runtime.partitions import partition_of
from services.runtime.topics_admin import create_topics
from tests.infra.polling import eventually
from tests.infra.providers import Kafka
from tests.integration.notifier.test_replies_tail import commit_all, number, reply, running

GONE = 3
"""The partition that loses its leader."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One broker, and a spare that takes a partition with it."""
    with LocalCluster(tmp_path_factory.mktemp("replies"), brokers=1) as started:
        yield started


@pytest.fixture
async def kafka(cluster: LocalCluster) -> Kafka:
    """The cluster with an empty topic."""
    servers = cluster.bootstrap_servers
    await remove(servers)
    await make(servers)
    return Kafka(servers, "cluster")


async def make(servers: str) -> None:
    await create_topics(servers, 1, [topic for topic in topics_of("") if topic.name == ReplyReceived.TOPIC])


async def remove(servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        if ReplyReceived.TOPIC in await admin.list_topics():
            await admin.delete_topics([ReplyReceived.TOPIC])
    finally:
        await admin.close()


def caller_of(partition: int) -> str:
    """Return a number whose replies lie in a partition."""
    while True:
        found = number()
        if partition_of(partition_key("tail", found), PARTITIONS) == partition:
            return found


def incomplete(tail: KafkaTail, callers: list[str]) -> set[int]:
    return {n for n, caller in enumerate(callers) if not tail.of(f"tail:{caller}").complete}


async def test_partition_without_a_leader_holds_its_own_callers_and_no_others(
    kafka: Kafka, cluster: LocalCluster
) -> None:
    health, callers = Health(), [caller_of(n) for n in range(PARTITIONS)]
    async with running(kafka, health=health) as tail:
        await eventually(lambda: not incomplete(tail, callers), 20)
        await asyncio.to_thread(cluster.take_leader, ReplyReceived.TOPIC, GONE)
        await eventually(lambda: incomplete(tail, callers) == {GONE}, 20)
        await eventually(lambda: f"partition {GONE} " in health.not_ready.get("tail", ""))
        for _ in range(20):  # the others stay fresh: they are asked without it
            await eventually(lambda: incomplete(tail, callers) == {GONE}, 1)
            assert not tail.is_away()
            await asyncio.sleep(0.1)
        await asyncio.to_thread(cluster.give_leader)
        await eventually(lambda: not incomplete(tail, callers), 20)
        await eventually(lambda: "tail" not in health.not_ready)


async def test_topic_that_is_deleted_and_made_anew_stops_all_texts_and_then_tells_every_new_reply(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What leads had committed in the old topic says nothing of the new one: a STOP in it is kept."""
    monkeypatch.setattr(replies_tail, "APPLIED_EVERY_S", 0.3)
    health, caller, group = Health(), caller_of(0), "leads-of-a-topic-made-anew"
    await say(kafka, caller, 3)
    await commit_all(kafka, group)
    async with running(kafka, health=health, group=group) as tail:
        await eventually(lambda: tail.of(f"tail:{caller}").complete, 20)
        await remove(kafka.bootstrap_servers)
        await eventually(tail.is_away, 20)
        await eventually(lambda: "tail" in health.not_ready)
        await eventually(lambda: made_again(kafka), 20, "the topic can be made again", 0.3)
        (name,) = await say(kafka, caller, 1)
        await eventually(lambda: tail.of(f"tail:{caller}").complete, 30)
        assert tail.of(f"tail:{caller}").replies == {name}
        for _ in range(15):  # the offsets of leads are asked for some times
            assert tail.of(f"tail:{caller}").replies == {name}
            await asyncio.sleep(0.1)


async def say(kafka: Kafka, caller: str, times: int) -> list[str]:
    """Have a borrower text so many times."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    await producer.start()
    try:
        return [await reply(producer, caller) for _ in range(times)]
    finally:
        await producer.stop()


async def made_again(kafka: Kafka) -> bool:
    await make(kafka.bootstrap_servers)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        return ReplyReceived.TOPIC in await admin.list_topics()
    finally:
        await admin.close()
