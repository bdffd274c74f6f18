"""One seed of the chaos suite for two minutes; `make chaos-full` runs ten, for longer, with outages."""

from pathlib import Path

import pytest

from tests.chaos.system.run import Plan, run

SEED = 494
"""Its two minutes break nearly everything: each server, each service, both brokers, a partition, the changelog."""
RATE = 5.0
"""Calls a second: the lowest of the suite, which every machine that runs the tests keeps up with."""


@pytest.mark.timeout(420)
async def test_two_minutes_of_faults_lose_nothing_repeat_nothing_and_text_nobody_who_was_answered_or_said_stop(
    tmp_path: Path,
) -> None:
    plan = Plan(seed=SEED, seconds=120.0, rate=RATE, provider_faults=0.2)
    outcome = await run(plan, tmp_path / "run")
    print(outcome.as_json())
    assert list(outcome.report.breaches) == []
    assert outcome.report.counts["texts accepted"] > 0
    assert outcome.kills > 0
