"""What the fence does with events it can't handle, topics it can't use, and a polite signal."""

import asyncio
import signal
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from services.runtime.exits import EXIT_CONFIGURATION, EXIT_LEASE_LOST
from tests.chaos.fence.harness import PARTITIONS, SESSION_S, rig_on
from tests.infra.polling import eventually
from tests.infra.providers import Kafka


async def test_events_nobody_can_handle_become_dead_letters_and_good_neighbours_are_handled(
    kafka: Kafka, app: str, tmp_path: Path
) -> None:
    async with rig_on(kafka.bootstrap_servers, app, tmp_path) as rig:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
        await producer.start()
        await rig.send(40)
        bad = [(b"key-1", b"\xff\x00"), (b"key-1", None), (b"key-1", b"{}"), (None, b'{"id": "x", "seq": 1}')]
        for key, value in bad:
            await producer.send_and_wait(rig.sources[0], value, key=key, headers=[("kept", b"yes")], partition=0)
        await producer.stop()
        await rig.send(40)
        worker = rig.worker("a")
        worker.start()
        await worker.at_end()
        assert await rig.stop_all() == [0]
        assert await rig.wrong() == []
        letters = await rig.read(f"{rig.sources[0]}.dlq")
        assert sorted(letter.value for letter in letters) == sorted(value or b"" for _, value in bad)
        headers = [dict(letter.headers) for letter in letters]
        assert {found["kept"] for found in headers} == {b"yes"}
        assert {found["dlq_topic"] for found in headers} == {rig.sources[0].encode()}
        assert all(found["dlq_reason"] and found["dlq_offset"] for found in headers)


async def test_topics_with_unequal_partition_counts_are_refused_with_the_reason(
    kafka: Kafka, app: str, tmp_path: Path
) -> None:
    async with rig_on(kafka.bootstrap_servers, app, tmp_path) as rig:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        await admin.start()
        await admin.create_partitions({rig.sources[1]: NewPartitions(6)})
        await admin.close()
        worker = rig.worker("a")
        worker.start()
        assert await worker.wait() == 1
        assert "partition counts must be equal" in worker.tail()


async def test_worker_told_to_stop_under_load_leaves_with_0_and_repeats_nothing(
    kafka: Kafka, app: str, tmp_path: Path
) -> None:
    async with rig_on(kafka.bootstrap_servers, app, tmp_path) as rig:
        await rig.send(400)
        worker = rig.worker("a", "--pace-s", "0.01")
        for _ in range(3):
            worker.start()
            await worker.ready()
            worker.signal(signal.SIGTERM)
            assert await worker.wait(limit_s=10) == 0
        worker.start()
        await worker.at_end()
        assert await rig.stop_all() == [0]
        assert await rig.wrong() == []
        assert sum(len(ids) for ids in (await rig.outputs()).values()) == 400, "SIGTERM commits what is finished"


async def test_workers_without_names_share_the_partitions_and_hand_them_over_at_once_when_told_to_stop(
    kafka: Kafka, app: str, tmp_path: Path
) -> None:
    """With a name that both share, they would put each other out for ever."""
    async with rig_on(kafka.bootstrap_servers, app, tmp_path) as rig:
        workers = [rig.worker("a"), rig.worker("b")]
        for worker in workers:
            worker.instance = ""
            worker.start()
        await eventually(lambda: [worker.status().get("partitions") for worker in workers] == [2, 2], 60, "shared")
        workers[0].signal(signal.SIGTERM)
        assert await workers[0].wait() == 0
        await eventually(lambda: workers[1].status().get("partitions") == PARTITIONS, SESSION_S * 0.8, "handed over")
        await rig.send(80)
        await workers[1].at_end()
        workers[1].signal(signal.SIGTERM)
        assert await workers[1].wait() == 0
        assert await rig.wrong() == []


async def test_newer_of_two_workers_of_one_name_ends_once_with_the_name_and_the_older_goes_on(
    kafka: Kafka, app: str, tmp_path: Path
) -> None:
    """The older one is put out, is started again, and so finds the newer one, which must not come back."""
    async with rig_on(kafka.bootstrap_servers, app, tmp_path) as rig:
        older, newer = rig.worker("a", "--clash-s", "1"), rig.worker("b")
        newer.instance = "a"
        older.start()
        await older.ready()
        await asyncio.sleep(1)  # it is the older one
        newer.start()
        assert await older.wait(60) == EXIT_LEASE_LOST, older.tail()
        older.start()
        assert await newer.wait(60) == EXIT_CONFIGURATION, newer.tail()
        assert "another worker has the name 'a'" in newer.tail()
        await rig.send(40)
        await older.at_end()
        older.signal(signal.SIGTERM)
        assert await older.wait() == 0
        assert await rig.wrong() == []
