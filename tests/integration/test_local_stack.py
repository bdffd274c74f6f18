"""The real parts work as we use them, from either provider."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.detached import DetachedStack
from deploy.local.kafka import LocalKafka
from deploy.local.process import PID_FILE, started_ticks
from deploy.local.stack import Stack
from schemas.topics import TOPICS, Topic
from services.runtime.topics_admin import TopicsDiffer, check_topics, create_topics
from tests.infra.polling import eventually
from tests.infra.providers import Kafka, Mongo, kafka_from, mongo_from, unusable_because


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


async def test_stack_uses_the_cluster_that_the_environment_names_and_starts_nothing(
    kafka: Kafka, mongo: Mongo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("RINGBACK_MONGODB_URL", mongo.url)
    stack = Stack(folder, say=lambda _: None)
    await asyncio.to_thread(stack.start)
    assert (stack.kafka, stack.mongodb, stack.servers) == (kafka.bootstrap_servers, mongo.url, [])
    assert (
        stack.description
        == f"MongoDB: the one in RINGBACK_MONGODB_URL; Kafka: the cluster at {kafka.bootstrap_servers}"
    )


async def run_local(command: str, folder: Path) -> tuple[int, str]:
    """Run `python -m deploy.local` as a user does; return exit code and output."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("RINGBACK_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.local",
        command,
        "--folder",
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=env,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_up_twice_gives_one_stack_and_down_leaves_no_process(folder: Path) -> None:
    place = folder / "up"
    try:
        assert (await run_local("env", place))[0] == 1
        code, said = await run_local("up", place)
        assert code == 0, said
        assert "Kafka: Apache Kafka" in said
        assert "MongoDB: mongod" in said
        record = DetachedStack(place).running()
        assert record is not None
        assert await run_local("up", place) == (0, f"running already\n{said}")
        assert DetachedStack(place).running() == record
        assert f"export RINGBACK_KAFKA_BOOTSTRAP_SERVERS='{record['kafka']}'" in (await run_local("env", place))[1]

        killed = record["processes"][0]["pid"]
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: DetachedStack(place).running() is None, why="half a stack counts as not running")
        assert (await run_local("up", place))[0] == 0
        again = DetachedStack(place).running()
        assert again is not None
    finally:
        code, said = await run_local("down", place)
    assert (code, said) == (0, "stopped\n")
    both = [each["pid"] for found in (record, again) for each in found["processes"]]
    assert [started_ticks(pid) for pid in both] == [None] * 4
    assert await run_local("down", place) == (0, "nothing was running\n")


async def test_up_killed_halfway_is_cleared_by_the_next_down(folder: Path) -> None:
    place = folder / "up"
    env = {key: value for key, value in os.environ.items() if not key.startswith("RINGBACK_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", "up", "--folder", str(place), env=env, stdout=asyncio.subprocess.DEVNULL
    )
    file = place / "kafka" / PID_FILE
    try:
        await eventually(lambda: file.exists() and file.read_text(), 60, "the broker has been started")
        process.kill()
        await process.wait()
        pid = json.loads(file.read_text())["pid"]
        assert started_ticks(pid) is not None
    finally:
        assert (await run_local("down", place))[1] == "stopped\n"
    assert started_ticks(pid) is None


async def test_containers_give_the_same_parts_and_are_gone_afterwards(tmp_path: Path) -> None:
    """The second provider in short, on every run; `make test-containers` runs the whole suite on it."""
    if why := unusable_because("containers"):
        pytest.skip(why)
    from tests.infra.containers import ours

    before = ours()
    with kafka_from("containers", tmp_path) as kafka, mongo_from("containers", tmp_path) as mongo:
        await create_topics(kafka.bootstrap_servers, replication=1, topics=[Topic("from-a-container", partitions=1)])
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all") as producer:
            assert (await producer.send_and_wait("from-a-container", b"1")).offset == 0
        client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(mongo.url, io_loop=asyncio.get_running_loop())
        await test_writes_are_majority_and_transactions_work(client.things)
        client.close()
    assert ours() == before
