"""Fixtures of the leads service's unit tests."""

import pytest

from tests.unit.leads.rig import Rig


@pytest.fixture
async def rig() -> Rig:
    """A leads service over fakes, officers seeded."""
    found = Rig()
    await found.seed()
    return found
