"""The fence as a part of the service, with a fence that does nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import REGISTRY

from schemas.envelope import encode
from schemas.leads import LeadOpened
from services.runtime.dead_letters import REQUEST_LIMIT_BYTES
from services.runtime.handled import APPLIED, DEAD_LETTERED, ignored
from services.runtime.health import Health
from services.sequencer.adapters.fence import UNCHANGED, FenceSettings, Incoming
from services.sequencer.shell import handler
from services.sequencer.worker import Worker
from tests.infra.polling import eventually
from tests.unit.runtime.build import FakeLetters, PickyProducer
from tests.unit.sequencer.build import CADENCES, lead


class StillFence:
    """Keeps what it is given; ready and busy as the test says."""

    def __init__(
        self, settings: FenceSettings, handle: Any, *, repeat: Any, on_error: Any, on_event_done: Any, on_assigned: Any
    ) -> None:
        self.handle, self.repeat, self.on_error, self.on_event_done = handle, repeat, on_error, on_event_done
        self.on_assigned, self.goes_on = on_assigned, 0
        self.ready, self.behind, self.recoveries = False, {"leads[0]": 2}, 0
        self.stands: dict[str, float] = {}
        self.silent: list[str] = []
        self.broken = self.stuck = False
        self.stopped = asyncio.Event()

    async def start(self) -> None:
        pass

    async def run(self) -> None:
        await self.stopped.wait()

    async def stop(self) -> None:
        self.stopped.set()

    def is_ready(self) -> bool:
        if self.broken:
            raise AttributeError("a defect")
        return self.ready

    def standing(self, after_s: float) -> dict[str, float]:
        return self.stands

    async def recovery_stands(self) -> bool:
        return self.stuck

    def row_digests(self) -> dict[int, str]:
        return {3: "abc"}

    def go_on(self) -> None:
        self.goes_on += 1

    async def pending(self) -> dict[str, int]:
        return self.behind


class Rig:
    """A worker on a fence that does nothing."""

    def __init__(self) -> None:
        self.health = Health()
        self.fences: list[StillFence] = []
        settings = FenceSettings(
            app_id="app", topics=("leads",), table="callers", instance="0", data_dir=Path("unused")
        )
        self.letters = FakeLetters(PickyProducer())
        self.worker = Worker(
            settings=settings,
            handle=handler(CADENCES),
            health=self.health,
            make_fence=self._make,
            letters=self.letters,
        )

    async def assigned(self) -> None:
        """Give it a partition, and wait until it knows that it does not stand."""
        self.fence.on_assigned({TP("leads", 0)})
        await eventually(lambda: self.letters.reads > 0, 2, "the dead-letter topics are read")
        await asyncio.sleep(0)

    def _make(self, *args: Any, **more: Any) -> Any:
        self.fences.append(StillFence(*args, **more))
        return self.fences[-1]

    @property
    def fence(self) -> StillFence:
        """The fence that the worker made."""
        return self.fences[-1]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def record(value: bytes | None = None) -> Incoming:
    wire = encode(lead(LeadOpened, 1))
    return Incoming(
        topic="leads",
        partition=0,
        offset=7,
        timestamp_s=0.0,
        key=wire.key,
        value=wire.value if value is None else value,
        headers=wire.headers,
    )


def counted(why: str) -> float:
    return REGISTRY.get_sample_value("ringback_events_ignored_total", {"topic": "leads", "why": why}) or 0.0


def test_record_becomes_a_row_and_sends_and_the_same_again_writes_no_row(rig: Rig) -> None:
    first = rig.fence.handle(record(), None)
    assert [send[0] for send in first.sends] == ["touches", "sequencer-timers"]
    again = rig.fence.handle(record(), first.row)
    assert (again.row, again.sends, again.handled) == (UNCHANGED, first.sends, ignored("replayed"))
    assert rig.fence.repeat(record().key, first.row) == first.sends


def test_finished_event_that_changed_nothing_is_counted_with_its_reason(rig: Rig) -> None:
    before = counted("replayed")
    rig.fence.on_event_done("leads", ignored("replayed"), 0.1)
    rig.fence.on_event_done("leads", APPLIED, 0.1)
    assert counted("replayed") == before + 1


async def test_record_that_cannot_be_read_is_a_dead_letter_with_its_bytes_and_reason(rig: Rig) -> None:
    await rig.assigned()
    with pytest.raises(Exception, match="lead_id") as error:
        rig.fence.handle(record(b"{}"), None)
    outcome = rig.fence.on_error(record(b"{}"), error.value)
    ((topic, _, value, headers),) = outcome.sends
    assert (topic, value, outcome.row, outcome.handled) == ("leads.dlq", b"{}", UNCHANGED, DEAD_LETTERED)
    assert dict(headers)["dlq_offset"] == b"7"


async def test_record_too_large_for_a_dead_letter_is_one_without_its_value(rig: Rig) -> None:
    """What no producer may send would end this process, and each one after it, at the same event."""
    await rig.assigned()
    outcome = rig.fence.on_error(record(b"x" * (REQUEST_LIMIT_BYTES - 100)), ValueError("no JSON"))
    ((topic, _, value, headers),) = outcome.sends
    assert (topic, value) == ("leads.dlq", b"")
    assert ("dlq_value_left_out", str(REQUEST_LIMIT_BYTES - 100).encode()) in headers


async def test_worker_is_ready_once_its_rows_are_there_and_idle_once_nothing_is_pending(rig: Rig) -> None:
    await rig.worker.start()
    assert "rows" in rig.health.not_ready
    await rig.worker.watch.round()
    assert "rows" in rig.health.not_ready
    assert await rig.health.busy_with() == ["rows being read"]
    rig.fence.ready = True
    await rig.worker.watch.round()
    assert "rows" not in rig.health.not_ready
    assert await rig.health.busy_with() == ["2 events in leads[0]"]
    rig.fence.behind = {}
    assert await rig.health.busy_with() == []


async def test_partition_that_takes_nothing_makes_the_worker_unready_by_name_and_never_dead(rig: Rig) -> None:
    """Liveness never ends a process for a dependency's absence."""
    rig.fence.stands = {"touches[3]": 61.0}
    await rig.worker.watch.round()
    assert rig.health.not_ready["partitions"] == "no acknowledgement from touches[3] for 61 s"
    assert "rows" in rig.health.beats, "no beat depends on it"
    rig.fence.stands = {}
    await rig.worker.watch.round()
    assert "partitions" not in rig.health.not_ready


async def test_changelog_partition_that_does_not_answer_is_named_while_rows_are_read(rig: Rig) -> None:
    rig.fence.silent = ["callers-changelog[3]"]
    await rig.worker.watch.round()
    assert rig.health.not_ready["rows"].endswith("no answer from callers-changelog[3]")


@pytest.mark.parametrize("stuck", [True, False])
async def test_recovery_that_stands_still_though_kafka_answers_gives_no_beat(rig: Rig, stuck: bool) -> None:
    """Only another process goes on then; while Kafka does not answer, another one would not get further."""
    rig.fence.stuck = stuck
    await rig.worker.watch.round()
    assert ("rows" not in rig.health.beats) is stuck
    rig.fence.ready = True
    await rig.worker.watch.round()
    assert "rows" in rig.health.beats


async def test_look_at_the_fence_that_fails_is_counted_and_the_next_look_works(rig: Rig) -> None:
    """A defect in looking must not end the service, nor the looking."""
    rig.fence.broken = True
    watching = asyncio.create_task(rig.worker.watch.run())
    await eventually(lambda: "fence" in rig.health.not_ready)
    rig.fence.broken = False
    await eventually(lambda: "fence" not in rig.health.not_ready)
    await rig.worker.watch.stop()
    await watching


async def test_worker_tells_hashes_of_its_rows_and_nothing_else_of_them() -> None:
    rig = Rig()
    await rig.worker.start()
    assert {name: told() for name, told in rig.health.states.items()} == {"rows": {3: "abc"}}
