"""All of Ringback on one machine: the sandbox, the five services and the reconciler as processes, to start, watch, pause, kill and stop.

Used by `ringback demo`, `ringback bench` and the e2e tests alike, so that all three run the same system.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp

from deploy.local.process import die_with_parent, free_ports, tail
from services.runtime.clock import monotonic_s

ACCOUNT_SID = "AC" + "5a" * 16
AUTH_TOKEN = "sandbox-auth-token"  # noqa: S105  # the sandbox's, which guards nothing
WEBHOOK_SECRET = "sandbox-webhook-secret"  # noqa: S105
NUMBER_KEY = "sandbox-number-key-of-32-characters"
EXAMPLE_DIRECTORY = Path(__file__).parents[1] / "examples" / "lender.yaml"

MODULES: Mapping[str, str] = {
    "sandbox": "deploy.sandbox",
    "ingest": "services.ingest",
    "leads": "services.leads",
    "sequencer": "services.sequencer",
    "timekeeper": "services.sequencer.timekeeper",
    "notifier": "services.notifier",
    "reconciler": "services.ingest.reconcile",
}
SERVICES = tuple(name for name in MODULES if name not in ("sandbox", "reconciler"))
"""What a call goes through; the reconciler looks on."""
START_LIMIT_S = 60.0
STOP_LIMIT_S = 35.0  # a service takes 30 s at most
READY_POLL_S = 0.05


class SystemFailure(Exception):
    """A process did not start, or ended; the message holds the end of its log."""


@dataclass
class Running:
    """One process of ours."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ports: dict[str, int]

    @property
    def ops(self) -> str:
        """The URL of its operations port."""
        return f"http://127.0.0.1:{self.ports['ops_port']}"


@dataclass
class System:
    """All processes but Kafka and MongoDB, whose addresses it is given.

    Args:
        kafka: bootstrap servers; the topics must exist.
        mongodb: URL.
        folder: where logs and the spool go.
        database: MongoDB database, one per system.
        clock: `system` or a clock file.
        group_prefix: keeps consumer groups of several systems on one cluster apart.
        directory: the lender's file.
        env: more settings, by their full names.
        sandbox_args: more arguments for the sandbox.
        without: processes that are started only by name.
        say: called with a line for each service that gets ready.
    """

    kafka: str
    mongodb: str
    folder: Path
    database: str = "ringback"
    clock: str = "system"
    group_prefix: str = ""
    directory: Path = EXAMPLE_DIRECTORY
    env: dict[str, str] = field(default_factory=dict)
    sandbox_args: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda _: None
    running: dict[str, Running] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)
    _busy_last: str = ""

    def __post_init__(self) -> None:
        """Choose all ports now: every process gets the others' addresses, and keeps its own port when restarted."""
        names = ["ingest", *(f"{name}-ops" for name in MODULES), "sandbox"]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))

    @property
    def ingest_url(self) -> str:
        """Where webhooks go; also what they are signed with."""
        return f"http://127.0.0.1:{self._ports['ingest']}"

    @property
    def sandbox_url(self) -> str:
        """The Twilio-compatible server, and its page."""
        return f"http://127.0.0.1:{self._ports['sandbox']}"

    def environment(self, name: str) -> dict[str, str]:
        """Return one process's environment."""
        ours = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "MONGODB_URL": self.mongodb,
            "MONGODB_DATABASE": self.database,
            "CLOCK": self.clock,
            "GROUP_PREFIX": self.group_prefix,
            "DIRECTORY": str(self.directory),
            "NUMBER_KEY": NUMBER_KEY,
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "TWILIO_BASE_URL": self.sandbox_url,
            "PUBLIC_BASE_URL": self.ingest_url,
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            "INGEST_HOST": "127.0.0.1",
            "SPOOL_DIR": str(self.folder / "spool"),
            "INGEST_PORT": str(self._ports["ingest"]),
            "OPS_PORT": str(self._ports[f"{name}-ops"]),
            "LOG_LEVEL": "INFO",
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RINGBACK_")}
        return {
            **kept,
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "random",
            **{f"RINGBACK_{key}": value for key, value in ours.items()},
            **self.env,
        }

    async def start(self, *names: str) -> None:
        """Start processes side by side (all but `without`, when none is named) and wait until each says it is ready.

        Raises:
            SystemFailure: one did not get ready.
        """
        wanted = names or tuple(name for name in MODULES if name not in self.without)
        await side_by_side(*(self.launch(name) for name in wanted))
        await self.ready(*wanted)

    async def launch(self, name: str) -> None:
        """Start one process and wait until it says its ports; it may not be ready yet.

        Raises:
            SystemFailure: it ended, or said nothing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        args = ["--port", str(self._ports["sandbox"]), *self.sandbox_args] if name == "sandbox" else []
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                MODULES[name],
                *args,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                env=self.environment(name),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        assert process.stdout is not None
        running = Running(name=name, process=process, log=log, ports={})
        self.running[name] = running
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while not running.ports:
                    line = await process.stdout.readline()
                    if not line:
                        raise SystemFailure(f"{name} ended at start with {await process.wait()}:\n{tail(log)}")
                    with contextlib.suppress(ValueError):
                        found = json.loads(line)
                        if isinstance(found, dict) and ("ops_port" in found or "url" in found):
                            running.ports = {key: value for key, value in found.items() if isinstance(value, int)}
                            running.ports.setdefault("ops_port", self._ports["sandbox"])
        except TimeoutError as error:
            raise SystemFailure(f"{name} did not start within {START_LIMIT_S:.0f} s:\n{tail(log)}") from error

    async def ready(self, *names: str) -> None:
        """Wait until processes answer /readyz with 200; say of each when it does.

        Raises:
            SystemFailure: one ended, or did not get ready in time.
        """
        wanted = [name for name in names or self.running if name != "sandbox"]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            await side_by_side(*(self._ready(http, name) for name in wanted))

    async def _ready(self, http: aiohttp.ClientSession, name: str) -> None:
        until, said = monotonic_s() + START_LIMIT_S, ""
        while True:
            running = self.running[name]
            if running.process.returncode is not None:
                raise SystemFailure(f"{name} ended with {running.process.returncode}:\n{tail(running.log)}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{running.ops}/readyz") as answer:
                    said = await answer.text()
                    if answer.status == 200:
                        self.say(f"{name} is ready")
                        return
            if monotonic_s() > until:
                raise SystemFailure(f"{name} is not ready: {said}\n{tail(running.log)}")
            await asyncio.sleep(READY_POLL_S)

    async def stop(self, *names: str) -> dict[str, int]:
        """Stop processes with SIGTERM (SIGKILL after a limit), each by its own pid; return their exit codes."""
        wanted = [name for name in reversed(names or tuple(MODULES)) if name in self.running]
        for name in wanted:
            self._signal(name, signal.SIGTERM)
        codes = {}
        for name in wanted:
            running = self.running.pop(name)
            try:
                async with asyncio.timeout(STOP_LIMIT_S):
                    codes[name] = await running.process.wait()
            except TimeoutError:
                running.process.kill()
                codes[name] = await running.process.wait()
        return codes

    async def kill(self, name: str) -> None:
        """Kill a process with SIGKILL and wait until it is gone."""
        running = self.running.pop(name)
        running.process.kill()
        await running.process.wait()

    def pause(self, name: str) -> None:
        """Halt a process at whatever it is doing (SIGSTOP)."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused process continue (SIGCONT)."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.running[name].process.send_signal(signum)

    async def restart(self, name: str, *, kill: bool = False) -> None:
        """Stop (or kill) a process and start it again on the same ports."""
        if kill:
            await self.kill(name)
        else:
            await self.stop(name)
        await self.start(name)

    def ended(self) -> list[str]:
        """Return the processes that have ended by themselves, each with the end of its log."""
        return [
            f"{name} ended with {running.process.returncode}:\n{tail(running.log)}"
            for name, running in self.running.items()
            if running.process.returncode is not None
        ]

    async def busy_with(self, http: aiohttp.ClientSession) -> list[str]:
        """Return what processes still have to do, empty when all are idle; only while the clock is a file.

        Answering takes processor time from the work that is waited for, so the process that was busy last is asked
        first, and the others only once it is idle.
        """
        first = [self._busy_last] if self._busy_last in self.running else []
        for names in (first, [name for name in self.running if name not in first]):
            answers = await asyncio.gather(*(self._busy(http, name) for name in names))
            if busy := [line for lines in answers for line in lines]:
                self._busy_last = next(name for name, lines in zip(names, answers, strict=True) if lines)
                return busy
        return []

    async def _busy(self, http: aiohttp.ClientSession, name: str) -> list[str]:
        async with http.get(f"{self.running[name].ops}/idle") as answer:
            found = await answer.json()
        return [] if found["idle"] else [f"{name}: {reason}" for reason in found.get("busy_with", ["busy"])]

    async def __aenter__(self) -> Self:
        """Start everything; whatever did start is stopped again when something does not."""
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self.stop()


async def side_by_side(*work: Coroutine[None, None, None]) -> None:
    """Do all of it at once; the first failure ends the rest and is raised as it is (a `TaskGroup` would wrap it)."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def fresh_name() -> str:
    """Return a name that is in use nowhere else: for a database, a group prefix."""
    return f"t{secrets.token_hex(4)}"
