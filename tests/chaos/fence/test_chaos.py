"""Everything at once, many times: two workers killed, stopped, paused and rebalanced under load, and the broker killed.

At the end the rows are exact and every output is there. `make chaos-full` runs it long (RINGBACK_CHAOS_ROUNDS says how long); the seed is
printed, and RINGBACK_CHAOS_SEED repeats one.
"""

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from services.runtime.exits import EXIT_LEASE_LOST, EXIT_STOP_HUNG
from tests.chaos.fence.harness import SESSION_S, Rig, WorkerEnded, rig_on

ROUNDS = int(os.environ.get("RINGBACK_CHAOS_ROUNDS", "12"))
RATE = 150.0
BROKER_AWAY_S = 4.0
ACTS = ("kill", "kill", "terminate", "pause short", "pause long", "leave and come")


async def _act(rig: Rig, dice: random.Random, what: str, story: list[str]) -> None:
    worker = dice.choice(rig.workers)
    story.append(f"{what} {worker.name}")
    if what == "kill":
        worker.signal(signal.SIGKILL)
        await worker.wait()
        worker.start()
    elif what == "terminate":
        await worker.listens()
        if worker.ended() is not None:
            rig.tend()
            return
        worker.signal(signal.SIGTERM)
        code = await worker.wait()
        # A worker whose lease ran out while it waited for the broker ends its own way.
        assert code in (0, EXIT_LEASE_LOST, EXIT_STOP_HUNG), f"SIGTERM ended {worker.name} with {code}: {worker.tail()}"
        worker.start()
    elif what == "leave and come":
        worker.signal(signal.SIGKILL)
        await worker.wait()
        await asyncio.sleep(SESSION_S + dice.uniform(1, 2))  # the other one takes over all partitions
        worker.start()
    else:
        with suppress(AssertionError, WorkerEnded):  # it may just have ended by itself
            await worker.ready(20)  # a pause before it has joined would show nothing
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(dice.uniform(1, SESSION_S / 2) if what == "pause short" else SESSION_S + dice.uniform(2, 4))
        worker.signal(signal.SIGCONT)
    await asyncio.sleep(dice.uniform(0.2, 3.0))
    rig.tend()


async def _storm(rig: Rig, rounds: int, seed: int, broker: LocalKafka | None = None) -> None:
    dice, story = random.Random(seed), [f"seed {seed}"]
    for name in ("a", "b"):
        rig.worker(name, "--pace-s", "0.002").start()
    for worker in rig.workers:
        await worker.ready()
    feeding = asyncio.create_task(rig.feed(RATE))
    acts = [*ACTS, *(dice.choice(ACTS) for _ in range(max(0, rounds - len(ACTS))))][:rounds]
    dice.shuffle(acts)
    for i, what in enumerate(acts):
        if broker is not None and i == len(acts) // 2:
            story.append("kill the broker")
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(BROKER_AWAY_S)
            await asyncio.to_thread(broker.start)
        await _act(rig, dice, what, story)
    rig.fed.set()
    await feeding
    complete = await rig.all_out(limit_s=90)
    codes = await rig.stop_all()
    exits = {worker.name: worker.exits for worker in rig.workers}
    events = sum(len(ids) for ids in rig.sent.values())
    copies = sum(len(ids) for ids in (await rig.outputs()).values())
    print(f"{story}; exits {exits}; {events} events, {copies - events} repeats")
    assert await rig.wrong() == [], story
    assert complete
    assert set(codes) <= {0, EXIT_LEASE_LOST, EXIT_STOP_HUNG}, story


async def test_workers_killed_paused_and_rebalanced_under_load_lose_nothing(
    kafka_of_its_own: LocalKafka, app: str, tmp_path: Path
) -> None:
    seed = int(os.environ.get("RINGBACK_CHAOS_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    async with rig_on(kafka_of_its_own.bootstrap_servers, app, tmp_path) as rig:
        await _storm(rig, min(ROUNDS, 12), seed, kafka_of_its_own)


@pytest.mark.chaos_full
@pytest.mark.timeout(0)
async def test_long_storm_loses_nothing(kafka_of_its_own: LocalKafka, app: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("RINGBACK_CHAOS_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    for i in range(0, ROUNDS, 20):
        (tmp_path / str(i)).mkdir()
        async with rig_on(kafka_of_its_own.bootstrap_servers, f"{app}-{i}", tmp_path / str(i)) as rig:
            await _storm(rig, 20, seed + i, kafka_of_its_own)
