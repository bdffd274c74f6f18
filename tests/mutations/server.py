"""Runs pytest in children of a process that has loaded the libraries: most of a short run's time would go there.

Each line on its standard input is one run, as JSON: where, with which arguments, where what it prints goes, and how long it
may take. Each line on its standard output is how it ended: pytest's exit code, or null where it was ended from outside.
Nothing of ours is loaded here, so that a child loads it from the copy with the mutant.
"""

import importlib
import json
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Final

LIBRARIES: Final = (
    "pytest", "aiohttp.web", "aiokafka.admin", "faust", "faust.transport.drivers.aiokafka", "motor.motor_asyncio",
    "twilio.rest", "twilio.request_validator", "pydantic_settings", "structlog", "rich.traceback", "typer", "yaml",
    "phonenumbers", "holidays", "prometheus_client", "jinja2",
)  # fmt: skip
LOOK_S: Final = 0.02


def serve() -> None:
    """Take runs until the input ends."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        run = json.loads(line)
        sys.stdout.write(json.dumps(_forked(run["cwd"], run["args"], run["said"], run["limit_s"])) + "\n")
        sys.stdout.flush()


def _forked(cwd: str, args: list[str], said: str, limit_s: float) -> int | None:
    child = os.fork()
    if child == 0:
        _be_pytest(cwd, args, said)
    until = time.monotonic() + limit_s
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what its tests have left
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(LOOK_S)


def _be_pytest(cwd: str, args: list[str], said: str) -> None:
    """Become one run of pytest, in a group of its own; never returns."""
    os.setsid()
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    code: int = 3
    try:
        code = int(importlib.import_module("pytest").main(args))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    serve()
