"""Liveness by progress, readiness by dependencies, and whether a service has nothing left to do."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from services.runtime.clock import monotonic_s

STALLED_AFTER_S = 60.0
"""A loop without a beat for this long is stuck; the longest single piece of work takes 10 s (a request to Twilio)."""


@dataclass
class Health:
    """What `/healthz`, `/readyz` and `/idle` answer from."""

    not_ready: dict[str, str] = field(default_factory=lambda: {"start": "starting"})
    beats: dict[str, float] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict, init=False)
    """What an operator should put right although the service works: `/readyz` shows it."""
    idle_checks: list[Callable[[], Awaitable[str | None]]] = field(default_factory=list)
    states: dict[str, Callable[[], object]] = field(default_factory=dict, init=False)
    """What `/state` answers while the clock is a file, for whoever compares what instances hold; never a person's data."""
    _waiting: dict[str, set[object]] = field(default_factory=dict, init=False, repr=False)

    def ready(self, part: str) -> None:
        """Say that a part works (again)."""
        self.not_ready.pop(part, None)

    def unready(self, part: str, why: str) -> None:
        """Say that a part is away, and why."""
        self.not_ready[part] = why

    @contextmanager
    def waiter(self, part: str) -> Iterator[Callable[[str], None]]:
        """Yield what says that a part is away. Several may wait for it: it is back once the last of them waits no more."""
        waiting, me = self._waiting.setdefault(part, set()), object()

        def away(why: str) -> None:
            waiting.add(me)
            self.unready(part, why)

        try:
            yield away
        finally:
            if me in waiting:
                waiting.remove(me)
                if not waiting:
                    self.ready(part)

    def beat(self, loop: str) -> None:
        """Say that a loop makes progress: that, not a process that exists, is liveness."""
        self.beats[loop] = monotonic_s()

    def stalled(self) -> dict[str, float]:
        """Return the loops without a beat for too long, with the seconds since their last."""
        now = monotonic_s()
        return {loop: round(now - at, 1) for loop, at in self.beats.items() if now - at > STALLED_AFTER_S}

    async def busy_with(self) -> list[str]:
        """Return what is still under way; empty means idle."""
        found = [await check() for check in self.idle_checks]
        return [reason for reason in found if reason]
