"""Running a service: start its parts in order, serve the operations port, stop in reverse order on SIGTERM or SIGINT."""

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import structlog
from aiohttp.web import AppRunner

from services.runtime import logs, ops
from services.runtime.errors import ConfigurationError, RingbackError
from services.runtime.exits import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_STOP_HUNG, EXIT_STOPPED
from services.runtime.hard_end import StopBound, end_process
from services.runtime.health import Health
from services.runtime.settings import RuntimeSettings
from services.runtime.stopping import CLOSE_LIMIT_S, PARTS_LIMIT_S, STOP_LIMIT_S, left_after

log = structlog.get_logger(__name__)

BOUND: Final = StopBound(STOP_LIMIT_S)
"""What ends the process where nothing of it can any more: a loop that stands still, a library's thread."""


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
    try:
        return await _run(name, settings, health, parts)
    finally:
        BOUND.disarm()  # whoever runs a service in a process of its own goes on


async def _run(name: str, settings: RuntimeSettings, health: Health, parts: Sequence[Part]) -> int:
    logs.set_up(name, settings.log_level, settings.log_format)
    log.info("settings", **settings.effective())
    ops.name_build(name)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told_to_stop() -> None:
        BOUND.arm()
        stop.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told_to_stop)
    ops_app = ops.ops_app(health, with_idle=settings.make_clock().is_file)
    runner: AppRunner | None = None
    started: list[Part] = []
    tasks: list[asyncio.Task[None]] = []
    code = EXIT_STOPPED
    try:
        runner, port = await ops.serve(ops_app, settings.ops_host, settings.ops_port, setting="RINGBACK_OPS")
        for part in parts:
            if not await _unless(stop, part.start()):
                break
            started.append(part)
        if not stop.is_set():
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
    BOUND.arm()
    health.unready("stop", "stopping")
    stopping = asyncio.create_task(_stop_all(reversed(started)))
    if await left_after(PARTS_LIMIT_S, stopping):
        code = code or EXIT_STOP_HUNG
    elif not stopping.result():
        code = EXIT_FAILED
    for task in tasks:
        task.cancel()
    if await left_after(CLOSE_LIMIT_S, *tasks):
        code = code or EXIT_STOP_HUNG
    if runner is not None:
        await runner.cleanup()
    log.info("stopped", code=code)
    return code


async def _unless(stop: asyncio.Event, starting: Coroutine[None, None, None]) -> bool:
    """Return whether a start has come to its end; once told to stop, nobody waits for a dependency that is away."""
    waiter, task = asyncio.create_task(stop.wait()), asyncio.create_task(starting)
    await asyncio.wait([waiter, task], return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    return False


async def _stop_all(parts: Iterable[Part]) -> bool:
    """Stop parts one after the other; return whether each could."""
    well = True
    for part in parts:
        log.info("stopping", part=type(part).__name__)
        try:
            await part.stop()
        except Exception:
            well = False
            log.exception("cannot_stop", part=type(part).__name__)
    return well


def _log_end(event: str, error: BaseException | None, **more: str) -> None:
    """Log why a service ends: our own errors in their words, which say what to do; a defect with its traceback."""
    if isinstance(error, RingbackError):
        log.error(event, why=str(error), **more)
    else:
        log.error(event, exc_info=error, **more)


def main(coroutine: Coroutine[None, None, int]) -> None:
    """Run a service's coroutine on uvloop and exit with its code; what does not end by then is not waited for."""
    import uvloop

    BOUND.holds_until_exit = True
    sys.exit(uvloop.run(_to_the_end(coroutine)))


async def _to_the_end(coroutine: Coroutine[None, None, int]) -> int:
    code = await coroutine
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    # The loop would wait for them without a limit, and a library may swallow its cancellation.
    if await left_after(CLOSE_LIMIT_S, *others):
        end_process(code or EXIT_STOP_HUNG, "a task never ends")
    return code
