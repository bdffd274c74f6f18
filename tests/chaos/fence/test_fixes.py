"""Each fix that the fence makes to Faust: the smallest scene that needs it, with the fix (right) and without it (wrong).

The second half gives the first its worth: a scene that also passes without the fix proves nothing. What is at stake is
that no event is lost and no old row comes back (ADR 6; the one callback task of fact Q22 depends on both).
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.fence.harness import SESSION_S, Rig, Worker, rig_on
from tests.infra.polling import eventually
from tests.infra.providers import Kafka

Scene = Callable[[Rig, tuple[str, ...]], Awaitable[list[str]]]


async def killed_with_an_event_in_flight(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """Kill -9 while an event is being handled; start again on a broker that takes its time."""
    worker = rig.worker("a", "--pace-s", "0.1", "--slow-seek-s", "1.5", *options)
    await rig.send(90)
    for _ in range(2):
        worker.start()
        await worker.ready()
        with suppress(AssertionError):  # without the fix it may stand still for good
            await eventually(lambda: worker.status().get("events", 0) >= 3, 5, "some events are finished")
        worker.end()
    worker.start("--pace-s", "0.05")
    await rig.all_out(limit_s=10)
    await rig.stop_all()
    return await rig.wrong()


async def changelog_late_and_killed(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """The broker takes the changelog late; kill -9 before that, and after the offsets are committed if they will be."""
    worker = rig.worker("a", *options)
    await rig.send(40)
    worker.start("--slow-changelog-s", "9")
    await eventually(lambda: worker.status().get("rows") == 40, 40, "the events are handled")
    for _ in range(20):
        await asyncio.sleep(0.15)  # three commit intervals in all
        if await rig.committed() == 40:
            break
    worker.end()
    worker.start()
    await worker.at_end()
    await rig.stop_all()
    return await rig.wrong()


async def one_send_refused(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """The broker refuses one output as too large; it stops refusing before the worker is started again."""
    worker = rig.worker("a", *options)
    await rig.send(10)
    await rig.send(1, keys=["key-3"], output_bytes=8000)
    await rig.send(10)
    worker.start()

    async def over() -> bool:
        return worker.ended() is not None or await rig.committed() == 21

    await eventually(over, 40, "it has ended, or committed all")
    ended = worker.ended()
    worker.end()
    await rig.allow_large_outputs()
    worker.start()
    await worker.at_end()
    await rig.stop_all()
    return [*([] if ended == 70 else [f"the worker ended with {ended}, not 70"]), *await rig.wrong()]


async def paused_past_its_session(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """SIGSTOP a worker with events in hand for longer than its session; another takes over; the first wakes up."""
    slow, other = rig.worker("a", "--pace-s", "0.01", *options), rig.worker("b", *options)
    slow.start()
    await slow.ready()
    await rig.send(600)
    await _more_events(slow, 100)
    slow.signal(signal.SIGSTOP)
    other.start()
    await other.ready(limit_s=60)
    assert await rig.all_out(), "the other one has done everything"
    slow.signal(signal.SIGCONT)
    with suppress(AssertionError):  # without the fix it goes on
        await eventually(lambda: slow.ended() is not None, SESSION_S, "the paused worker ends")
    await rig.stop_all()
    ended = slow.exits[-1]
    return [*([] if ended == 71 else [f"the paused worker ended with {ended}, not 71"]), *await rig.wrong()]


async def rebalanced_after_many_writes(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """A second worker comes; what the first one wrote itself and keeps must not be read again."""
    first, second = rig.worker("a", *options), rig.worker("b", *options)
    first.start()
    await first.ready()
    await rig.send(4000)
    assert await rig.all_out()
    before = first.status()
    second.start()
    await second.ready()
    await _recovered_again(first, before["recoveries"])
    read = (await first.ready())["recovered"] - before["recovered"]
    await rig.send(200)
    await rig.all_out(limit_s=15)
    await rig.stop_all()
    return [*([f"{read} rows read again"] if read else []), *await rig.wrong()]


async def gave_partitions_away(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """A second worker comes and takes partitions; their rows must not stay where they will grow old."""
    first, second = rig.worker("a", *options), rig.worker("b", *options)
    first.start()
    await first.ready()
    await rig.send(200)
    assert await rig.all_out()
    before = first.status()
    second.start()
    await second.ready()
    await _recovered_again(first, before["recoveries"])
    held = (await first.ready())["rows"], (await second.ready())["rows"]
    await rig.stop_all()
    return [*([] if sum(held) == rig.keys else [f"the workers hold {held} rows of {rig.keys}"]), *await rig.wrong()]


async def outputs_late_and_killed(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """Two events of each key at once; the broker takes outputs late and rows at once; kill -9 in between."""
    worker = rig.worker("a", *options)
    await rig.send(80)
    worker.start("--slow-output-s", "9")
    await eventually(lambda: worker.status().get("rows") == 40, 40, "the events are handled")
    await asyncio.sleep(1)  # the time in which the second event of a key is handled where nothing holds it back
    worker.end()
    worker.start()
    await worker.at_end()
    await rig.stop_all()
    return await rig.wrong()


async def changelog_late_and_outputs_read(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """The broker takes rows late. Whoever reads the outputs acts on them, so that none may be there before its row."""
    worker = rig.worker("a", *options)
    await rig.send(40)
    worker.start("--slow-changelog-s", "9")
    await eventually(lambda: worker.status().get("rows") == 40, 40, "the events are handled")
    await asyncio.sleep(1)  # the time in which outputs come where nothing holds them back
    worker.end()
    early = await rig.outputs()
    assert await rig.rows() == {}, "no row has arrived: the scene is what it should be"
    worker.start()
    await worker.at_end()
    await rig.stop_all()
    return [*([f"{len(early)} outputs before their rows"] if early else []), *await rig.wrong()]


async def row_there_and_outputs_not(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """Kill -9 between the rows and the outputs; then another topic's event of a key is read before the one that comes again."""
    worker = rig.worker("a", *options)
    keys = [f"key-{i}" for i in range(rig.keys) if rig.source_of(f"key-{i}") == rig.sources[0]]
    await rig.send(len(keys), keys=keys)
    worker.start("--slow-output-s", "9")
    await eventually(lambda: worker.status().get("rows") == len(keys), 40, "the events are handled")

    async def written() -> bool:
        return len(await rig.rows()) == len(keys)

    await eventually(written, 8, "the rows are in the changelog")
    worker.end()
    # The last key's event stands first in its topic: topics are read side by side.
    await rig.send(len(keys), keys=reversed(keys), other_topic=True)
    worker.start()
    await worker.at_end()
    await rig.stop_all()
    return await rig.wrong()


async def rebalanced_while_waiting_for_events(rig: Rig, options: tuple[str, ...]) -> list[str]:
    """A second worker comes while the first waits for events in vain, and then they come: a fetch outlives a rebalance."""
    first, second = (rig.worker(name, "--slow-seek-s", "1.5", "--slow-fetch-s", "0.8", *options) for name in ("a", "b"))
    first.start()
    await first.ready()
    feeding = asyncio.create_task(rig.feed(200))
    second.start()
    await second.ready()
    rig.fed.set()
    await feeding
    await rig.all_out(limit_s=10)
    await rig.stop_all()
    return await rig.wrong()


async def _more_events(worker: Worker, count: int) -> None:
    await eventually(
        lambda: worker.status().get("events", 0) >= count, 40, f"{worker.name} has finished {count} events"
    )


async def _recovered_again(worker: Worker, than: int) -> None:
    await eventually(
        lambda: worker.status().get("recoveries", 0) > than, 40, f"{worker.name} has been through a rebalance"
    )


SCENES: dict[str, Scene] = {
    "startup-order": killed_with_an_event_in_flight,
    "durable-changelog": changelog_late_and_killed,
    "fail-fast": one_send_refused,
    "lease": paused_past_its_session,
    "one-per-key": outputs_late_and_killed,
    "row-first": changelog_late_and_outputs_read,
    "effects-again": row_there_and_outputs_not,
    "offsets-report": rebalanced_after_many_writes,
    "no-fetch-while-seeking": rebalanced_while_waiting_for_events,
    "forget": gave_partitions_away,
}
RED_TRIES = 3
CONFIGS = {"fail-fast": {"max.message.bytes": "4000"}}


@pytest.mark.parametrize("fix", SCENES)
async def test_worker_with_the_fix_comes_out_right(fix: str, kafka: Kafka, app: str, tmp_path: Path) -> None:
    async with rig_on(kafka.bootstrap_servers, app, tmp_path, **CONFIGS.get(fix, {})) as rig:
        assert await SCENES[fix](rig, ()) == []


@pytest.mark.parametrize("fix", SCENES)
async def test_worker_without_the_fix_comes_out_wrong(fix: str, kafka: Kafka, app: str, tmp_path: Path) -> None:
    # What goes wrong is a race: a scene provokes it nearly every time, and once is proof enough.
    for attempt in range(RED_TRIES):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        async with rig_on(kafka.bootstrap_servers, f"{app}-{attempt}", folder, **CONFIGS.get(fix, {})) as rig:
            if await SCENES[fix](rig, ("--without", fix)):
                return
    pytest.fail(f"the scene passes {RED_TRIES} times without {fix}: it proves nothing")
