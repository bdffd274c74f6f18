"""The only module that reads a clock; a rule of ruff's (banned-api) keeps every other one from it.

There are two times. *Virtual* time is that of the business: event times, delays, windows, expiry. *Real* time is that of
the machines: time-outs, leases, latency. With `RINGBACK_CLOCK=system` they are the same. With a file they differ: tests,
replays and chaos runs write `{"virtual_start", "real_start", "rate"}` (`write_clock`), and every process follows it. At
rate 0 virtual time stands still until someone moves it.
"""

import asyncio
import json
import os
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

POLL_S = 0.02
"""How often a sleeper looks again at a clock file: short, so that a moved clock is noticed at once."""


def real_now() -> datetime:
    """Return the machine's time, aware UTC."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Return seconds on a clock that never goes back; only differences mean something."""
    return time.monotonic()


def boottime_s() -> float:
    """Return seconds since boot, time asleep included: a lease must count the time a paused machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock(Protocol):
    """What a service may ask of time."""

    @property
    def is_file(self) -> bool:
        """Whether virtual time comes from a file, so that someone may move it."""

    def now(self) -> datetime:
        """Return virtual time, aware UTC."""

    def real_now(self) -> datetime:
        """Return the machine's time, aware UTC."""

    def monotonic_s(self) -> float:
        """Return real seconds on a clock that never goes back."""

    async def sleep_until(self, when: datetime) -> None:
        """Return once virtual time has reached `when`."""


class SystemClock:
    """Virtual time is the machine's."""

    is_file = False

    def now(self) -> datetime:
        """Return the machine's time, aware UTC."""
        return real_now()

    def real_now(self) -> datetime:
        """Return the machine's time, aware UTC."""
        return real_now()

    def monotonic_s(self) -> float:
        """Return real seconds on a clock that never goes back."""
        return monotonic_s()

    async def sleep_until(self, when: datetime) -> None:
        """Return once `when` is past."""
        while (left := (when - self.now()).total_seconds()) > 0:
            await asyncio.sleep(min(left, 60.0))


@dataclass(frozen=True, slots=True)
class ClockFile:
    """What the file says: at `real_start` it was `virtual_start`, and since then `rate` virtual seconds a second."""

    virtual_start: datetime
    real_start: datetime
    rate: float

    def at(self, real: datetime) -> datetime:
        """Return the virtual time at a real one."""
        return self.virtual_start + timedelta(seconds=(real - self.real_start).total_seconds() * self.rate)


class FileClock:
    """Virtual time follows a file that others may rewrite at any moment."""

    is_file = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._file = self._read()

    def _read(self) -> ClockFile:
        found = os.stat(self._path)
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._stamp:
            self._file = read_clock(self._path)
            self._stamp = stamp
        return self._file

    def now(self) -> datetime:
        """Return virtual time, aware UTC."""
        return self._read().at(real_now())

    def real_now(self) -> datetime:
        """Return the machine's time, aware UTC."""
        return real_now()

    def monotonic_s(self) -> float:
        """Return real seconds on a clock that never goes back."""
        return monotonic_s()

    async def sleep_until(self, when: datetime) -> None:
        """Return once virtual time has reached `when`, however it got there."""
        while self.now() < when:
            await asyncio.sleep(POLL_S)


def read_clock(path: Path) -> ClockFile:
    """Read a clock file.

    Raises:
        ValueError: the file is not a clock file; the message names it and the field.
    """
    try:
        data = json.loads(path.read_text())
        found = ClockFile(
            virtual_start=datetime.fromisoformat(data["virtual_start"]),
            real_start=datetime.fromisoformat(data["real_start"]),
            rate=float(data["rate"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"clock file {path}: is not JSON with virtual_start, real_start (ISO with offset) and rate"
        ) from error
    if found.virtual_start.tzinfo is None or found.real_start.tzinfo is None or found.rate < 0:
        raise ValueError(f"clock file {path}: times need an offset and the rate must not be negative")
    return found


def write_clock(path: Path, virtual: datetime, rate: float) -> None:
    """Set a clock file to `virtual` now, running at `rate` from here on; readers see the old file or the new, never half."""
    data = {"virtual_start": virtual.isoformat(), "real_start": real_now().isoformat(), "rate": rate}
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(fd, "w") as out:
        json.dump(data, out)
    os.replace(name, path)


def clock_from(setting: str) -> Clock:
    """Return the clock a `RINGBACK_CLOCK` setting names: `system`, or the path of a clock file."""
    return SystemClock() if setting == "system" else FileClock(Path(setting))
