"""One partition of the broker has no leader: its own callers wait, all others go on, and no process ends for it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.kafka.cluster import LocalCluster
from deploy.local.system import System, fresh_name
from schemas import ids
from schemas.leads import LeadOpened
from schemas.topics import CHANGELOG
from schemas.touches import TimerSet, TouchDue
from services.runtime.clock import monotonic_s, write_clock
from services.runtime.exits import EXIT_STOPPED
from services.runtime.partitions import partition_of
from tests.infra.polling import eventually
from tests.infra.topics import empty_topics
from tests.integration.sequencer.conftest import T0, Rig, read_into

STANDS_S = float(os.environ.get("RINGBACK_LEADERLESS_S", "60"))
"""How long the partition stands in the long form."""
GOES_ON_S = 10.0
"""How long the others may take meanwhile, on a busy machine."""
PARTITIONS = 12
FIRST = ["timer.set call-morning", "touch.due text-now"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("cluster"), brokers=1) as started:
        yield started


class Scene(Rig):
    """A sequencer, callers who call one after the other, and a second sequencer for the rebalance."""

    prefix: str
    callers: int = 0

    def worker(self, name: str) -> System:
        """Return a system for one sequencer."""
        return System(
            self.system.kafka,
            "mongodb://127.0.0.1:1/?directConnection=true",
            self.system.folder / name,
            clock=str(self.clock),
            group_prefix=self.prefix,
            env={"RINGBACK_SEQUENCER_SESSION_TIMEOUT_S": "6"},
        )

    def partition(self, caller: str) -> int:
        """Return the partition of a caller, of every topic."""
        return partition_of(ids.partition_key(self.lender, caller), PARTITIONS)

    async def call(self, count: int) -> list[str]:
        """Let callers call who have not called before."""
        callers = [f"+1212555{n:04}" for n in range(self.callers, self.callers + count)]
        self.callers += count
        await self.producer.send(*(self.lead(LeadOpened, 1, caller) for caller in callers))
        return callers

    async def served(self, callers: list[str], within_s: float = GOES_ON_S) -> None:
        """Wait until all of them are served."""
        await eventually(
            lambda: all(sorted(self.story(caller)) == FIRST for caller in callers), within_s, "served", every_s=0.05
        )

    async def says(self, path: str) -> tuple[int, str]:
        """Return what the operations port answers."""
        async with self.http.get(f"{self.system.running['sequencer'].ops}/{path}") as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def scene(cluster: LocalCluster, folder: Path) -> AsyncIterator[Scene]:
    prefix = f"{fresh_name()}-"
    await empty_topics(cluster.bootstrap_servers, prefix)
    clock = folder / "clock.json"
    write_clock(clock, T0, 0.0)
    system = System(
        cluster.bootstrap_servers,
        "mongodb://127.0.0.1:1/?directConnection=true",
        folder,
        clock=str(clock),
        group_prefix=prefix,
        env={"RINGBACK_SEQUENCER_SESSION_TIMEOUT_S": "6"},
    )
    consumer = AIOKafkaConsumer(
        TouchDue.TOPIC, TimerSet.TOPIC, bootstrap_servers=cluster.bootstrap_servers, fetch_max_wait_ms=20
    )
    await consumer.start()
    for partition in consumer.assignment():
        await consumer.position(partition)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        scene = Scene(system, clock, http, None)
        scene.prefix = prefix
        await scene.producer.start()
        reading = asyncio.create_task(read_into(scene, consumer))
        try:
            await system.start("sequencer")
            yield scene
            assert system.ended() == []
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            await system.stop()
            await asyncio.to_thread(cluster.give_leader)
            await scene.producer.stop()
            await consumer.stop()


@pytest.mark.parametrize(
    ("topic", "stands_s"),
    [
        (CHANGELOG, 1.0),
        pytest.param(CHANGELOG, STANDS_S, marks=pytest.mark.chaos_full),
        pytest.param(TouchDue.TOPIC, STANDS_S, marks=pytest.mark.chaos_full),
    ],
    ids=["changelog", "changelog-long", "touches-long"],
)
async def test_callers_of_other_partitions_are_served_the_partition_is_named_and_sigterm_ends_the_worker(
    scene: Scene, cluster: LocalCluster, topic: str, stands_s: float
) -> None:
    """While it reads its rows a new one waits for that partition too, and names it."""
    name = f"{scene.prefix}{topic}" if topic == CHANGELOG else topic
    deaf = scene.partition("+12125550000")
    await asyncio.to_thread(cluster.take_leader, name, deaf)
    callers = await scene.call(40)
    others = [caller for caller in callers if scene.partition(caller) != deaf]
    await scene.served(others)

    async def named() -> bool:
        status, said = await scene.says("readyz")
        return status == 503 and f"{name}[{deaf}]" in said

    await eventually(named, 15, "readiness names the partition")
    until = monotonic_s() + stands_s
    while monotonic_s() < until:
        more = await scene.call(5)
        callers += more
        await scene.served([caller for caller in more if scene.partition(caller) != deaf])
        assert (await scene.says("healthz"))[0] == 200
    assert all(scene.story(caller) != FIRST for caller in callers if scene.partition(caller) == deaf)
    assert (await scene.system.stop("sequencer"))["sequencer"] == EXIT_STOPPED
    await scene.system.launch("sequencer")
    await eventually(named, 30, "the next one names it too")
    await asyncio.to_thread(cluster.give_leader)
    await scene.served(callers, 30)
    assert scene.system.ended() == []


@pytest.mark.chaos_full
async def test_rebalance_meanwhile_moves_the_partitions_ends_no_worker_and_serves_all_others(
    scene: Scene, cluster: LocalCluster
) -> None:
    """The group would wait for the standing partition until its time-out, put the worker out, and begin again."""
    deaf = scene.partition("+12125550000")
    await asyncio.to_thread(cluster.take_leader, TouchDue.TOPIC, deaf)
    callers = await scene.call(40)
    await scene.served([caller for caller in callers if scene.partition(caller) != deaf])
    second = scene.worker("second")
    try:
        await second.launch("sequencer")
        for _ in range(2):  # the second one comes; it goes again
            more = await scene.call(40)
            callers += more
            await scene.served([caller for caller in more if scene.partition(caller) != deaf], 30)
            assert scene.system.ended() == second.ended() == []
            if second.running:
                await asyncio.sleep(6)  # it holds its share, and maybe the partition that stands
                assert (await second.stop())["sequencer"] == EXIT_STOPPED
        await asyncio.to_thread(cluster.give_leader)
        await scene.served(callers, 30)
    finally:
        await second.stop()
