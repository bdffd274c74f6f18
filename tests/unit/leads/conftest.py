"""Fixtures of leads' unit tests."""

import pytest

from tests.unit.leads.build import Desk


@pytest.fixture
async def desk() -> Desk:
    """A shell over fakes, officers seeded."""
    found = Desk()
    await found.seed()
    return found
