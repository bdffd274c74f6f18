"""Sending a log's webhooks and moving the clock: at a steady rate, or from one event to the next as fast as they are done."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import aiohttp
from twilio.request_validator import RequestValidator

from services.cli.calllog import LoggedCall
from services.cli.exits import Cannot, first_and_last, shortened
from services.cli.replaying.webhooks import Webhook, afterwards, dialled_legs, voice
from services.runtime.clock import FileClock, monotonic_s, write_clock

IDLE_LIMIT_S = 60.0
"""A system that is still busy this long after one fact is stuck; the error says what it is busy with."""
ASK_AGAIN_S = 0.015
"""Asking costs every process a little; asking without a pause would slow down what is being waited for."""
TRIES = 5
LEAD_IN = timedelta(minutes=1)


class ReplayError(Cannot):
    """The replay cannot go on; says what the system answered."""


class Target(Protocol):
    """What is being played to."""

    @property
    def ingest_url(self) -> str:
        """Where webhooks go."""

    async def busy_with(self, http: aiohttp.ClientSession) -> list[str]:
        """Return what is still under way; empty means idle."""

    def ended(self) -> list[str]:
        """Return the processes that have ended by themselves."""

    async def next_due(self, http: aiohttp.ClientSession) -> datetime | None:
        """Return the earliest time at which the system, or a simulated borrower, will do something by itself."""


@dataclass(kw_only=True)
class Replay:
    """One run. `speed` is virtual seconds per real second; with None the next step follows as soon as the system is idle."""

    target: Target
    clock_path: Path
    account_sid: str
    auth_token: str
    speed: float | None = None
    on_call: Callable[[LoggedCall], None] = lambda _: None
    on_clock: Callable[[datetime], None] = lambda _: None
    sent: int = 0
    _heap: list[Webhook] = field(default_factory=list)
    _now: datetime | None = None

    def __post_init__(self) -> None:
        self._validator = RequestValidator(self.auth_token)

    async def run(self, calls: Iterable[LoggedCall], until: datetime) -> None:
        """Play calls, then let the follow-up run until nothing is due any more before `until` (virtual).

        Raises:
            ReplayError: a webhook was refused, a process ended, or the system does not get idle.
        """
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            if self.speed is None:
                await self._leap(http, calls, until)
            else:
                await self._stroll(http, calls, self.speed)

    async def _leap(self, http: aiohttp.ClientSession, calls: Iterable[LoggedCall], until: datetime) -> None:
        rest = iter(calls)
        upcoming = next(rest, None)
        # `awaited`: what was sent may cause a text, so it is waited for. `sent`: something was sent since the last wait,
        # and must be known everywhere before anything falls due.
        awaited, sent = True, True
        due: datetime | None = None
        while True:
            if awaited:
                await self._idle(http)
                awaited = sent = False
                due = await self.target.next_due(http)  # nothing that is not waited for makes anything due sooner
            facts = [self._heap[0].at] if self._heap else []
            if upcoming is not None:
                facts.append(upcoming.started_at)
            if due is not None and due > until and not facts:
                due = None
            if due is not None and sent and due <= min(facts, default=due):
                awaited = True
                continue
            moves = [*facts, *([due] if due is not None else [])]
            if not moves:
                return
            at = min(moves)
            self._move(at)
            if due is not None and due <= at:
                awaited = True
                # A sleeper looks at the clock file every few milliseconds; the second idle look covers that.
                continue
            while upcoming is not None and upcoming.started_at <= at:
                await self._open(http, upcoming)
                upcoming = next(rest, None)
            while self._heap and self._heap[0].at <= at:
                hook = heapq.heappop(self._heap)
                await self._post(http, hook)
                awaited = awaited or hook.decides
            sent = True

    async def _stroll(self, http: aiohttp.ClientSession, calls: Iterable[LoggedCall], speed: float) -> None:
        clock = FileClock(self.clock_path)
        started = False
        async for at, work in self._in_order(http, calls):
            if not started:
                write_clock(self.clock_path, at, speed)
                started = True
            await clock.sleep_until(at)
            self.on_clock(at)
            await work()
        await self._idle(http)

    async def _in_order(
        self, http: aiohttp.ClientSession, calls: Iterable[LoggedCall]
    ) -> AsyncIterator[tuple[datetime, Callable[[], "asyncio.Future[None]"]]]:
        rest = iter(calls)
        upcoming = next(rest, None)
        while upcoming is not None or self._heap:
            if upcoming is not None and (not self._heap or upcoming.started_at <= self._heap[0].at):
                call, upcoming = upcoming, next(rest, None)
                yield call.started_at, lambda call=call: asyncio.ensure_future(self._open(http, call))  # type: ignore[misc]
            else:
                hook = heapq.heappop(self._heap)
                yield hook.at, lambda hook=hook: asyncio.ensure_future(self._post(http, hook))  # type: ignore[misc]

    async def _open(self, http: aiohttp.ClientSession, call: LoggedCall) -> None:
        base = self.target.ingest_url
        twiml = await self._post(http, voice(call, base, self.account_sid))
        for hook in afterwards(call, dialled_legs(twiml), base, self.account_sid):
            heapq.heappush(self._heap, hook)
        self.on_call(call)

    async def _post(self, http: aiohttp.ClientSession, hook: Webhook) -> str:
        headers = {"X-Twilio-Signature": self._validator.compute_signature(hook.url, dict(hook.form))}
        for tried in range(TRIES):
            try:
                async with http.post(hook.url, data=dict(hook.form), headers=headers) as answer:
                    text = await answer.text()
                    if answer.status < 300:
                        self.sent += 1
                        return text
                    if answer.status < 500:
                        raise ReplayError(f"{hook.url} answered {answer.status}: {shortened(text)}")
            except aiohttp.ClientError as error:
                text = f"no answer ({type(error).__name__})"
            await asyncio.sleep(0.2 * 2**tried)
        raise ReplayError(f"{hook.url} did not take a webhook in {TRIES} tries: {shortened(text)}")

    def _move(self, at: datetime) -> None:
        if self._now is None or at > self._now:
            self._now = at
            write_clock(self.clock_path, at, 0.0)
            self.on_clock(at)

    async def _idle(self, http: aiohttp.ClientSession) -> None:
        """Wait until everything is idle twice running: between two looks a record may have been on its way."""
        until = monotonic_s() + IDLE_LIMIT_S
        quiet = 0
        while quiet < 2:
            if gone := self.target.ended():
                raise ReplayError(*first_and_last(gone[0]))
            try:
                busy = await self.target.busy_with(http)
            except (aiohttp.ClientError, TimeoutError) as error:
                busy = [f"no answer ({type(error).__name__})"]  # the process has ended: `ended` says so a moment later
            quiet = quiet + 1 if not busy else 0
            if monotonic_s() > until:
                raise ReplayError(f"not idle after {IDLE_LIMIT_S:.0f} s: {shortened('; '.join(busy))}")
            if busy:
                await asyncio.sleep(ASK_AGAIN_S)
