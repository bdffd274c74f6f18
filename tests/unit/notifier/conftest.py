"""The rig that most of the notifier's unit tests begin with."""

import pytest

from tests.unit.notifier.rig import Rig


@pytest.fixture
def rig() -> Rig:
    """The shell among fakes: the lead is open, its owner is busy, the branch is open."""
    return Rig()
