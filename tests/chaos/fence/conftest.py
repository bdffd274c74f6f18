"""Names for the fence's tests."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka


@pytest.fixture
def app() -> str:
    """Return an app id nobody has used."""
    return f"fence-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def kafka_of_its_own(tmp_path: Path) -> Iterator[LocalKafka]:
    """A broker that this test may kill."""
    with LocalKafka(tmp_path / "kafka") as broker:
        yield broker
