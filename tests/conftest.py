"""Fixtures for every level. Nothing here starts until a test asks for `kafka` or `mongo`."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.system import fresh_name
from tests.infra.providers import Kafka, Mongo, kafka_from, mongo_from, no_containers_because

REAL_IS_REQUIRED = os.environ.get("RINGBACK_REQUIRE_REAL") == "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--provider`."""
    parser.addoption(
        "--provider",
        choices=("local", "containers"),
        default="local",
        help="where Kafka and MongoDB come from: local processes, or containers (skipped where no engine or image is)",
    )


@pytest.fixture(scope="session")
def provider(request: pytest.FixtureRequest) -> str:
    """Return the provider; skip, with the reason, where it cannot work."""
    name: str = request.config.getoption("--provider")
    if name == "containers" and (why := no_containers_because()):
        if REAL_IS_REQUIRED:
            pytest.fail(f"RINGBACK_REQUIRE_REAL=1, and {why}")
        pytest.skip(f"containers: {why}")
    return name


@pytest.fixture(scope="session")
def kafka(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A real Apache Kafka broker, one for the whole session: use names of your own."""
    with kafka_from(provider, tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def mongo(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongo]:
    """A real MongoDB replica set, one for the whole session: use a database of your own (`database`)."""
    with mongo_from(provider, tmp_path_factory.mktemp("mongo")) as server:
        yield server


@pytest.fixture
async def database(mongo: Mongo) -> AsyncIterator[Any]:
    """A Motor database of this test's own, dropped afterwards."""
    client: Any = AsyncIOMotorClient(mongo.url, tz_aware=True, io_loop=asyncio.get_running_loop())
    name = fresh_name()
    try:
        yield client[name]
    finally:
        await client.drop_database(name)
        client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of this test's own."""
    return tmp_path
