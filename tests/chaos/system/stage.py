"""Two brokers, mongod, the sandbox and every service, some of them twice: started, broken, supervised, stopped."""

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import aiohttp

from deploy.local.mongo import LocalMongo
from deploy.local.system import SERVICES, System, SystemFailure, fresh_name
from schemas.topics import topics_of
from services.runtime.clock import FileClock, monotonic_s, real_now, write_clock
from tests.chaos.system.cluster import Broker, Cluster
from tests.chaos.system.collect import unsafe_in
from tests.chaos.system.history import Away
from tests.chaos.system.proxy import Proxy
from tests.chaos.system.schedule import FIRST, KAFKA, MONGO, PROVIDER, SECOND, Fault, Kind

RESTART_AFTER_S: Final = 0.5
DOUBT_WAIT_S: Final = "5"
"""A text in doubt is looked up this soon after its deadline (60 s outside tests)."""
TERM_LIMIT_S: Final = 40.0
SLOW_S: Final = 0.3
"""How much later every byte to and from a slow broker arrives."""
SPOOLS: Final = "spools"

T = TypeVar("T")


@dataclass
class Stage:
    """Everything that a run needs, and the hands that break it.

    Args:
        folder: for data and logs.
        instances: of each service.
        clock_start: where the virtual clock starts; it runs at the real rate.
        seed: says which partitions are on one broker alone.
    """

    folder: Path
    instances: int
    clock_start: datetime
    seed: int = 1
    say: Callable[[str], None] = print
    systems: list[System] = field(default_factory=list)
    exits: dict[str, list[int]] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    away: list[Away] = field(default_factory=list)
    done: list[Fault] = field(default_factory=list)
    """The faults that happened: what is broken already is not broken again."""

    def __post_init__(self) -> None:
        # The kernel kills a server when the *thread* that started it ends: this one lives as long as the stage.
        self._servers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")
        self._kafka, self._mongo = Cluster(self.folder), LocalMongo(self.folder / "mongo")
        self.clock_path = self.folder / "clock.json"
        self._supervisors: list[asyncio.Task[None]] = []
        self._down_for: dict[tuple[int, str], float] = {}
        self._stack = contextlib.AsyncExitStack()
        self._broken: set[tuple[str, int]] = set()
        self._ingest_down: dict[int, float] = {}
        self._ending = False

    @property
    def kafka(self) -> str:
        """Bootstrap servers."""
        return self._kafka.bootstrap_servers

    @property
    def mongodb(self) -> str:
        """The URL of mongod itself, without a proxy."""
        return self._mongo.url

    @property
    def first(self) -> System:
        """The system whose sandbox and ingest everybody uses."""
        return self.systems[0]

    async def __aenter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)  # a server's data know the port of the run that made them
        self.folder.mkdir(parents=True)
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _start(self) -> None:
        for proxy in self._kafka.proxies:
            await self._stack.enter_async_context(proxy)
        self._kafka.make()
        await self._in_thread(self._kafka.start)
        await self._in_thread(self._mongo.start)
        prefix = f"{fresh_name()}-"
        await self._kafka.create_topics(topics_of(prefix), self.seed)
        write_clock(self.clock_path, self.clock_start, 1.0)
        self.mongo_proxy = await self._stack.enter_async_context(Proxy(self._mongo.port))
        mongodb = f"mongodb://127.0.0.1:{self.mongo_proxy.port}/?directConnection=true"
        database = fresh_name()
        for n in range(self.instances):
            env = {
                "RINGBACK_INSTANCE": f"chaos-{n}",
                "RINGBACK_DOUBT_WAIT_S": DOUBT_WAIT_S,
                "RINGBACK_SPOOL_DIR": str(self.folder / SPOOLS / str(n)),
            }
            system = System(
                self.kafka,
                mongodb,
                self.folder / f"instance-{n}",
                database=database,
                group_prefix=prefix,
                clock=str(self.clock_path),
                env=env,
            )
            self.systems.append(system)
        sandbox_port = int(self.first.sandbox_url.rpartition(":")[2])
        self.provider_proxy = await self._stack.enter_async_context(Proxy(sandbox_port))
        for system in self.systems:
            system.env["RINGBACK_TWILIO_BASE_URL"] = f"http://127.0.0.1:{self.provider_proxy.port}"
            system.env["RINGBACK_PUBLIC_BASE_URL"] = self.first.ingest_url
        await self.first.launch("sandbox")
        for n in range(len(self.systems)):
            for name in SERVICES:
                self._supervisors.append(asyncio.create_task(self._supervise(n, name), name=f"{name}/{n}"))
        await self.ready()

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        for task in self._supervisors:
            task.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        for system in reversed(self.systems):
            for name in list(system.running):
                system.resume(name)
            await system.stop()
        await self._stack.aclose()
        await self._in_thread(self._mongo.stop)
        await self._in_thread(self._kafka.stop)
        self._servers.shutdown()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._servers, work)

    async def _supervise(self, n: int, name: str) -> None:
        """Keep one process running, as Kubernetes would: start it again whenever it ends."""
        system = self.systems[n]
        while not self._ending:
            try:
                await system.launch(name)
                self._ingest_back(n, name)
            except SystemFailure as failure:
                self.exits.setdefault(f"{name}/{n}", []).append(-1)
                self.say(str(failure).splitlines()[0])
            else:
                code = await system.running[name].process.wait()
                self._ingest_gone(n, name)
                self.exits.setdefault(f"{name}/{n}", []).append(code)
            await asyncio.sleep(self._down_for.pop((n, name), RESTART_AFTER_S))

    def _ingest_gone(self, n: int, name: str) -> None:
        if name == "ingest":
            self._ingest_down.setdefault(n, real_now().timestamp())

    def _ingest_back(self, n: int, name: str) -> None:
        if name == "ingest" and (since := self._ingest_down.pop(n, None)) is not None:
            self.away.append(Away(instance=n, from_s=since, to_s=real_now().timestamp()))

    async def ready(self, limit_s: float = 90.0) -> None:
        """Wait until every process of every instance is ready at once.

        Raises:
            SystemFailure: one is not, in time.
        """
        until = monotonic_s() + limit_s
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while True:
                waiting = [line for system in self.systems for line in await _unready(system, http)]
                if not waiting:
                    return
                if monotonic_s() > until:
                    raise SystemFailure(f"not ready after {limit_s:.0f} s: {'; '.join(waiting)}")
                await asyncio.sleep(0.2)

    async def idle(self, limit_s: float = 300.0) -> None:
        """Wait until nothing is under way in any process, twice running.

        Raises:
            SystemFailure: something is, all that time.
        """
        until, quiet = monotonic_s() + limit_s, 0
        busy: list[str] = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            while quiet < 2:
                try:
                    busy = [line for system in self.systems for line in await system.busy_with(http)]
                except (aiohttp.ClientError, TimeoutError) as error:
                    busy = [repr(error)]
                quiet = 0 if busy else quiet + 1
                if monotonic_s() > until:
                    raise SystemFailure(f"not idle after {limit_s:.0f} s: {'; '.join(busy)}")
                await asyncio.sleep(0.1)

    def move(self, seconds: float) -> None:
        """Move the virtual clock on."""
        now = FileClock(self.clock_path).now()
        write_clock(self.clock_path, now + timedelta(seconds=seconds), 1.0)

    async def fresh_sequencers(self) -> None:
        """Kill every sequencer and wait until others have read the rows anew."""
        for system in self.systems:
            running = system.running["sequencer"]
            running.process.kill()
            await running.process.wait()
        await asyncio.sleep(0.1)
        await self.ready()
        await self.idle()

    async def row_digests(self) -> dict[int, str]:
        """Return the hash over the rows of each partition, from the worker that holds it."""
        found: dict[int, str] = {}
        async with aiohttp.ClientSession() as http:
            for system in self.systems:
                async with http.get(f"{system.running['sequencer'].ops}/state") as answer:
                    state: dict[str, Any] = await answer.json()
                found |= {int(partition): told for partition, told in state["rows"].items()}
        return found

    async def reconcile(self, calls: list[dict[str, Any]], limit_s: float = 90.0) -> dict[str, int]:
        """Have the phone company list its calls and the reconciler make one pass; return what it told, by type.

        Its first life is killed somewhere in its pass; what that told is there, and not counted.

        Raises:
            SystemFailure: no pass is finished in time.
        """
        system, until = self.first, monotonic_s() + limit_s
        async with aiohttp.ClientSession() as http:
            for at in range(0, len(calls), 5000):
                body = {"calls": calls[at : at + 5000]}
                async with http.post(f"{system.sandbox_url}/_control/calls", json=body) as answer:
                    answer.raise_for_status()
            mine = system.env["RINGBACK_SPOOL_DIR"]
            system.env["RINGBACK_SPOOL_DIR"] = str(self.folder / SPOOLS)
            try:
                await system.launch("reconciler")
                await asyncio.sleep(random.Random(f"reconciler:{self.seed}").uniform(0.0, 1.5))
                await system.kill("reconciler")
                await system.launch("reconciler")
            finally:
                system.env["RINGBACK_SPOOL_DIR"] = mine
            told: dict[str, int] = {}
            while not told.get("passes"):
                if monotonic_s() > until:
                    raise SystemFailure(f"the reconciler has finished no pass within {limit_s:.0f} s")
                await asyncio.sleep(0.5)
                async with http.get(f"{system.running['reconciler'].ops}/metrics") as answer:
                    told = _reconciled(await answer.text())
        await system.stop("reconciler")
        return {kind: count for kind, count in told.items() if kind != "passes"}

    def unsafe(self) -> tuple[int, frozenset[str]]:
        """Return how many calls went on without a safe event, and which events died in memory."""
        logs = [self.folder / f"instance-{n}" / "ingest.log" for n in range(len(self.systems))]
        found = [unsafe_in(log.read_text(errors="replace").splitlines()) for log in logs if log.exists()]
        return sum(calls for calls, _ in found), frozenset[str]().union(*(died for _, died in found))

    # --- breaking ----------------------------------------------------------------------------------------------------

    async def break_with(self, fault: Fault) -> None:
        """Do what a fault says, and put it right after its time; what is broken already is left alone."""
        key = (fault.target, fault.instance)
        if key in self._broken or (fault.target in SERVICES and self._is_down(fault)):
            return
        self._broken.add(key)
        self.say(str(fault))
        self.done.append(fault)
        try:
            await self._do(fault)
        finally:
            self._broken.discard(key)

    def _is_down(self, fault: Fault) -> bool:
        running = self.systems[fault.instance].running.get(fault.target)
        return running is None or running.process.returncode is not None

    async def _do(self, fault: Fault) -> None:
        if fault.target == KAFKA:
            await self._break_kafka(fault)
            return
        first, second = self._kafka.proxies
        proxies = {FIRST: first, SECOND: second, MONGO: self.mongo_proxy, PROVIDER: self.provider_proxy}
        servers: dict[str, Broker | LocalMongo] = {
            FIRST: self._kafka.brokers[0],
            SECOND: self._kafka.brokers[1],
            MONGO: self._mongo,
        }
        if fault.kind in (Kind.CUT, Kind.REFUSE, Kind.SLOW):
            await self._break_proxy(proxies[fault.target], fault)
        elif fault.target in servers:
            await self._break_server(servers[fault.target], fault)
        else:
            await self._break_service(fault)

    async def _break_kafka(self, fault: Fault) -> None:
        """Kill both brokers."""
        await asyncio.gather(*(self.break_with(replace(fault, target=target)) for target in (FIRST, SECOND)))

    async def _break_server(self, server: Broker | LocalMongo, fault: Fault) -> None:
        if fault.kind in (Kind.KILL, Kind.TERM, Kind.AWAY):
            await self._in_thread(server.stop if fault.kind is Kind.TERM else server.kill)
            await asyncio.sleep(fault.for_s)
            await self._in_thread(server.launch)
            # In another thread: the second broker is ready only once the first is there, which this may have to start.
            await asyncio.to_thread(server.wait_until_ready)
            return
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(fault.for_s)
        os.kill(pid, signal.SIGCONT)

    async def _break_proxy(self, proxy: Proxy, fault: Fault) -> None:
        if fault.kind is Kind.SLOW:
            proxy.delay_s = SLOW_S
        else:
            proxy.refusing = fault.kind is Kind.REFUSE
            proxy.cut()
        await asyncio.sleep(fault.for_s)
        proxy.refusing, proxy.delay_s = False, 0.0

    async def _break_service(self, fault: Fault) -> None:
        system, key = self.systems[fault.instance], (fault.instance, fault.target)
        running = system.running[fault.target]
        self._ingest_gone(fault.instance, fault.target)
        if fault.kind in (Kind.PAUSE, Kind.LONG_PAUSE):
            system.pause(fault.target)
            await asyncio.sleep(fault.for_s)
            with contextlib.suppress(KeyError):
                system.resume(fault.target)
            self._ingest_back(fault.instance, fault.target)
            return
        self._down_for[key] = fault.for_s
        if fault.kind is Kind.KILL:
            running.process.kill()
            return
        running.process.terminate()
        try:
            async with asyncio.timeout(TERM_LIMIT_S):
                await running.process.wait()
        except TimeoutError:
            self.breaches.append(f"{fault.target}/{fault.instance} did not stop within {TERM_LIMIT_S:.0f} s of SIGTERM")
            running.process.kill()


def _reconciled(metrics: str) -> dict[str, int]:
    """Return the reconciler's finished passes and what it told, by type."""
    found = {}
    for line in metrics.splitlines():
        if told := re.fullmatch(r'ringback_reconciled_events_total{type="(.+)"} (.+)', line):
            found[told[1]] = int(float(told[2]))
        elif told := re.fullmatch(r"ringback_reconciler_passes_total (.+)", line):
            found["passes"] = int(float(told[1]))
    return found


async def _unready(system: System, http: aiohttp.ClientSession) -> list[str]:
    found = []
    for name in SERVICES:
        running = system.running.get(name)
        if running is None or not running.ports:
            found.append(f"{name} is down")
            continue
        try:
            async with http.get(f"{running.ops}/readyz") as answer:
                if answer.status != 200:
                    found.append(f"{name}: {await answer.text()}")
        except (aiohttp.ClientError, TimeoutError) as error:
            found.append(f"{name}: {error!r}")
    return found
