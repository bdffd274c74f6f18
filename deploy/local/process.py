"""A server process that we start: its log in a file, stopped by its own pid, ended by the kernel when we end."""

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from services.runtime.clock import monotonic_s

PR_SET_PDEATHSIG = 1
# Loaded once here: between fork and exec nothing may be imported or looked up.
LIBC = ctypes.CDLL("libc.so.6", use_errno=True) if sys.platform == "linux" else None
LOWEST_PORT = 12_000
POLL_S = 0.05
PID_FILE = "pid.json"


class StartError(Exception):
    """A server did not start; the message says why and holds the end of its log."""


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that are free at this moment.

    They lie below the range from which the kernel takes ports for outgoing connections. Otherwise a server that is down
    for a moment (killed, restarted) may find its port taken by a client, even by one that tries to reach that server.
    """
    lent_from = _lent_from()
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            sock = stack.enter_context(socket.socket())
            wanted = LOWEST_PORT + secrets.randbelow(lent_from - LOWEST_PORT) if lent_from > LOWEST_PORT else 0
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", wanted))
                found.append(int(sock.getsockname()[1]))
        return found


def free_port() -> int:
    """Return one such port."""
    return free_ports(1)[0]


def _lent_from() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 49_152  # IANA's; what macOS uses


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however it ends (Linux); for `preexec_fn`.

    "Parent" is the *thread* that started it: start servers from a thread that lives as long as they are needed.
    """
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def started_ticks(pid: int) -> int | None:
    """Return when a process started (kernel ticks), None when it has ended: a pid alone may belong to another process by now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def listens(port: int) -> bool:
    """Return whether a port of 127.0.0.1 accepts connections."""
    with socket.socket() as sock:
        sock.settimeout(0.2)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def tail(path: Path, lines: int = 20) -> str:
    """Return the end of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"


class Server:
    """A process and the file its output goes to.

    Args:
        name: for messages.
        command: what to run.
        log: appended to.
        detached: outlives us (`make up`) and leaves its pid beside the log; otherwise the kernel kills it when we end.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, *, detached: bool = False) -> None:
        self.name, self._command, self.log, self._detached = name, list(command), log, detached
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        return self._running().pid

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} is not running"
        return self._process

    def launch(self) -> None:
        """Start it, and return without waiting; an interrupt leaves no process.

        Raises:
            StartError: it cannot be run.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        env = {key: value for key, value in os.environ.items() if not key.startswith("RINGBACK_")}
        try:
            with self.log.open("ab") as out:
                self._process = process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=env,
                    cwd=self.log.parent,
                    start_new_session=True,
                    preexec_fn=None if self._detached else die_with_parent,
                )
        except OSError as error:
            raise StartError(f"{self.name} cannot be run: {error}") from error
        if self._detached:
            try:
                born = {"pid": process.pid, "started": started_ticks(process.pid)}
                (self.log.parent / PID_FILE).write_text(json.dumps(born))
            except BaseException:
                self.kill()
                raise

    def wait_until(self, ready: Callable[[], bool], limit_s: float) -> None:
        """Wait until `ready`; a failure or an interrupt leaves no process.

        Raises:
            StartError: it ended, or is not ready in time.
        """
        process = self._running()
        until = monotonic_s() + limit_s
        try:
            while not ready():
                if (code := process.poll()) is not None:
                    raise StartError(f"{self.name} ended with {code}:\n{tail(self.log)}")
                if monotonic_s() > until:
                    raise StartError(f"{self.name} is not ready after {limit_s:.0f} s:\n{tail(self.log)}")
                time.sleep(POLL_S)
        except BaseException:
            self.kill()
            raise

    def start(self, ready: Callable[[], bool], limit_s: float) -> None:
        """Start it and wait until `ready`; whatever interrupts that leaves no process.

        Raises:
            StartError: it cannot be run, ended, or is not ready in time.
        """
        self.launch()
        self.wait_until(ready, limit_s)

    def stop(self, limit_s: float = 20.0) -> None:
        """Ask it to end, and make it after a while."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(limit_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class LocalServer(ABC):
    """A server on 127.0.0.1 with its data and log in a folder; it keeps port and data over a restart.

    Args:
        folder: made when missing; data in it are used again.
        port: where it listens.
        detached: it outlives this process.
    """

    start_limit_s = 60.0

    def __init__(self, folder: Path, port: int, *, detached: bool) -> None:
        self.folder, self.port, self._detached = folder.absolute(), port, detached
        self._server: Server | None = None

    @abstractmethod
    def _prepared(self) -> tuple[str, Sequence[str], Path]:
        """Prepare the folder; return the server's name for messages, its command and its log."""

    @abstractmethod
    def _ready(self) -> bool:
        """Return whether clients can use it."""

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        assert self._server is not None, "not started"
        return self._server.pid

    def launch(self) -> None:
        """Start it, and return without waiting: `wait_until_ready` is the other half of `start`.

        Raises:
            StartError: it cannot be run.
        """
        name, command, log = self._prepared()
        server = Server(name, command, log, detached=self._detached)
        server.launch()
        self._server = server

    def wait_until_ready(self) -> None:
        """Return once clients can use it; a failure leaves no process.

        Raises:
            StartError: it ended, or is not ready in time.
        """
        assert self._server is not None, "not started"
        try:
            self._server.wait_until(self._ready, self.start_limit_s)
        except BaseException:
            self._server = None
            raise

    def start(self) -> None:
        """Start it and wait until clients can use it.

        Raises:
            StartError: it cannot be run, ended, or is not ready in time.
        """
        self.launch()
        self.wait_until_ready()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def kill(self) -> None:
        """Kill it at once, as a crash would."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def restart(self) -> None:
        """Start it again on the same port and data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def stop_by_pid_file(file: Path, limit_s: float = 20.0) -> bool:
    """Stop the detached server that a pid file names; return whether it was running. Never another process of that pid."""
    try:
        born = json.loads(file.read_text())
        pid, started = int(born["pid"]), int(born["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if started_ticks(pid) != started:
        return False
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        until = monotonic_s() + limit_s
        while started_ticks(pid) == started and monotonic_s() < until:
            time.sleep(POLL_S)
        if started_ticks(pid) != started:
            break
    return True
