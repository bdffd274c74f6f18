"""Running a service: start its parts in order, serve the operations port, stop in reverse order on SIGTERM or SIGINT."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import structlog
from aiohttp.web import AppRunner

from services.runtime import logs, ops
from services.runtime.errors import ConfigurationError, RingbackError
from services.runtime.exits import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_STOPPED
from services.runtime.health import Health
from services.runtime.settings import RuntimeSettings

log = structlog.get_logger(__name__)

STOP_LIMIT_S: Final = 30.0
"""How long all parts together may take to stop; what they leave, the next process repeats."""


class Part(Protocol):
    """One thing a service is made of."""

    async def start(self) -> None:
        """Get ready; raises when it cannot."""

    async def run(self) -> None:
        """Work until stopped; returning or raising before that ends the service."""

    async def stop(self) -> None:
        """Finish what is in hand and disconnect."""


class Resource:
    """A part with nothing of its own to run: a connection, a server."""

    async def start(self) -> None:
        """Get ready."""

    async def run(self) -> None:
        """Wait; there is nothing to do."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Disconnect."""


@runtime_checkable
class Listener(Protocol):
    """A part that listens for connections: its ports are printed for whoever started the service."""

    @property
    def ports(self) -> Mapping[str, int]:
        """What listens on which port; complete once the part has started."""


async def run(name: str, settings: RuntimeSettings, health: Health, parts: Sequence[Part]) -> int:
    """Run a service until it is told to stop; return its exit code (`exits`).

    Prints one JSON line with the service's name and ports once it listens, for whoever started it.
    """
    logs.set_up(name, settings.log_level, settings.log_format)
    log.info("settings", **settings.effective())
    ops.name_build(name)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    ops_app = ops.ops_app(health, with_idle=settings.make_clock().is_file)
    runner: AppRunner | None = None
    started: list[Part] = []
    tasks: list[asyncio.Task[None]] = []
    code = EXIT_STOPPED
    try:
        runner, port = await ops.serve(ops_app, settings.ops_host, settings.ops_port, setting="RINGBACK_OPS")
        for part in parts:
            await part.start()
            started.append(part)
        tasks = [asyncio.create_task(part.run(), name=type(part).__name__) for part in parts]
        health.ready("start")
        ports = {key: value for part in parts if isinstance(part, Listener) for key, value in part.ports.items()}
        print(json.dumps({"service": name, "ops_port": port, **ports}), flush=True)
        waiter = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        for task in done - {waiter}:
            code = EXIT_FAILED
            _log_end("part_ended", task.exception(), part=task.get_name())
    except Exception as error:
        code = EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILED
        _log_end("cannot_start", error)
    health.unready("stop", "stopping")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_LIMIT_S):
            for part in reversed(started):
                try:
                    await part.stop()
                except Exception:
                    code = EXIT_FAILED
                    log.exception("cannot_stop", part=type(part).__name__)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(
            tasks, timeout=STOP_LIMIT_S
        )  # a library that swallows its cancellation must not keep the process
    if runner is not None:
        await runner.cleanup()
    log.info("stopped", code=code)
    return code


def _log_end(event: str, error: BaseException | None, **more: str) -> None:
    """Log why a service ends: our own errors in their words, which say what to do; a defect with its traceback."""
    if isinstance(error, RingbackError):
        log.error(event, why=str(error), **more)
    else:
        log.error(event, exc_info=error, **more)


def main(coroutine: Coroutine[None, None, int]) -> None:
    """Run a service's coroutine on uvloop and exit with its code."""
    import uvloop

    sys.exit(uvloop.run(coroutine))
