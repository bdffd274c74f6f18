"""The timekeeper's timers: one Protocol, MongoDB, and a fake in memory.

`timers`: `_id` timer_id; indexes state + due, TTL on `fired_at`. A timer is `pending` until its tick is acknowledged;
who fires it holds a claim with a lease on the database server's time, so that a paused or dead instance blocks no one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol
from uuid import uuid4

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from schemas.base import LocalTime
from services.runtime.clock import real_now
from services.sequencer.errors import TimersUnavailable

KEPT_S = 14 * 86_400
"""How long a fired timer is kept, in real time: as long as `sequencer-timers` may bring its `timer.set` again."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_DUPLICATE_KEY = 11000


@dataclass(frozen=True, slots=True)
class Timer:
    """One timer, with all that its tick's envelope needs. `due` has whole milliseconds, rounded up, as MongoDB does."""

    timer_id: str
    due: datetime
    step: str
    key: str
    lender_id: str
    branch_id: str = ""
    traceparent: str = ""
    due_local: LocalTime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Timers that are ours to fire while the lease lasts."""

    token: str
    timers: tuple[Timer, ...]


class TimerStore(Protocol):
    """Where timers live."""

    async def start(self) -> None:
        """Connect and make the indexes."""

    async def stop(self) -> None:
        """Let go."""

    async def put(self, timers: Sequence[Timer]) -> set[str]:
        """Keep timers; return the ids that are new. One known already, pending or fired, stays as it is."""

    async def claim(self, due_by: datetime, limit: int, lease_s: float) -> Claim:
        """Take up to `limit` pending timers due by then, earliest first, that nobody's lease holds."""

    async def fired(self, claim: Claim, timer_ids: Sequence[str]) -> int:
        """Mark timers as fired where the claim is still the last one; return how many."""

    async def rearm(self, claim: Claim, timer_id: str, due: datetime) -> None:
        """Give a claimed timer back with another due time."""

    async def next_due(self) -> datetime | None:
        """Return when the earliest pending timer that nobody's lease holds is due."""

    async def overdue(self, now: datetime) -> int:
        """Return how many timers are due and not fired, leased ones too."""


class MemoryTimers:
    """The fake: one process, leases on a real time that a test may replace."""

    def __init__(self, real: Callable[[], datetime] = real_now) -> None:
        self._real = real
        self._pending: dict[str, Timer] = {}
        self._fired: set[str] = set()
        self._leases: dict[str, tuple[str, datetime]] = {}
        self.fail = 0

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def _answer(self) -> None:
        if self.fail:
            self.fail -= 1
            raise TimersUnavailable("the fake was told to fail")

    def _free(self) -> list[Timer]:
        now = self._real()
        free = [t for t in self._pending.values() if self._leases.get(t.timer_id, ("", _LONG_AGO))[1] <= now]
        return sorted(free, key=lambda timer: timer.due)

    async def put(self, timers: Sequence[Timer]) -> set[str]:
        """Keep timers; return the ids that are new."""
        self._answer()
        new = {t.timer_id: t for t in timers if t.timer_id not in self._pending and t.timer_id not in self._fired}
        self._pending.update(new)
        return set(new)

    async def claim(self, due_by: datetime, limit: int, lease_s: float) -> Claim:
        """Take pending timers."""
        self._answer()
        token = uuid4().hex
        taken = tuple([timer for timer in self._free() if timer.due <= due_by][:limit])
        for timer in taken:
            self._leases[timer.timer_id] = (token, self._real() + timedelta(seconds=lease_s))
        return Claim(token, taken)

    def _ours(self, claim: Claim, timer_id: str) -> bool:
        return timer_id in self._pending and self._leases.get(timer_id, ("",))[0] == claim.token

    async def fired(self, claim: Claim, timer_ids: Sequence[str]) -> int:
        """Mark timers as fired."""
        self._answer()
        ours = [timer_id for timer_id in timer_ids if self._ours(claim, timer_id)]
        for timer_id in ours:
            del self._pending[timer_id]
            self._fired.add(timer_id)
        return len(ours)

    async def rearm(self, claim: Claim, timer_id: str, due: datetime) -> None:
        """Give a timer back."""
        self._answer()
        if self._ours(claim, timer_id):
            self._pending[timer_id] = replace(self._pending[timer_id], due=due)
            del self._leases[timer_id]

    async def next_due(self) -> datetime | None:
        """Return the earliest due time."""
        self._answer()
        return next((timer.due for timer in self._free()), None)

    async def overdue(self, now: datetime) -> int:
        """Count what is due."""
        self._answer()
        return sum(timer.due <= now for timer in self._pending.values())


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except PyMongoError as error:
        # All of them: a timer must never be given up on, and what does not fit is refused before it gets here.
        raise TimersUnavailable(f"MongoDB: {error!r}"[:300]) from error


_FREE = {"$expr": {"$lte": ["$lease_until", "$$NOW"]}}


@dataclass
class MongoTimers:
    """The real one; every write waits for the majority."""

    url: str
    database: str
    _client: Any = field(init=False, default=None)
    _timers: Any = field(init=False, default=None)

    async def start(self) -> None:
        """Connect and make the indexes."""
        self._client = AsyncIOMotorClient(
            self.url, tz_aware=True, tzinfo=UTC, w="majority", retryWrites=True, serverSelectionTimeoutMS=3000,
            connectTimeoutMS=3000, socketTimeoutMS=10_000, io_loop=asyncio.get_running_loop(),
        )  # fmt: skip
        self._timers = self._client[self.database]["timers"]
        async with _answering():
            await self._timers.create_index([("state", ASCENDING), ("due", ASCENDING)], name="state_due")
            await self._timers.create_index("fired_at", expireAfterSeconds=KEPT_S, name="fired_ttl")

    async def stop(self) -> None:
        """Let go."""
        if self._client is not None:
            self._client.close()

    async def put(self, timers: Sequence[Timer]) -> set[str]:
        """Keep timers; return the ids that are new."""
        if not timers:
            return set()
        writes = [UpdateOne({"_id": t.timer_id}, {"$setOnInsert": _document(t)}, upsert=True) for t in timers]
        async with _answering():
            try:
                result = (await self._timers.bulk_write(writes, ordered=False)).bulk_api_result
            except BulkWriteError as error:
                # Two instances put the same new timer at once: the other's is there, which is all we wanted.
                if any(found["code"] != _DUPLICATE_KEY for found in error.details["writeErrors"]):
                    raise
                result = error.details
        return {entry["_id"] for entry in result["upserted"]}

    async def claim(self, due_by: datetime, limit: int, lease_s: float) -> Claim:
        """Take pending timers."""
        token = uuid4().hex
        async with _answering():
            due = {"state": "pending", "due": {"$lte": due_by}, **_FREE}
            found = self._timers.find(due, {"_id": 1}).sort("due", ASCENDING).limit(limit)
            ids = [document["_id"] for document in await found.to_list(limit)]
            if not ids:
                return Claim(token, ())
            lease = {"$add": ["$$NOW", int(lease_s * 1000)]}
            await self._timers.update_many(
                {"_id": {"$in": ids}, "state": "pending", **_FREE}, [{"$set": {"claim": token, "lease_until": lease}}]
            )
            ours = self._timers.find({"_id": {"$in": ids}, "claim": token}).sort("due", ASCENDING)
            return Claim(token, tuple([_timer(document) for document in await ours.to_list(limit)]))

    async def fired(self, claim: Claim, timer_ids: Sequence[str]) -> int:
        """Mark timers as fired."""
        if not timer_ids:
            return 0
        async with _answering():
            result = await self._timers.update_many(
                {"_id": {"$in": list(timer_ids)}, "state": "pending", "claim": claim.token},
                [{"$set": {"state": "fired", "fired_at": "$$NOW"}}],
            )
        return int(result.modified_count)

    async def rearm(self, claim: Claim, timer_id: str, due: datetime) -> None:
        """Give a timer back."""
        async with _answering():
            await self._timers.update_one(
                {"_id": timer_id, "state": "pending", "claim": claim.token},
                {"$set": {"due": due, "claim": "", "lease_until": _LONG_AGO}},
            )

    async def next_due(self) -> datetime | None:
        """Return the earliest due time."""
        async with _answering():
            found = await self._timers.find_one({"state": "pending", **_FREE}, {"due": 1}, sort=[("due", ASCENDING)])
        due: datetime | None = found and found["due"]
        return due

    async def overdue(self, now: datetime) -> int:
        """Count what is due."""
        async with _answering():
            return int(await self._timers.count_documents({"state": "pending", "due": {"$lte": now}}))


def _document(timer: Timer) -> dict[str, Any]:
    local = timer.due_local
    return {
        "state": "pending",
        "due": timer.due,
        "due_local": local and {"on": local.on.isoformat(), "at": local.at.isoformat(), "zone": local.zone},
        "step": timer.step,
        "key": timer.key,
        "lender_id": timer.lender_id,
        "branch_id": timer.branch_id,
        "traceparent": timer.traceparent,
        "claim": "",
        "lease_until": _LONG_AGO,
    }


def _timer(document: dict[str, Any]) -> Timer:
    local = document["due_local"]
    return Timer(
        document["_id"], document["due"], document["step"], document["key"], document["lender_id"],
        document["branch_id"], document["traceparent"],
        # Not validated again: a zone that has vanished since must not keep the timer from firing.
        local and LocalTime.model_construct(
            on=date.fromisoformat(local["on"]), at=time.fromisoformat(local["at"]), zone=local["zone"]
        ),
    )  # fmt: skip
