"""Liveness follows progress: a long round shows it at each of its items, not only when it begins."""

import pytest

from services.runtime.health import STALLED_AFTER_S, Health
from services.runtime.rounds import Rounds


class Long(Rounds):
    """Has three items, each of which takes its time."""

    name = "long"
    period_s = 60.0

    def __init__(self, health: Health) -> None:
        super().__init__(health)
        self.health, self.beats = health, 0

    async def round(self) -> None:
        await self.each(range(3), self._work, key=str)

    async def _work(self, item: int) -> None:
        self.beats += self.health.beats.pop(self.name, None) is not None


async def test_round_with_many_items_beats_for_each_of_them() -> None:
    long = Long(Health())
    await long.round()
    assert long.beats == 3


def test_loop_without_a_beat_for_a_minute_is_stalled_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("services.runtime.health.monotonic_s", lambda: now)
    health = Health()
    health.beat("stands")
    health.beat("goes on")
    now = STALLED_AFTER_S + 1
    health.beat("goes on")
    assert health.stalled() == {"stands": STALLED_AFTER_S + 1}
