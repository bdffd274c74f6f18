"""What `ringback bench` says when a service ends while it measures."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.cli.benching.latency import all_run
from services.cli.exits import Cannot, failure_of
from services.runtime.exits import EXIT_LEASE_LOST


def run_with(**codes: int | None) -> Any:
    running = {
        name: SimpleNamespace(process=SimpleNamespace(returncode=code), log=Path(f"bench/{name}.log"))
        for name, code in codes.items()
    }
    return SimpleNamespace(system=SimpleNamespace(running=running))


def test_service_that_ended_is_named_with_its_code_and_its_log_in_two_lines() -> None:
    """Asking the kernel for its processor time used to end in a traceback about a file in /proc."""
    with pytest.raises(Cannot) as error:
        all_run(run_with(ingest=None, sequencer=EXIT_LEASE_LOST))
    failure = failure_of(error.value)
    assert failure is not None
    first, second = failure.lines().splitlines()
    assert first.startswith("sequencer ended with 71: sequencer: it cannot know any more")
    assert second.strip() == "its log is bench/sequencer.log"


def test_bench_goes_on_while_every_service_runs() -> None:
    all_run(run_with(ingest=None, sequencer=None))
