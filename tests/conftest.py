"""Fixtures for every level. Nothing here starts until a test asks for `kafka` or `mongo`."""

import asyncio
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.system import fresh_name
from tests.infra.providers import Kafka, Mongo, kafka_from, mongo_from, unusable_because

REAL_IS_REQUIRED = os.environ.get("RINGBACK_REQUIRE_REAL") == "1"
PROVIDERS = {"local": ["local"], "containers": ["containers"], "both": ["local", "containers"]}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--provider` and `--chaos-full`."""
    parser.addoption(
        "--provider",
        choices=tuple(PROVIDERS),
        default="local",
        help="where Kafka and MongoDB come from: local processes, or containers (skipped where no engine or image is)",
    )
    parser.addoption("--chaos-full", action="store_true", help="run the tests marked chaos_full, too")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; tests of these options run without pyproject.toml."""
    config.addinivalue_line("markers", "chaos_full: long; runs with --chaos-full only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `make chaos-full` runs. Not a skip: nothing that this run needs is missing."""
    if config.getoption("--chaos-full"):
        return
    long = [item for item in items if item.get_closest_marker("chaos_full")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that needs Kafka or MongoDB once for each provider asked for."""
    if "provider" in metafunc.fixturenames:
        wanted = PROVIDERS[metafunc.config.getoption("--provider")]
        metafunc.parametrize("provider", wanted, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With RINGBACK_REQUIRE_REAL=1, make every skip a failure; only containers may be missing."""
    report = yield
    if REAL_IS_REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if "containers: " not in reason:
            report.outcome, report.longrepr = "failed", f"RINGBACK_REQUIRE_REAL=1, and this was skipped: {reason}"
    return report


@pytest.fixture(scope="session")
def provider(request: pytest.FixtureRequest) -> str:
    """Return the provider; skip, with the reason, where it cannot work."""
    name: str = request.param
    if why := unusable_because(name):
        pytest.skip(why)
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
    """A folder that only this test uses."""
    return tmp_path
