"""One run: start everything, load it, break it, let it come to rest, move the clock on, read what is left, check."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

from services.cli.first_text_latency import percentile
from services.runtime.clock import FileClock, monotonic_s
from tests.chaos.system.checker import Breach, Report, check
from tests.chaos.system.collect import Held, collect
from tests.chaos.system.history import CallPlaced, Posted
from tests.chaos.system.load import TRY_LIMIT_S, Load
from tests.chaos.system.schedule import KAFKA, Fault, draw, scene
from tests.chaos.system.stage import Stage

WEDNESDAY_14_EDT: Final = datetime(2026, 3, 11, 18, 0, tzinfo=UTC)
PAST_FIRST_TEXTS_S: Final = 11 * 60.0
"""Past the second text and every first text's expiry: from here on the reconciler looks at every call."""
AFTERWARDS_S: Final = (3600.0, 86_400.0, 86_400.0)
"""How far the clock moves after that, step by step: past every expiry, and to the next two mornings."""
TWIML_LIMIT_S: Final = 3.0
TWIML_LIMIT_UNDER_RESTARTS_S: Final = TRY_LIMIT_S
"""A call gets its TwiML within two seconds (design 3). The machine's allowance: a second more in an outage, because it is the
phone company, both brokers, MongoDB and all services at once; three where it also starts brokers and services again all the
time, which keep a request from the processor for seconds. That is when the phone company gives the request up."""
SPARE_KILLS: Final = 1.3
"""So many more kills are drawn: some meet what is down already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does."""

    seed: int
    seconds: float
    rate: float = 5.0
    instances: int = 2
    every_s: float = 6.0
    min_kills: int = 0
    provider_faults: float = 0.0
    scene: str | None = None
    """The name of the outage that `faults` is."""
    faults: tuple[Fault, ...] | None = None
    """Instead of those that the seed draws."""

    def schedule(self) -> tuple[Fault, ...]:
        """Return the faults, in the order of their time."""
        if self.faults is not None:
            return self.faults
        return tuple(
            draw(
                self.seed,
                self.seconds,
                every_s=self.every_s,
                instances=self.instances,
                min_kills=int(self.min_kills * SPARE_KILLS),
            )
        )


def scene_plan(name: str, *, seed: int, rate: float, instances: int, for_s: float | None = None) -> Plan:
    """Return the plan of an outage."""
    seconds, faults = scene(name, for_s)
    return Plan(seed=seed, seconds=seconds, rate=rate, instances=instances, scene=name, faults=tuple(faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    plan: Plan
    report: Report
    done: Sequence[Fault] = ()
    exits: dict[str, list[int]] = field(default_factory=dict)
    unacknowledged: int = 0
    late_ms_max: float = 0.0
    voice_ms_max: float = 0.0
    first_text_ms: dict[str, float] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def kills(self) -> int:
        """How many of the faults that happened ended something at once; one of both brokers counts as two."""
        return kills(self.done)

    def as_json(self) -> dict[str, Any]:
        """Return everything, for the file."""
        return {
            "seed": self.plan.seed,
            "seconds": self.plan.seconds,
            "rate": self.plan.rate,
            "instances": self.plan.instances,
            "scene": self.plan.scene,
            "provider faults": self.plan.provider_faults,
            "faults": [str(fault) for fault in self.done],
            "kills": self.kills,
            "breaches": [asdict(breach) for breach in self.report.breaches],
            "counts": dict(self.report.counts),
            "webhooks never acknowledged": self.unacknowledged,
            "exits": self.exits,
            "generator late ms max": self.late_ms_max,
            "slowest TwiML ms": self.voice_ms_max,
            "first text ms": self.first_text_ms,
            "took s": self.took_s,
        }


def kills(faults: Sequence[Fault]) -> int:
    """Return how many faults end a process at once."""
    return sum(fault.is_kill and fault.target != KAFKA for fault in faults)


async def run(plan: Plan, folder: Path, say: Callable[[str], None] = print) -> Outcome:
    """Run a plan in a folder, which keeps the logs and `outcome.json`."""
    began = monotonic_s()
    stage = Stage(folder, plan.instances, WEDNESDAY_14_EDT, say=say, seed=plan.seed)
    extra: list[Breach] = []
    held = Held()
    async with stage, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=300)) as http:
        if plan.provider_faults:
            await _provider_faults(stage.first.sandbox_url, http, plan.provider_faults)
        load = make_load(stage, http, plan.seed)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(plan.rate, plan.seconds))
            started = monotonic_s()
            for fault in plan.schedule():
                await asyncio.sleep(max(0.0, started + fault.at_s - monotonic_s()))
                group.create_task(stage.break_with(fault))
        if plan.provider_faults:
            await _provider_faults(stage.first.sandbox_url, http, 0.0)
        try:
            await _come_to_rest(stage, load, held)
        except Exception as error:
            extra.append(Breach("does not come to rest", type(error).__name__, str(error)[:2000]))
        held.unsafe, held.died_unsafe = stage.unsafe()
        held.away = stage.away
        held.twiml_limit_s = TWIML_LIMIT_S if plan.faults is not None else TWIML_LIMIT_UNDER_RESTARTS_S
        history = await collect(stage.first, stage.kafka, stage.mongodb, load, held)
    extra += [Breach("does not stop", "SIGTERM", why) for why in stage.breaches]
    if kills(stage.done) < plan.min_kills:
        extra.append(Breach("too little broken", "kill -9", f"{kills(stage.done)} of {plan.min_kills}"))
    found = check(history)
    outcome = Outcome(
        plan=plan,
        report=Report(breaches=(*extra, *found.breaches), counts=found.counts),
        done=stage.done,
        exits=stage.exits,
        unacknowledged=load.unacknowledged,
        late_ms_max=round(max(load.late_s, default=0.0) * 1000, 1),
        voice_ms_max=round(max(load.voice_s, default=0.0) * 1000, 1),
        first_text_ms=_percentiles(first_texts_s(history.calls, history.posted)),
        took_s=round(monotonic_s() - began, 1),
    )
    (folder / "outcome.json").write_text(json.dumps(outcome.as_json(), indent=2))
    return outcome


async def _come_to_rest(stage: Stage, load: Load, held: Held) -> None:
    """Let everything finish, the reconciler make good what was lost, and every sequence end; then read the rows twice."""
    await stage.ready()
    await stage.idle()
    stage.move(PAST_FIRST_TEXTS_S)
    await stage.idle()
    held.reconciled = await stage.reconcile(load.listed)
    await stage.idle()
    for seconds in AFTERWARDS_S:
        stage.move(seconds)
        await stage.idle()
    held.row_digests["the workers at work"] = await stage.row_digests()
    await stage.fresh_sequencers()
    held.row_digests["fresh workers"] = await stage.row_digests()


def first_texts_s(calls: Sequence[CallPlaced], posted: Sequence[Posted]) -> list[float]:
    """Return how long each missed caller waited for the first text, from the webhook of the call's end to its request."""
    ended: dict[str, float] = {}
    for call in calls:
        if call.caller and call.ended_s is not None and not call.answered:
            ended[call.caller] = min(call.ended_s, ended.get(call.caller, call.ended_s))
    first: dict[str, float] = {}
    for post in posted:
        if post.accepted:
            first.setdefault(post.to, post.at_s)
    return [max(0.0, first[caller] - at) for caller, at in ended.items() if caller in first]


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {name: round(percentile(seconds, share) * 1000, 1) for name, share in (("p50", 0.5), ("p99", 0.99))}


def make_load(stage: Stage, http: aiohttp.ClientSession, seed: int) -> Load:
    """Return a load on every ingest of a stage."""
    urls = [system.ingest_url for system in stage.systems]
    return Load(base_urls=urls, http=http, seed=seed, clock=FileClock(stage.clock_path))


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
