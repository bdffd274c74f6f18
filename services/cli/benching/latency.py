"""Open-loop signed webhooks at a steady rate through all four services, to the request at the sandbox."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from twilio.request_validator import RequestValidator

from deploy.local.kafka import LocalKafka
from deploy.local.system import ACCOUNT_SID, AUTH_TOKEN
from services.cli.exits import Cannot, shortened
from services.cli.first_text_latency import STAGES, first_text_timings, percentile
from services.cli.local_run import Run, local_run
from services.cli.replaying.webhooks import dialled_legs, sid
from services.runtime.clock import monotonic_s
from services.runtime.exits import EXITS

BRANCHES = ("+12125550100", "+13035550100", "+12135550100")
AREAS = [area for area in range(200, 1000) if area % 100 != 11]  # 211, 311 ... are services, not places
WARM_UP_CALLS = 100
DRAIN_S = 30.0


def caller_of(n: int) -> str:
    """Return the nth caller: 79,200 numbers of the block that is kept for fiction."""
    return f"+1{AREAS[n // 100 % len(AREAS)]}55501{n % 100:02d}"


class LoadGenerator:
    """Missed calls as Twilio would report them, signed."""

    def __init__(self, run: Run, http: aiohttp.ClientSession) -> None:
        self._base, self._http = run.ingest_url, http
        self._validator = RequestValidator(AUTH_TOKEN)
        self.webhooks = 0
        self.refused = 0

    async def _post(self, url: str, form: dict[str, str]) -> str:
        headers = {"X-Twilio-Signature": self._validator.compute_signature(url, form)}
        async with self._http.post(url, data=form, headers=headers) as answer:
            self.webhooks += 1
            self.refused += answer.status >= 300
            return await answer.text()

    async def missed_call(self, n: int, run_id: str) -> None:
        """One missed call: voice, the legs' ends, and the end that decides."""
        call = sid("CA", run_id, str(n))
        parties = {
            "CallSid": call,
            "AccountSid": ACCOUNT_SID,
            "From": caller_of(n),
            "To": BRANCHES[n % len(BRANCHES)],
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
        }
        twiml = await self._post(f"{self._base}/webhooks/twilio/voice", {**parties, "CallStatus": "ringing"})
        for leg in dialled_legs(twiml):
            own = {**parties, "CallSid": sid("CA", call, leg.to), "ParentCallSid": call, "To": leg.to}
            await self._post(leg.status_url, {**own, "Direction": "outbound-dial", "CallStatus": "no-answer"})
        await self._post(
            f"{self._base}/webhooks/twilio/call-status", {**parties, "CallStatus": "completed", "CallDuration": "25"}
        )


async def measure_latency(rate: float, seconds: int, console: Console) -> dict[str, Any]:
    """Return the figures of one run with real Kafka, MongoDB and services, on the system's clock.

    The generator is open loop: call n starts at n / rate whether or not the system keeps up.
    """
    total = int(rate * seconds)
    # The reconciler's work grows with minutes and not with calls, and no call waits for it.
    async with local_run(
        "bench",
        None,
        lambda line: console.print(f"  {line}"),
        sandbox_args=("--callback-statuses", "final"),
        without=("reconciler",),
    ) as run:
        connector = aiohttp.TCPConnector(limit=200)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as http:
            generator = LoadGenerator(run, http)
            # Caches, connections and the JVM's compiler first; these calls are not in the figures.
            for n in range(WARM_UP_CALLS):
                await generator.missed_call(total + n, "warm-up")
            await _drained(run, http, WARM_UP_CALLS)
            generator.webhooks = 0
            before = cpu_by_process(run)
            try:
                late = await _open_loop(generator, rate, total, console)
            except* aiohttp.ClientError:
                all_run(run)  # what has ended says more than who could not reach it
                raise
            await _drained(run, http, total + WARM_UP_CALLS)
            all_run(run)
            after = cpu_by_process(run)
            deliveries = [doc async for doc in run.db.deliveries.find({})]
            timings = await first_text_timings(run.stack.kafka, deliveries)
    measured = {caller_of(n) for n in range(total)}
    timings = [timing for timing in timings if timing.caller in measured]
    columns: dict[str, Iterable[float]] = {
        stage: [timing.stages[stage] for timing in timings] for stage in STAGES if stage != "provider"
    }
    columns["in all"] = [timing.to_request_ms for timing in timings]
    return {
        "rate": rate,
        "seconds": seconds,
        "calls": total,
        "texted": len(timings),
        "webhooks": generator.webhooks,
        "cpu_ms_per_call": {name: (after[name] - before[name]) * 1000 / total for name in after},
        "refused": generator.refused,
        "generator_late_ms_p99": percentile(late, 0.99),
        "stages_ms": {
            stage: {
                "p50": percentile(values, 0.5),
                "p95": percentile(values, 0.95),
                "p99": percentile(values, 0.99),
                "max": percentile(values, 1.0),
            }
            for stage, values in columns.items()
        },
    }


def all_run(run: Run) -> None:
    """Return only if every service still runs; figures without one of them would be worth nothing.

    Raises:
        Cannot: one has ended; names it, its exit code and its log.
    """
    for name, running in run.system.running.items():
        if (code := running.process.returncode) is not None:
            why = f": {meaning}" if (meaning := EXITS.get(code)) else ""
            raise Cannot(shortened(f"{name} ended with {code}{why}"), f"its log is {running.log}")


def cpu_by_process(run: Run) -> dict[str, float]:
    """Return the processor seconds each process of a run has used so far, the load generator's (ours) included."""
    pids = {name: running.process.pid for name, running in run.system.running.items()}
    pids |= {
        "Kafka" if isinstance(server, LocalKafka) else "mongod": server.pid
        for server in run.stack.servers
        if hasattr(server, "pid")
    }
    pids["load generator"] = os.getpid()
    ticks = os.sysconf("SC_CLK_TCK")
    return {name: _ticks(pid) / ticks for name, pid in pids.items()}


def _ticks(pid: int) -> int:
    found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(found[11]) + int(found[12])


async def _open_loop(generator: LoadGenerator, rate: float, total: int, console: Console) -> list[float]:
    late: list[float] = []
    began = monotonic_s()
    with Progress(
        TextColumn("calling"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("calls", total=total)
        async with asyncio.TaskGroup() as group:
            for n in range(total):
                if (wait := began + n / rate - monotonic_s()) > 0:
                    await asyncio.sleep(wait)
                late.append(max(0.0, (monotonic_s() - began - n / rate) * 1000))
                group.create_task(generator.missed_call(n, "bench"))
                bar.advance(task)
    return late


async def _drained(run: Run, http: aiohttp.ClientSession, texts: int) -> None:
    until = monotonic_s() + DRAIN_S
    while monotonic_s() < until:
        async with http.get(f"{run.system.sandbox_url}/_control/counts") as answer:
            counts = await answer.json()
        if counts["outbound"] >= texts:
            return
        all_run(run)
        await asyncio.sleep(0.2)
