"""What MongoDB did for the queries of a test, as its profiler counts it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Profile:
    """The queries of one collection since `profiled` began."""

    database: Any
    collection: str

    async def examined(self) -> int:
        """Return how many documents they looked at."""
        where = {"ns": f"{self.database.name}.{self.collection}", "op": "query"}
        found = await self.database["system.profile"].find(where).to_list(None)
        assert found, "no query was profiled"
        return sum(int(one["docsExamined"]) for one in found)

    async def sorted(self) -> bool:
        """Return whether one of them had to be sorted, because no index has its order."""
        where = {"ns": f"{self.database.name}.{self.collection}", "op": "query", "hasSortStage": True}
        return await self.database["system.profile"].find_one(where) is not None


@asynccontextmanager
async def profiled(database: Any, collection: str) -> AsyncIterator[Profile]:
    """Profile every query; what was profiled before is forgotten."""
    await database.drop_collection("system.profile")
    await database.command("profile", 2)
    try:
        yield Profile(database, collection)
    finally:
        await database.command("profile", 0)
