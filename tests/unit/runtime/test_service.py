"""A service starts its parts in order, prints its ports, stops in reverse order, and says by its exit code how it ended."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from services.runtime import service, stopping
from services.runtime.errors import ConfigurationError, PermanentError
from services.runtime.exits import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_STOP_HUNG, EXIT_STOPPED
from services.runtime.health import Health
from services.runtime.settings import RuntimeSettings

SETTINGS = RuntimeSettings(kafka_bootstrap_servers="127.0.0.1:9", ops_port=0)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A service sets up logging for its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Part(service.Resource):
    """Notes what is done to it."""

    def __init__(self, name: str, story: list[str], broken: str = "", error: Exception | None = None) -> None:
        self._name, self._story, self._broken = name, story, broken
        self._error = error or RuntimeError(f"cannot {broken}")

    def _note(self, what: str) -> None:
        self._story.append(f"{what} {self._name}")
        if self._broken == what:
            raise self._error

    async def start(self) -> None:
        """Note it."""
        self._note("start")

    async def run(self) -> None:
        """Wait, or fail."""
        self._note("run")
        await super().run()

    async def stop(self) -> None:
        """Note it."""
        self._note("stop")


class Listening(Part):
    """A part with a port."""

    ports = {"port": 8080}  # noqa: RUF012


async def run(*parts: service.Part) -> int:
    """Run a service that is told to stop as soon as it is ready."""
    health = Health()

    async def end() -> None:
        while health.not_ready:
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    ending = asyncio.create_task(end())
    try:
        async with asyncio.timeout(10):
            return await service.run("it", SETTINGS, health, parts)
    finally:
        ending.cancel()


async def test_parts_start_in_order_stop_in_reverse_order_and_print_their_ports(
    capsys: pytest.CaptureFixture[str],
) -> None:
    story: list[str] = []
    assert await run(Part("a", story), Listening("b", story)) == EXIT_STOPPED
    assert story == ["start a", "start b", "run a", "run b", "stop b", "stop a"]
    said = json.loads(capsys.readouterr().out)
    assert (said["service"], said["port"]) == ("it", 8080)
    assert said["ops_port"] > 0


async def test_part_that_cannot_start_ends_the_service_and_what_had_started_is_stopped() -> None:
    story: list[str] = []
    assert await run(Part("a", story), Part("b", story, broken="start")) == EXIT_FAILED
    assert story == ["start a", "start b", "stop a"]


async def test_start_refused_for_a_reason_of_ours_is_logged_in_its_words_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusal = PermanentError("topics are not as they should be: leads: missing")
    assert await run(Part("a", [], broken="start", error=refusal)) == EXIT_FAILED
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (said,) = [line for line in lines if line["event"] == "cannot_start"]
    assert said["why"] == str(refusal)
    assert "exception" not in said


async def test_start_refused_over_what_the_operator_told_it_exits_as_configuration() -> None:
    refusal = ConfigurationError("RINGBACK_NUMBER_KEY differs from the key that `suppressions` were written with")
    assert await run(Part("a", [], broken="start", error=refusal)) == EXIT_CONFIGURATION


async def test_part_that_ends_ends_the_service() -> None:
    story: list[str] = []
    assert await run(Part("a", story), Part("b", story, broken="run")) == EXIT_FAILED
    assert story[-2:] == ["stop b", "stop a"]


async def test_part_that_cannot_stop_does_not_keep_the_others_from_stopping() -> None:
    story: list[str] = []
    assert await run(Part("a", story), Part("b", story, broken="stop")) == EXIT_FAILED
    assert story[-2:] == ["stop b", "stop a"]


@pytest.mark.parametrize(
    ("host", "code", "why"),
    [("192.0.2.1", EXIT_CONFIGURATION, "RINGBACK_OPS_HOST: this machine cannot listen on 192.0.2.1"),
     ("no-such-host.invalid", EXIT_CONFIGURATION, "RINGBACK_OPS_HOST: this machine cannot listen on no-such-host"),
     ("127.0.0.1", EXIT_FAILED, "RINGBACK_OPS_PORT: port ")],
)  # fmt: skip
async def test_service_that_cannot_listen_ends_with_the_setting_and_no_traceback(
    host: str, code: int, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = SETTINGS.model_copy(update={"ops_host": host, "ops_port": taken.getsockname()[1]})
        async with asyncio.timeout(10):
            assert await service.run("it", settings, Health(), []) == code
    said = "".join(capfd.readouterr())
    assert why in said
    assert "Traceback" not in said


class Stubborn(Part):
    """A part that goes on for as long as its test lets it, whoever cancels it."""

    def __init__(self, story: list[str], where: str) -> None:
        super().__init__("stubborn", story)
        self._where, self.released = where, asyncio.Event()

    async def _hang(self) -> None:
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.released.wait()

    async def run(self) -> None:
        """Wait, and perhaps never end."""
        await (self._hang() if self._where == "run" else super().run())

    async def stop(self) -> None:
        """Perhaps never end."""
        await (self._hang() if self._where == "stop" else super().stop())


@pytest.mark.parametrize("where", ["run", "stop"])
async def test_part_that_swallows_its_cancellation_keeps_the_service_from_ending_no_longer_than_its_limit(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A producer's own stop waits for a partition without a leader; the service used to wait with it for good."""
    monkeypatch.setattr(service, "PARTS_LIMIT_S", 0.1)
    monkeypatch.setattr(service, "CLOSE_LIMIT_S", 0.1)
    part = Stubborn([], where)
    ending = asyncio.create_task(run(part))
    await asyncio.wait([ending], timeout=5)
    in_time = ending.done()
    part.released.set()
    assert await ending == EXIT_STOP_HUNG
    assert in_time
    assert "stop_hung" in capsys.readouterr().err


def test_shares_of_the_limit_for_stopping_are_no_more_than_the_whole() -> None:
    """Parts, their tasks, the operations port, what libraries have left: one after the other."""
    assert stopping.PARTS_LIMIT_S + 3 * stopping.CLOSE_LIMIT_S <= stopping.STOP_LIMIT_S
    assert stopping.EVENTS_LIMIT_S < stopping.PARTS_LIMIT_S


LEFT_BEHIND = """
import asyncio
from services.runtime import service

service.CLOSE_LIMIT_S = 0.2
tasks = []

async def forever():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def serve():
    tasks.append(asyncio.create_task(forever(), name="a library's"))
    await asyncio.sleep(0)
    return 0

service.main(serve())
"""


def test_task_that_a_library_left_behind_and_that_never_ends_keeps_no_process() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, timeout=30, text=True)
    assert done.returncode == EXIT_STOP_HUNG, done.stderr
    assert "a library's" in done.stdout + done.stderr
