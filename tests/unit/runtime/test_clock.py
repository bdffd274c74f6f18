"""Virtual time follows a file that tests and replays move; without one it is the machine's (design 7)."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.runtime.clock import POLL_S, FileClock, SystemClock, clock_from, real_now, write_clock

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


def test_standing_clock_stays_until_someone_moves_it(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    write_clock(path, START, 0)
    clock = FileClock(path)
    assert clock.now() == START
    write_clock(path, START + timedelta(minutes=10), 0)
    assert clock.now() == START + timedelta(minutes=10)


def test_running_clock_is_its_rate_faster_than_real_time(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    write_clock(path, START, 3600)
    clock = FileClock(path)
    before, real = clock.now(), real_now()
    while real_now() - real < timedelta(milliseconds=20):
        pass
    assert clock.now() - before >= timedelta(seconds=72)


async def test_sleeper_wakes_when_the_clock_is_moved_past_its_time(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    write_clock(path, START, 0)
    sleeper = asyncio.create_task(FileClock(path).sleep_until(START + timedelta(days=1)))
    await asyncio.sleep(3 * POLL_S)  # it has looked, and it is not time
    assert not sleeper.done()
    write_clock(path, START + timedelta(days=1), 0)
    async with asyncio.timeout(5):
        await sleeper


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"virtual_start": "x"}', '{"virtual_start": "2026-01-01T00:00:00", "real_start": "2026-01-01T00:00:00", "rate": 1}',
     '{"virtual_start": "2026-01-01T00:00:00+00:00", "real_start": "2026-01-01T00:00:00+00:00", "rate": -1}'],
)  # fmt: skip
def test_broken_clock_file_says_which_file_and_what_it_needs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clock.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"clock file .*clock\.json"):
        FileClock(path)


def test_system_is_the_default_kind() -> None:
    assert isinstance(clock_from("system"), SystemClock)
