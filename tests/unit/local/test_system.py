"""What starts all of Ringback on one machine says why it cannot."""

from pathlib import Path

import pytest

from deploy.local.system import System, SystemFailure


async def test_service_that_ends_at_start_is_one_failure_with_its_exit_code_and_the_end_of_its_log(
    tmp_path: Path,
) -> None:
    """The callers catch `SystemFailure`: an exception group around it would reach the user as a traceback."""
    system = System(
        kafka="127.0.0.1:1", mongodb="mongodb://127.0.0.1:1", folder=tmp_path, directory=tmp_path / "none.yaml"
    )
    try:
        with pytest.raises(SystemFailure, match=r"(leads|notifier) ended at start with 78:\n(.*\n)*.*none\.yaml"):
            await system.start("leads", "notifier")
    finally:
        await system.stop()
