"""What the store of timers makes of a bulk write that failed: a timer is kept once the majority has it, not sooner."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from services.runtime.errors import TransientError
from services.sequencer.adapters import mongo
from services.sequencer.adapters.mongo import MongoTimers
from services.sequencer.adapters.store import Timer

DUPLICATE = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key"}
NO_MAJORITY = {"code": 64, "errmsg": "waiting for replication timed out"}
TIMERS = [
    Timer(
        timer_id=name,
        due=datetime(2026, 7, 1, 15, tzinfo=UTC),
        step="text-10min",
        key="acme:+12125550100",
        lender_id="acme",
        branch_id="nyc",
        traceparent="00-x",
    )
    for name in ("t0", "t1")
]


@dataclass
class Driver:
    """A driver whose every bulk write ends so; client, database and collection in one."""

    write_errors: Sequence[dict[str, Any]] = ()
    write_concern_errors: Sequence[dict[str, Any]] = ()

    def __call__(self, *_: object, **__: object) -> "Driver":
        return self

    def __getitem__(self, _: str) -> "Driver":
        return self

    async def create_index(self, *_: object, **__: object) -> None:
        """Make none."""

    async def bulk_write(self, writes: Sequence[UpdateOne], *, ordered: bool) -> None:
        """Fail as told."""
        raise BulkWriteError(
            {"writeErrors": [*self.write_errors], "writeConcernErrors": [*self.write_concern_errors], "upserted": []}
        )


async def store(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> MongoTimers:
    monkeypatch.setattr(mongo, "AsyncIOMotorClient", driver)
    found = MongoTimers("mongodb://nowhere", "none")
    await found.start()
    return found


@pytest.mark.parametrize("write_errors", [[], [DUPLICATE]], ids=["alone", "beside a duplicate"])
async def test_timers_that_the_majority_has_not_acknowledged_are_not_kept_and_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, write_errors: list[dict[str, Any]]
) -> None:
    timers = await store(monkeypatch, Driver(write_errors, [NO_MAJORITY]))
    with pytest.raises(TransientError):
        await timers.put(TIMERS)


async def test_timer_that_is_pending_already_is_told_apart_from_the_one_that_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = await store(monkeypatch, Driver([DUPLICATE]))
    assert await timers.put(TIMERS) == {"t1"}
