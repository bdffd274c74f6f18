"""`python -m services.sequencer`."""

import tempfile
from pathlib import Path

from schemas.leads import LeadEvent
from schemas.topics import SEQUENCER_APP, SEQUENCER_TABLE
from schemas.touches import TimerDue, TouchResult
from services.runtime import service
from services.runtime.exits import exit_with_problems
from services.runtime.hard_end import remove_at_end
from services.runtime.health import Health
from services.sequencer.adapters.cadences import cadences_or_exit
from services.sequencer.adapters.fence import FenceSettings, UntestedVersion
from services.sequencer.settings import SequencerSettings
from services.sequencer.shell import handler
from services.sequencer.worker import Worker


def fence_settings(settings: SequencerSettings, data_dir: Path) -> FenceSettings:
    """Return what the fence is told.

    Args:
        settings: the service's.
        data_dir: an ephemeral folder, for when the settings name none.
    """
    return FenceSettings(
        app_id=f"{settings.group_prefix}{SEQUENCER_APP}",
        topics=(LeadEvent.TOPIC, TouchResult.TOPIC, TimerDue.TOPIC),
        table=SEQUENCER_TABLE,
        # A name that nobody gave is no name: two workers with the default one would put each other out for ever.
        instance=settings.instance if "instance" in settings.model_fields_set else None,
        data_dir=(settings.sequencer_data_dir or data_dir) / "faust",
        bootstrap_servers=settings.kafka_bootstrap_servers,
        session_timeout_s=settings.sequencer_session_timeout_s,
        window=settings.sequencer_window,
        # A text waits for its row first and its event then: two lingers. Sent at once they cost it nothing, and
        # a batch fills by itself while the one before it is on its way.
        linger_ms=0,
    )


async def sequence(settings: SequencerSettings) -> int:
    """Run the sequencer until it is told to stop; return its exit code."""
    health, cadences = Health(), cadences_or_exit(settings.cadences)
    with tempfile.TemporaryDirectory(prefix="ringback-sequencer-", ignore_cleanup_errors=True) as folder:
        remove_at_end(Path(folder))
        try:
            worker = Worker(settings=fence_settings(settings, Path(folder)), handle=handler(cadences), health=health)
        except UntestedVersion as error:
            exit_with_problems("installed packages", error.problems)
        return await service.run("sequencer", settings, health, [worker, worker.watch, worker.cap])


if __name__ == "__main__":
    service.main(sequence(SequencerSettings.load_or_exit()))
