"""A recovery that gets nowhere although the broker answers ends by liveness, and for no other reason."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from services.runtime.health import STALLED_AFTER_S, Health
from services.runtime.offsets import LIMIT_S, Ends
from services.sequencer.adapters.fence import FenceSettings
from services.sequencer.adapters.fence.status import Status
from services.sequencer.worker import ASK_S, Watch

ROWS = "app-rows-changelog"


class Broker(Ends):
    """Says where the changelog's partitions end, but for those without a leader; notes which it was asked about."""

    def __init__(self) -> None:
        super().__init__("nowhere:1")
        self.deaf: set[int] = set()
        self.asked: set[tuple[str, int]] = set()

    async def of(
        self, partitions: Collection[TopicPartition], limit_s: float = LIMIT_S
    ) -> Mapping[TopicPartition, int | None]:
        self.asked |= {(one.topic, one.partition) for one in partitions}
        return {one: None if one.partition in self.deaf else 7 for one in partitions}


class Reading(Status):
    """A fence that reads the rows of two partitions."""

    def __init__(self) -> None:
        self.settings = FenceSettings(
            app_id="app", topics=("leads", "ticks"), table="rows", instance=None, data_dir=Path("unused")
        )
        self.broker = self._ends = Broker()
        self._read_before, self._stopping = -1, False
        self.silent, self.windows, self.recoveries = [], {}, 0
        self.table, self.app = SimpleNamespace(recovered=0), SimpleNamespace(consumer=self)
        self.joined = True

    def assignment(self) -> set[TP]:
        if not self.joined:
            raise ConsumerNotStarted
        return {TP(topic, partition) for topic in ("leads", "ticks", ROWS) for partition in (0, 1)}


class Rig:
    """The sequencer's watch on that fence, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s, self.health, self.fence = 1000.0, Health(not_ready={}), Reading()
        fence: Any = self.fence
        self.watch = Watch(fence, self.health)

    async def go_on(self, seconds: float, *, rows_every_s: float | None = None) -> None:
        """Look every second; rows come as often as the test says."""
        for second in range(1, int(seconds) + 1):
            self.now_s += 1
            if rows_every_s and second % rows_every_s == 0:
                self.fence.table.recovered += 1
            await self.watch.round()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    rig = Rig()
    monkeypatch.setattr("services.sequencer.worker.monotonic_s", lambda: rig.now_s)
    monkeypatch.setattr("services.runtime.health.monotonic_s", lambda: rig.now_s)
    rig.health.beat("rows")
    return rig


async def test_recovery_that_reads_nothing_for_a_minute_while_every_changelog_partition_answers_is_stalled(
    rig: Rig,
) -> None:
    await rig.go_on(STALLED_AFTER_S)
    assert rig.health.stalled() == {}
    await rig.go_on(2 * ASK_S)
    assert "rows" in rig.health.stalled()
    assert rig.fence.broker.asked == {(ROWS, 0), (ROWS, 1)}, "those of the assignment, and of the changelog"


async def test_recovery_that_waits_for_a_changelog_partition_without_a_leader_is_alive_and_names_it(rig: Rig) -> None:
    """Another process would get no further; it is the broker that must come back."""
    rig.fence.broker.deaf = {1}
    await rig.go_on(5 * STALLED_AFTER_S)
    assert rig.health.stalled() == {}
    assert rig.health.not_ready["rows"].endswith(f"; no answer from {ROWS}[1]")


async def test_recovery_that_goes_on_slowly_is_alive(rig: Rig) -> None:
    await rig.go_on(5 * STALLED_AFTER_S, rows_every_s=STALLED_AFTER_S - 2 * ASK_S)
    assert rig.health.stalled() == {}


async def test_worker_without_an_assignment_waits_for_its_group_and_is_alive(rig: Rig) -> None:
    rig.fence.joined = False
    await rig.go_on(5 * STALLED_AFTER_S)
    assert rig.health.stalled() == {}
