"""One run: start everything, load it, break it, let it come to rest, move the clock on, read what is left, check."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

from services.runtime.clock import monotonic_s
from tests.chaos.system.checker import Breach, Report, check
from tests.chaos.system.collect import collect
from tests.chaos.system.load import Load
from tests.chaos.system.schedule import Fault, draw
from tests.chaos.system.stage import Stage

WEDNESDAY_14_EDT: Final = datetime(2026, 3, 11, 18, 0, tzinfo=UTC)
AFTERWARDS_S: Final = (11 * 60.0, 3600.0, 86_400.0, 86_400.0)
"""How far the clock moves after the load, step by step: past the second text, every expiry, the next two mornings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does."""

    seed: int
    seconds: float
    rate: float = 5.0
    instances: int = 1
    every_s: float = 6.0
    provider_faults: float = 0.0
    faults: tuple[Fault, ...] | None = None
    """Instead of those that the seed draws."""

    def schedule(self) -> tuple[Fault, ...]:
        """Return the faults, in the order of their time."""
        if self.faults is not None:
            return self.faults
        return tuple(draw(self.seed, self.seconds, every_s=self.every_s, instances=self.instances))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    plan: Plan
    report: Report
    exits: dict[str, list[int]] = field(default_factory=dict)
    unacknowledged: int = 0
    late_ms_max: float = 0.0
    took_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return everything, for the file."""
        return {
            "seed": self.plan.seed,
            "seconds": self.plan.seconds,
            "rate": self.plan.rate,
            "instances": self.plan.instances,
            "faults": [str(fault) for fault in self.plan.schedule()],
            "breaches": [asdict(breach) for breach in self.report.breaches],
            "counts": dict(self.report.counts),
            "webhooks never acknowledged": self.unacknowledged,
            "exits": self.exits,
            "generator late ms max": self.late_ms_max,
            "took s": self.took_s,
        }


async def run(plan: Plan, folder: Path, say: Callable[[str], None] = print) -> Outcome:
    """Run a plan in a folder, which keeps the logs and `outcome.json`."""
    began = monotonic_s()
    stage = Stage(folder, plan.instances, WEDNESDAY_14_EDT, say)
    extra: list[Breach] = []
    async with stage, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=300)) as http:
        if plan.provider_faults:
            await _provider_faults(stage.first.sandbox_url, http, plan.provider_faults)
        load = Load(stage.first.ingest_url, http, plan.seed)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(plan.rate, plan.seconds))
            started = monotonic_s()
            for fault in plan.schedule():
                await asyncio.sleep(max(0.0, started + fault.at_s - monotonic_s()))
                group.create_task(stage.break_with(fault))
        if plan.provider_faults:
            await _provider_faults(stage.first.sandbox_url, http, 0.0)
        try:
            await stage.ready()
            await stage.idle()
            for seconds in AFTERWARDS_S:
                stage.move(seconds)
                await stage.idle()
        except Exception as error:
            extra.append(Breach("does not come to rest", type(error).__name__, str(error)[:2000]))
        history = await collect(stage.first, stage.kafka, stage.mongodb, load.calls, load.texts)
    extra += [Breach("does not stop", "SIGTERM", why) for why in stage.breaches]
    found = check(history)
    outcome = Outcome(
        plan=plan,
        report=Report(breaches=(*extra, *found.breaches), counts=found.counts),
        exits=stage.exits,
        unacknowledged=load.unacknowledged,
        late_ms_max=round(max(load.late_s, default=0.0) * 1000, 1),
        took_s=round(monotonic_s() - began, 1),
    )
    (folder / "outcome.json").write_text(json.dumps(outcome.as_json(), indent=2))
    return outcome


async def _provider_faults(sandbox_url: str, http: aiohttp.ClientSession, share: float) -> None:
    """Let the provider fail in four ways, each for a quarter of the share; 0 ends it."""
    kinds: list[dict[str, Any]] = [
        {"kind": "429"},
        {"kind": "5xx", "accepted": False},
        {"kind": "hang", "accepted": True},
        {"kind": "lost"},
    ]
    faults = [{**kind, "share": share / len(kinds)} for kind in kinds] if share else []
    async with http.post(f"{sandbox_url}/_control/faults", json={"clear": True, "faults": faults}) as answer:
        answer.raise_for_status()
