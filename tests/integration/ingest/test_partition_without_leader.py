"""One partition of `call-events` has no leader: its events wait on the disk, and nobody else's do."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from deploy.local.kafka.cluster import LocalCluster
from schemas.ids import partition_key
from schemas.topics import PARTITIONS, TOPICS
from services.runtime.clock import monotonic_s
from services.runtime.partitions import partition_of
from services.runtime.topics_admin import create_topics
from tests.infra.polling import eventually
from tests.integration.ingest.running import Running, arrived, ingest, new_sid

NEW_YORK = "+12125550100"


@pytest.fixture
def cluster(provider: str, folder: Path) -> Iterator[LocalCluster]:
    with LocalCluster(folder / "cluster", brokers=1) as found:
        yield found


def number_of(caller: str) -> int:
    return partition_of(partition_key("larkspur", caller), PARTITIONS)


async def ends(running: Running, caller: str) -> tuple[str, float]:
    """Post that a call is over; return its event's id and how long the answer took."""
    call, began = new_sid("CA"), monotonic_s()
    form = {"CallSid": call, "From": caller, "To": NEW_YORK, "CallStatus": "no-answer", "Direction": "inbound"}
    assert (await running.twilio("call-status", form))[0] == 204
    return f"twilio:{call}:ended:no-answer", monotonic_s() - began


async def depth(running: Running) -> float:
    [line] = [line for line in (await running.metrics()).splitlines() if 'spool_events{topic="call-events"}' in line]
    return float(line.rpartition(" ")[2])


async def test_partition_without_a_leader_keeps_its_own_events_on_the_disk_and_nobody_elses(
    cluster: LocalCluster, folder: Path
) -> None:
    servers, env = cluster.bootstrap_servers, {"SPOOL_DIR": str(folder / "spool")}
    await create_topics(servers, replication=1, topics=TOPICS)
    stuck, *others = [f"+1303555{n:04}" for n in range(100, 140)]
    gone = number_of(stuck)
    well = next(caller for caller in others if number_of(caller) != gone)
    waiting: list[str] = []

    async def others_go_on(running: Running) -> None:
        id_, took = await ends(running, well)
        assert took < 1, "it waits for nobody"
        assert id_ in {one.id for one in await arrived(servers, "call-events", [number_of(well)])}
        message = new_sid("SM")
        text = {"MessageSid": message, "From": stuck, "To": NEW_YORK, "Body": "STOP"}
        assert (await running.twilio("sms", text))[0] == 200
        assert f"twilio:{message}:received" in {one.id for one in await arrived(servers, "replies", [gone])}
        assert await running.ops_status("/readyz") == 200

    async with ingest(servers, folder, **env) as running:
        for caller in (stuck, well):
            await ends(running, caller)  # the first of a new broker may take its time
        assert await eventually(partial(_is_empty, running), timeout_s=30, why="Kafka takes all")
        await asyncio.to_thread(cluster.take_leader, "call-events", gone)
        for n in range(5):
            id_, took = await ends(running, stuck)
            waiting.append(id_)
            assert took < (2 if n == 0 else 1), "a second for the first, none for those behind it"
        await others_go_on(running)
        assert await depth(running) == 5
        running.process.kill()
        await running.process.wait()
    async with ingest(servers, folder, **env) as running:  # starts though one partition does not answer
        waiting.append((await ends(running, stuck))[0])
        await others_go_on(running)
        assert await depth(running) == 6
        await asyncio.to_thread(cluster.give_leader)
        assert await eventually(partial(_is_empty, running), timeout_s=30, why="what waited is sent")
        waiting.append((await ends(running, stuck))[0])
    ids = [one.id for one in await arrived(servers, "call-events", [gone])]
    assert [id_ for id_ in dict.fromkeys(ids) if id_ in waiting] == waiting, "all of it, in its order"


async def _is_empty(running: Running) -> bool:
    return await depth(running) == 0
