"""A lender who texts nobody after hours: every process of the system real, from the missed call to the morning call."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.system import EXAMPLE_DIRECTORY, System, fresh_name
from services.runtime.clock import write_clock
from tests.e2e.telephony import Call, World, new_caller
from tests.infra.polling import eventually
from tests.infra.providers import Kafka, Mongo
from tests.infra.topics import empty_topics

MONDAY_2330_EDT = datetime(2026, 3, 10, 3, 30, tzinfo=UTC)
TUESDAY_0830_EDT = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)


@pytest.fixture
async def world(kafka: Kafka, mongo: Mongo, tmp_path: Path) -> AsyncIterator[World]:
    """A running system of such a lender, on a Monday night in New York."""
    directory, clock, prefix = tmp_path / "lender.yaml", tmp_path / "clock.json", f"{fresh_name()}-"
    example = EXAMPLE_DIRECTORY.read_text()
    assert example.count("after_hours_text: true") == 1
    directory.write_text(example.replace("after_hours_text: true", "after_hours_text: false"))
    write_clock(clock, MONDAY_2330_EDT, 1.0)
    await empty_topics(kafka.bootstrap_servers, prefix)
    system = System(
        kafka.bootstrap_servers,
        mongo.url,
        tmp_path,
        database=fresh_name(),
        clock=str(clock),
        group_prefix=prefix,
        directory=directory,
    )
    looking: Any = AsyncIOMotorClient(mongo.url, tz_aware=True)
    try:
        async with system, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            yield World(system, clock, http, looking[system.database])
    finally:
        await looking.drop_database(system.database)
        looking.close()


async def test_missed_call_at_night_gets_no_text_at_all_and_the_morning_call(world: World) -> None:
    caller = new_caller()
    await Call(world, caller).is_missed()
    lead = await eventually(lambda: world.lead(caller), 30, "a lead")
    await eventually(lambda: reasons(world, caller), 30, "both texts held")
    assert await reasons(world, caller) == {"text-now": "after_hours_policy", "text-10min": "first_text_missing"}
    assert lead["task"]["due_at"] == TUESDAY_0830_EDT
    await world.idle()
    world.move(minutes=15)
    await world.idle()
    world.move_to(TUESDAY_0830_EDT)
    await eventually(lambda: asked_for(world, caller), 30, "the morning call")
    assert await asked_for(world, caller) == ["call-morning"]
    await world.idle()
    assert await world.texts_to(caller) == []


async def reasons(world: World, caller: str) -> dict[str, str]:
    """Return step -> reason of the lead's held texts, once both are."""
    lead = await world.lead(caller)
    held = {step: one.get("reason") for step, one in (lead or {}).get("touches", {}).items()}
    return held if len(held) == 2 else {}


async def asked_for(world: World, caller: str) -> list[str]:
    """Return the phone steps that the lead's task tells of."""
    lead = await world.lead(caller)
    return [one for one in (lead or {})["task"]["reasons"] if one.startswith("call-")]
