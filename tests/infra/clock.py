"""The one fake clock: virtual time, the machine's time and its monotonic clock stand still until a test moves them."""

import asyncio
from datetime import UTC, datetime, timedelta

MONDAY_3_PM_NY = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
REAL = datetime(2030, 1, 1, tzinfo=UTC)
MONO_S = 1e9
"""Far beyond any machine's own, so that a deadline taken from this clock is never past by accident."""


class FakeClock:
    """A `services.runtime.clock.Clock` for tests, moved by hand.

    The two times start years apart, so that code which takes one for the other cannot pass by accident.

    Args:
        virtual: where virtual time starts, aware UTC.
        real: where the machine's time starts, aware UTC.
        mono_s: where the monotonic clock starts.
        is_file: what the code under test is told; True means that someone may move virtual time at any moment.
    """

    def __init__(
        self,
        virtual: datetime = MONDAY_3_PM_NY,
        *,
        real: datetime = REAL,
        mono_s: float = MONO_S,
        is_file: bool = True,
    ) -> None:
        self._virtual, self.real, self.mono_s, self.is_file = virtual, real, mono_s, is_file
        self._moved = asyncio.Event()

    @property
    def virtual(self) -> datetime:
        """Virtual time; setting it wakes those whose time has come."""
        return self._virtual

    @virtual.setter
    def virtual(self, when: datetime) -> None:
        self._virtual = when
        self._moved.set()
        self._moved = asyncio.Event()

    def move(self, seconds: float) -> None:
        """Let all three go on by so many seconds."""
        self.move_real(seconds)
        self.virtual += timedelta(seconds=seconds)

    def move_real(self, seconds: float) -> None:
        """Let the machine's two clocks go on, while virtual time stands."""
        self.real += timedelta(seconds=seconds)
        self.mono_s += seconds

    def now(self) -> datetime:
        """Return virtual time, aware UTC."""
        return self._virtual

    def real_now(self) -> datetime:
        """Return the machine's time, aware UTC."""
        return self.real

    def monotonic_s(self) -> float:
        """Return seconds that only differences of mean something."""
        return self.mono_s

    async def sleep_until(self, when: datetime) -> None:
        """Return once a test has moved virtual time to `when` or past it."""
        while self._virtual < when:
            await self._moved.wait()
