"""One bound on stopping: whatever hangs, the process ends within it, and says so by its exit code."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime.exits import EXIT_STOP_HUNG, EXIT_STOPPED

PROGRAM = """
import asyncio, logging, sys, threading, time
from services.runtime import service
from services.runtime.hard_end import StopBound
from services.runtime.health import Health
from services.runtime.settings import RuntimeSettings

service.BOUND = StopBound(1.0)

class Part(service.Resource):
    async def start(self):
        if sys.argv[1] == "start":
            print("{}", flush=True)
            await asyncio.Event().wait()
        if sys.argv[1] == "thread":
            threading.Thread(target=time.sleep, args=(60,)).start()

    async def run(self):
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if sys.argv[1] != "task":
                    raise

    async def stop(self):
        if sys.argv[1] == "loop":
            time.sleep(60)
        if sys.argv[1] == "log":
            logging.error("x" * 1_000_000)
        if sys.argv[1] == "stop":
            await asyncio.Event().wait()

settings = RuntimeSettings(kafka_bootstrap_servers="127.0.0.1:9", ops_port=0)
service.main(service.run("it", settings, Health(), [Part()]))
"""


@pytest.mark.parametrize(
    ("hangs", "code"),
    [
        ("stop", EXIT_STOP_HUNG),
        ("loop", EXIT_STOP_HUNG),
        ("log", EXIT_STOP_HUNG),
        ("task", EXIT_STOP_HUNG),
        ("thread", EXIT_STOP_HUNG),
        ("start", EXIT_STOPPED),
        ("nothing", EXIT_STOPPED),
    ],
)
def test_process_told_to_stop_ends_within_the_bound_whatever_hangs(hangs: str, code: int) -> None:
    """A part's stop, the loop, a log line that nobody reads, an uncancellable task, a library's thread, a start that waits."""
    command = [sys.executable, "-c", PROGRAM, hangs]
    root = Path(__file__).parents[3]
    stderr = (
        subprocess.PIPE if hangs == "log" else subprocess.DEVNULL
    )  # a pipe that is full holds up whoever writes to it
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=stderr) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "it has started, or starts"
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == code
        finally:
            process.kill()


CANCELLED = """
import asyncio, os, signal
from services.runtime import service
from services.runtime.hard_end import StopBound
from services.runtime.health import Health
from services.runtime.settings import RuntimeSettings

service.BOUND = StopBound(0.2)

async def host():
    stopping = asyncio.Event()

    class Part(service.Resource):
        async def stop(self):
            stopping.set()
            await asyncio.Event().wait()

    settings, health = RuntimeSettings(kafka_bootstrap_servers="127.0.0.1:9", ops_port=0), Health()
    running = asyncio.create_task(service.run("it", settings, health, [Part()]))
    while health.not_ready:
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    await stopping.wait()
    running.cancel()
    await asyncio.wait([running])
    await asyncio.sleep(1)
    print("goes on")

asyncio.run(host())
"""


def test_service_that_is_cancelled_while_it_stops_ends_nothing_of_whoever_runs_it() -> None:
    """The bound went on to count, and ended the host's process thirty seconds later."""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", CANCELLED], cwd=root, capture_output=True, timeout=60, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "goes on"), done.stderr
