"""The highest rate at which the same set-up without faults keeps its promise of a first text within two seconds.

A short ramp, once for each boot of a machine: a rate is a matter of the machine, not of the code under test.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp

from deploy.local.kafka import DEFAULT_STATE
from services.cli.first_text_latency import percentile
from tests.chaos.system.collect import Held, collect
from tests.chaos.system.run import WEDNESDAY_14_EDT, first_texts_s, make_load
from tests.chaos.system.stage import Stage

RATES: Final = (5.0, 10.0, 15.0, 20.0, 25.0)
LOWEST: Final = RATES[0]
STEP_S: Final = 8.0
LIMIT_S: Final = 2.0
SEED: Final = 0


def machine() -> str:
    """Say what this ran on: processors, memory, kernel."""
    info = Path("/proc/cpuinfo").read_text()
    cores, model = info.count("processor\t"), next((x for x in info.splitlines() if x.startswith("model name")), ": ?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return f"{cores} x {model.partition(': ')[2]}, {memory:.0f} GB, Linux {Path('/proc/sys/kernel/osrelease').read_text().strip()}"


async def rate_of(instances: int, folder: Path, say: Callable[[str], None]) -> float:
    """Return the rate, measured or remembered; where even the lowest is too high it is the lowest, and that is said."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cache = DEFAULT_STATE / "chaos-rate.json"
    key = f"{boot}/{instances}"
    try:
        known: dict[str, float] = json.loads(cache.read_text())
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known = {key: await _measured(instances, folder, say)}
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps(known))
    say(f"rate: {known[key]:g} calls/s, the highest of {RATES} with a p99 of first texts within {LIMIT_S:g} s")
    return known[key]


async def _measured(instances: int, folder: Path, say: Callable[[str], None]) -> float:
    kept = LOWEST
    stage = Stage(folder, instances, WEDNESDAY_14_EDT, say=say)
    async with stage, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=300)) as http:
        load, first = make_load(stage, http, SEED), 0
        await load.run(LOWEST, STEP_S, first)  # connections and caches; not in the figures
        first += int(LOWEST * STEP_S)
        for rate in RATES:
            before = len(load.calls)
            await load.run(rate, STEP_S, first)
            first += int(rate * STEP_S)
            await stage.idle()
            found = await collect(stage.first, stage.kafka, stage.mongodb, load, Held())
            waited = first_texts_s(load.calls[before:], found.posted)
            p99 = percentile(waited, 0.99)
            say(f"calibration: {rate:g} calls/s, {len(waited)} first texts, p99 {p99:.2f} s")
            if not waited or p99 > LIMIT_S:
                if rate == LOWEST:
                    say(f"calibration: not even {LOWEST:g} calls/s keep p99 within {LIMIT_S:g} s here")
                break
            kept = rate
    return kept
