"""One system for all e2e tests: every process for real, on real Kafka and MongoDB; each test has callers of its own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.system import System, fresh_name
from services.runtime.clock import write_clock
from tests.e2e.telephony import World
from tests.infra.topics import empty_topics

MONDAY_11_EDT = datetime(2026, 3, 9, 15, 0, tzinfo=UTC)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every e2e test on the session's loop, where the system's connections live."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def world(kafka: Any, mongo: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Return a running system on a Monday morning in New York."""
    folder = tmp_path_factory.mktemp("e2e")
    clock = folder / "clock.json"
    write_clock(clock, MONDAY_11_EDT, 1.0)
    prefix = f"{fresh_name()}-"
    await empty_topics(kafka.bootstrap_servers, prefix)
    system = System(
        kafka.bootstrap_servers,
        mongo.url,
        folder,
        database=fresh_name(),
        clock=str(clock),
        group_prefix=prefix,
    )
    async with system, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        looking: Any = AsyncIOMotorClient(mongo.url, tz_aware=True)
        try:
            yield World(system, clock, http, looking[system.database])
        finally:
            looking.close()
