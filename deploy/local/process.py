"""One server process of ours: started with its log in a file, waited for, stopped by its own pid, gone when we are."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from services.runtime.clock import monotonic_s

PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """A server did not start; the message says why and holds the end of its log."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however it ends (Linux); for `preexec_fn`."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6", use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def listens(port: int) -> bool:
    """Return whether somebody listens on a port of 127.0.0.1."""
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
        detached: outlives us (`make up`); otherwise the kernel kills it when we end.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, *, detached: bool = False) -> None:
        self.name, self._command, self.log, self._detached = name, list(command), log, detached
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def start(self, ready: Callable[[], bool], limit_s: float) -> None:
        """Start and wait until `ready`.

        Raises:
            StartError: it ended, or is not ready in time.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        env = {key: value for key, value in os.environ.items() if not key.startswith("RINGBACK_")}
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=self.log.parent,
                start_new_session=True, preexec_fn=None if self._detached else die_with_parent,
            )  # fmt: skip
        until = monotonic_s() + limit_s
        pause = _pauses()
        while not ready():
            if (code := self._process.poll()) is not None:
                raise StartError(f"{self.name} ended with {code}:\n{tail(self.log)}")
            if monotonic_s() > until:
                self.kill()
                raise StartError(f"{self.name} is not ready after {limit_s:.0f} s:\n{tail(self.log)}")
            pause()

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


def _pauses() -> Callable[[], None]:
    import time

    return lambda: time.sleep(0.05)
