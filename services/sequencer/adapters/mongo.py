"""The store of timers in MongoDB.

`timers`: `_id` timer_id; indexes state + due, TTL on `fired_at`. Leases are on the database server's time, so that
instances whose clocks differ agree on who holds a timer.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Final
from uuid import uuid4

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, UpdateOne
from pymongo.errors import BulkWriteError

from schemas.base import LocalTime
from services.runtime.mongo_errors import DUPLICATE_KEY, mongo_errors
from services.sequencer.adapters.store import Claim, Timer

COLLECTION: Final = "timers"
KEPT_S: Final = 14 * 86_400
"""How long a fired timer is kept, in real time: as long as `sequencer-timers` may bring its `timer.set` again."""

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FREE: Final = {"$expr": {"$lte": ["$lease_until", "$$NOW"]}}


@dataclass
class MongoTimers:
    """Keeps the promises of `TimerStore`; every write waits for the majority."""

    url: str
    database: str
    _client: Any = field(init=False, default=None)
    _timers: Any = field(init=False, default=None)

    async def start(self) -> None:
        """Connect and make the indexes."""
        self._client = AsyncIOMotorClient(
            self.url,
            tz_aware=True,
            tzinfo=UTC,
            w="majority",
            retryWrites=True,
            serverSelectionTimeoutMS=3000,
            connectTimeoutMS=3000,
            socketTimeoutMS=10_000,
            io_loop=asyncio.get_running_loop(),
        )
        self._timers = self._client[self.database][COLLECTION]
        with mongo_errors():
            await self._timers.create_index([("state", ASCENDING), ("due", ASCENDING)], name="state_due")
            await self._timers.create_index("fired_at", expireAfterSeconds=KEPT_S, name="fired_ttl")

    async def stop(self) -> None:
        """Let go."""
        if self._client is not None:
            self._client.close()

    async def put(self, timers: Sequence[Timer]) -> set[str]:
        """Keep timers; return the ids of those that were not pending."""
        if not timers:
            return set()
        # A pending timer is no match, and the insert then meets its id: that is how it is known. `fired_at` must go, or
        # its expiry would take the timer away.
        writes = [
            UpdateOne(
                {"_id": timer.timer_id, "state": {"$ne": "pending"}},
                {"$set": _document(timer), "$unset": {"fired_at": ""}},
                upsert=True,
            )
            for timer in timers
        ]
        known: set[int] = set()
        with mongo_errors():
            try:
                await self._timers.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                if not only_duplicates(error):
                    raise
                known = {found["index"] for found in error.details["writeErrors"]}
        return {timer.timer_id for n, timer in enumerate(timers) if n not in known}

    async def claim(self, due_by: datetime, limit: int, lease_s: float) -> Claim:
        """Take pending timers."""
        token = uuid4().hex
        with mongo_errors():
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
            documents = await ours.to_list(limit)
        timers: list[Timer] = []
        unreadable: dict[str, str] = {}
        for document in documents:
            try:
                timers.append(_timer(document))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                unreadable[str(document["_id"])] = repr(error)
        return Claim(token, tuple(timers), unreadable)

    async def fired(self, claim: Claim, timer_ids: Sequence[str]) -> int:
        """Mark timers as fired."""
        if not timer_ids:
            return 0
        with mongo_errors():
            result = await self._timers.update_many(
                {"_id": {"$in": list(timer_ids)}, "state": "pending", "claim": claim.token},
                [{"$set": {"state": "fired", "fired_at": "$$NOW"}}],
            )
        return int(result.modified_count)

    async def rearm(self, claim: Claim, timer_id: str, due: datetime) -> None:
        """Give a timer back."""
        with mongo_errors():
            await self._timers.update_one(
                {"_id": timer_id, "state": "pending", "claim": claim.token},
                {"$set": {"due": due, "claim": "", "lease_until": _LONG_AGO}},
            )

    async def next_due(self) -> datetime | None:
        """Return the earliest due time."""
        with mongo_errors():
            found = await self._timers.find_one({"state": "pending", **_FREE}, {"due": 1}, sort=[("due", ASCENDING)])
        due: datetime | None = found and found["due"]
        return due

    async def overdue(self, now: datetime) -> int:
        """Count what is due."""
        with mongo_errors():
            return int(await self._timers.count_documents({"state": "pending", "due": {"$lte": now}}))


def only_duplicates(error: BulkWriteError) -> bool:
    """Say whether all that a bulk write met is timers that are pending already.

    They are there, which is all that was wanted. Without the majority's acknowledgement they may not stay.
    """
    errors, details = error.details["writeErrors"], error.details
    return not details.get("writeConcernErrors") and all(found["code"] == DUPLICATE_KEY for found in errors)


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


def _timer(document: Mapping[str, Any]) -> Timer:
    local = document["due_local"]
    return Timer(
        timer_id=document["_id"],
        due=document["due"],
        step=document["step"],
        key=document["key"],
        lender_id=document["lender_id"],
        branch_id=document["branch_id"],
        traceparent=document["traceparent"],
        # Not validated again: a zone that has vanished since must not keep the timer from firing.
        due_local=local
        and LocalTime.model_construct(
            on=date.fromisoformat(local["on"]), at=time.fromisoformat(local["at"]), zone=local["zone"]
        ),
    )
