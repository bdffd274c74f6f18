"""The fixtures of the suite: each of the stores, and their documents as they are kept."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from services.leads.adapters.memory import MemoryLeads
from services.leads.adapters.mongo import MongoLeads
from services.leads.adapters.store import LeadStore
from tests.infra import providers

Documents = Callable[[str, str], Awaitable[dict[str, Any]]]


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest, mongo: providers.Mongo, database: Any) -> AsyncIterator[LeadStore]:
    """Each of the stores, empty."""
    if request.param == "memory":
        yield MemoryLeads()
        return
    real = MongoLeads(mongo.url, database.name)
    await real.start()
    await real.start()  # the second start finds its indexes
    yield real
    await real.stop()


@pytest.fixture
def documents(store: LeadStore, database: Any) -> Documents:
    """Reads a document as it is stored; empty where there is none."""

    async def read(collection: str, id_: str) -> dict[str, Any]:
        if isinstance(store, MemoryLeads):
            kept: dict[str, dict[str, Any]] = getattr(store, collection)
            return kept.get(id_, {})
        return await database[collection].find_one({"_id": id_}) or {}

    return read
