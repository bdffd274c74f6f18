"""The fence as a part of the service, with a fence that does nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from schemas.envelope import encode
from schemas.leads import LeadOpened
from services.runtime.dead_letters import DEAD_LETTER_FREE, TooManyDeadLetters
from services.runtime.health import Health
from services.sequencer.adapters.fence import UNCHANGED, FenceSettings, Incoming
from services.sequencer.shell import handler
from services.sequencer.worker import Worker
from tests.infra.polling import eventually
from tests.unit.sequencer.build import CADENCES, lead


class StillFence:
    """Keeps what it is given; ready and busy as the test says."""

    def __init__(self, settings: FenceSettings, handle: Any, *, on_error: Any, on_event_done: Any) -> None:
        self.handle, self.on_error, self.on_event_done = handle, on_error, on_event_done
        self.ready, self.behind, self.recoveries = False, {"leads[0]": 2}, 0
        self.stopped = asyncio.Event()

    async def start(self) -> None:
        pass

    async def run(self) -> None:
        await self.stopped.wait()

    async def stop(self) -> None:
        self.stopped.set()

    def is_ready(self) -> bool:
        return self.ready

    def progress_age_s(self) -> float:
        return 0.0

    async def pending(self) -> dict[str, int]:
        return self.behind


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def worker(health: Health) -> Worker:
    settings = FenceSettings("app", ("leads",), "callers", "0", Path("unused"))
    return Worker(settings, handler(CADENCES), health, make_fence=StillFence)  # type: ignore[arg-type]


def fence_of(worker: Worker) -> Any:
    return worker._fence


def record(value: bytes | None = None) -> Incoming:
    wire = encode(lead(LeadOpened, 1))
    return Incoming("leads", 0, 7, 0.0, wire.key, wire.value if value is None else value, wire.headers)


def test_record_becomes_a_row_and_sends_and_the_same_again_writes_no_row(worker: Worker) -> None:
    first = fence_of(worker).handle(record(), None)
    assert [send[0] for send in first.sends] == ["touches", "sequencer-timers"]
    again = fence_of(worker).handle(record(), first.row)
    assert (again.row, again.sends, again.name) == (UNCHANGED, first.sends, "ignored")


def test_record_that_cannot_be_read_is_a_dead_letter_with_its_bytes_and_reason(worker: Worker) -> None:
    fence = fence_of(worker)
    with pytest.raises(Exception, match="lead_id") as error:
        fence.handle(record(b"{}"), None)
    outcome = fence.on_error(record(b"{}"), error.value)
    ((topic, _, value, headers),) = outcome.sends
    assert (topic, value, outcome.row, outcome.name) == ("leads.dlq", b"{}", UNCHANGED, "dead_lettered")
    assert dict(headers)["dlq_offset"] == b"7"


def test_worker_stops_rather_than_empties_a_topic_into_dead_letters(worker: Worker, health: Health) -> None:
    fence = fence_of(worker)
    for _ in range(DEAD_LETTER_FREE):
        fence.on_error(record(), ValueError("ours"))
    with pytest.raises(TooManyDeadLetters, match=r"leads\[0\]"):
        fence.on_error(record(), ValueError("ours"))
    assert "dead letters" in health.not_ready


async def test_worker_is_ready_once_its_rows_are_there_and_idle_once_nothing_is_pending(
    worker: Worker, health: Health
) -> None:
    fence = fence_of(worker)
    await worker.start()
    running = asyncio.create_task(worker.run())
    assert "rows" in health.not_ready
    assert await health.busy_with() == ["rows being read"]
    fence.ready = True
    await eventually(lambda: "rows" not in health.not_ready and "sequencer" in health.beats)
    assert await health.busy_with() == ["2 events in leads[0]"]
    fence.behind = {}
    assert await health.busy_with() == []
    await worker.stop()
    await running
