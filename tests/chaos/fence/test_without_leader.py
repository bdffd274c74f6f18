"""A partition that the worker writes to has no leader, while it starts and while the group rebalances."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.local.kafka.cluster import LocalCluster
from tests.chaos.fence.harness import PARTITIONS, Rig, WorkerEnded, rig_on
from tests.infra.polling import eventually

pytestmark = pytest.mark.chaos_full

REQUEST_LIMIT_S = 11.0
"""How long a request may take with these options; Faust makes two before it goes on without rows."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("cluster"), brokers=1) as started:
        yield started


async def started_without_a_leader(rig: Rig, cluster: LocalCluster, *options: str) -> list[str]:
    """Start a worker while a partition of its changelog is away for longer than any of its time-outs."""
    worker = rig.worker("a", "--request-s", "1", "--rebalance-s", "6", *options)
    await rig.send(80)
    worker.start()
    await worker.at_end()
    await rig.stop_all()
    await rig.send(80)
    await asyncio.to_thread(cluster.take_leader, rig.changelog, 0)
    try:
        worker.start()
        with suppress(AssertionError, WorkerEnded):  # with the fix it is not ready before its rows are there
            await worker.ready(2 * REQUEST_LIMIT_S + 8)
            await eventually(lambda: worker.status().get("events", 0) > 40, 5, "events are handled")
    finally:
        await asyncio.to_thread(cluster.give_leader)
    ended = worker.ended()
    rig.tend()
    await worker.at_end(90)
    await rig.stop_all()
    return [*([] if ended is None else [f"the worker ended with {ended}"]), *await rig.wrong()]


async def test_worker_waits_for_its_rows_however_long_and_does_not_end(
    cluster: LocalCluster, app: str, tmp_path: Path
) -> None:
    async with rig_on(cluster.bootstrap_servers, app, tmp_path) as rig:
        assert await started_without_a_leader(rig, cluster) == []


async def test_worker_that_goes_on_after_a_time_out_handles_events_without_their_rows(
    cluster: LocalCluster, app: str, tmp_path: Path
) -> None:
    async with rig_on(cluster.bootstrap_servers, app, tmp_path) as rig:
        assert await started_without_a_leader(rig, cluster, "--without", "no-recovery-time-out") != []


async def rebalanced_without_a_leader(rig: Rig, cluster: LocalCluster, *options: str) -> list[str]:
    """A second worker comes and goes while events in flight wait for a partition of the output."""
    first, second = rig.worker("a", *options), rig.worker("b", *options)
    first.start()
    await first.ready()
    await rig.send(80)
    await first.at_end()
    await asyncio.to_thread(cluster.take_leader, rig.out, 0)
    try:
        await rig.send(120)
        await eventually(lambda: first.status().get("standing"), 20, "the partition stands")
        second.start()
        with suppress(AssertionError, WorkerEnded):  # without the fix it is put out
            await second.ready()
            await first.ready()
        await rig.send(80)
        with suppress(AssertionError):
            await eventually(lambda: second.status().get("events", 0) > 0, 20, "the second has its share")
        second.signal(signal.SIGTERM)
        left = await second.wait(40)
        with suppress(AssertionError):
            await eventually(lambda: first.status().get("partitions") == PARTITIONS, 40, "the first has all again")
        ended = first.ended()
    finally:
        await asyncio.to_thread(cluster.give_leader)
    if ended is not None:
        first.start()
    await first.at_end(60)
    first.signal(signal.SIGTERM)
    codes = {"a, meanwhile": ended or 0, "b, told to stop": left, "a, told to stop": await first.wait()}
    return [*(f"{who}: ended with {code}" for who, code in codes.items() if code), *await rig.wrong()]


async def test_rebalance_while_an_output_partition_has_no_leader_ends_no_worker_and_loses_nothing(
    cluster: LocalCluster, app: str, tmp_path: Path
) -> None:
    """What waits is given up with its rows, whoever has the partition next decides anew, and nothing comes late."""
    async with rig_on(cluster.bootstrap_servers, app, tmp_path) as rig:
        assert await rebalanced_without_a_leader(rig, cluster) == []


async def test_rebalance_that_waits_for_a_partition_without_a_leader_puts_workers_out(
    cluster: LocalCluster, app: str, tmp_path: Path
) -> None:
    async with rig_on(cluster.bootstrap_servers, app, tmp_path) as rig:
        assert await rebalanced_without_a_leader(rig, cluster, "--without", "give-up") != []
