"""Starting and stopping servers never touches another's process, nor a port that outgoing connections may get."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deploy.local import kafka
from deploy.local.detached import RECORD, DetachedStack
from deploy.local.process import (
    PID_FILE,
    LocalServer,
    Server,
    StartError,
    free_port,
    free_ports,
    started_ticks,
    stop_by_pid_file,
)

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    with subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def silent(folder: Path) -> DetachedStack:
    return DetachedStack(folder, state=folder, say=lambda _: None)


def test_free_ports_differ_and_are_never_those_that_outgoing_connections_get() -> None:
    ports = free_ports(50)
    lent_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(ports)) == 50
    assert max(ports) < lent_from


def test_server_that_ends_at_start_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = Server("it", [sys.executable, "-c", "print('no room'); raise SystemExit(3)"], tmp_path / "log")
    with pytest.raises(StartError, match=r"it ended with 3:\nno room"):
        server.start(lambda: False, 30.0)


def test_server_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"it cannot be run: .*no-such-program"):
        Server("it", [str(tmp_path / "no-such-program")], tmp_path / "log").start(lambda: True, 1.0)


def test_start_interrupted_by_the_user_leaves_no_process(tmp_path: Path) -> None:
    server, pids = Server("it", SLEEPER, tmp_path / "log", detached=True), []

    def interrupted() -> bool:
        pids.append(server.pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.start(interrupted, 30.0)
    assert started_ticks(pids[0]) is None


class Sleeper(LocalServer):
    """A server that only sleeps; ready once it has said so in this life's log."""

    start_limit_s = 30.0
    fails = False

    def _prepared(self) -> tuple[str, Sequence[str], Path]:
        self.folder.mkdir(exist_ok=True)
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        return "sleeper", SLEEPER, log

    def _ready(self) -> bool:
        if self.fails:
            raise KeyboardInterrupt
        return b"up" in (self.folder / "log").read_bytes()


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_local_server_started_again_has_its_port_and_a_new_process(tmp_path: Path, crash: bool) -> None:
    with Sleeper(tmp_path / "it", free_port(), detached=False) as server:
        first, port = server.pid, server.port
        if crash:
            server.kill()
        server.restart()
        assert server.port == port
        assert server.pid != first
        second = server.pid
        assert (started_ticks(first), started_ticks(second) is None) == (None, False)
    assert started_ticks(second) is None


def test_local_server_launched_and_then_interrupted_leaves_no_process(tmp_path: Path) -> None:
    server = Sleeper(tmp_path / "it", free_port(), detached=False)
    server.launch()
    pid, server.fails = server.pid, True
    with pytest.raises(KeyboardInterrupt):
        server.wait_until_ready()
    assert started_ticks(pid) is None
    server.stop()


def test_detached_server_is_stopped_by_what_it_left_in_its_pid_file(tmp_path: Path) -> None:
    server = Server("it", SLEEPER, tmp_path / "log", detached=True)
    server.start(lambda: b"up" in (tmp_path / "log").read_bytes(), 30.0)
    pid = server.pid
    assert stop_by_pid_file(tmp_path / PID_FILE)
    assert started_ticks(pid) is None
    assert not stop_by_pid_file(tmp_path / PID_FILE)
    server.stop()


def test_server_dies_when_the_one_that_started_it_is_killed(tmp_path: Path) -> None:
    starter = (
        "import sys; from pathlib import Path; from deploy.local.process import Server\n"
        f"server = Server('it', {SLEEPER!r}, Path(sys.argv[1]))\n"
        "server.start(lambda: b'up' in server.log.read_bytes(), 30.0); print(server.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", starter, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        # This descriptor becomes readable when the process has ended, so that nothing is polled.
        watch = os.pidfd_open(pid)
        process.send_signal(signal.SIGKILL)
    assert select.select([watch], [], [], 10.0)[0]
    os.close(watch)


@pytest.mark.parametrize(
    "record",
    ["", "not json", "{}", '{"processes": [{"pid": "x"}], "ports": []}', '{"processes": 3, "ports": [], "kafka": ""}'],
)
def test_record_that_makes_no_sense_counts_as_not_running(tmp_path: Path, record: str) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / RECORD).write_text(record)
    assert silent(tmp_path / "up").running() is None
    assert not silent(tmp_path / "up").down()


def test_stale_record_of_a_killed_run_whose_pid_is_somebody_elses_by_now_stops_nobody(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    folder, ticks = tmp_path / "up", started_ticks(bystander.pid)
    assert ticks is not None
    stale = {"pid": bystander.pid, "started": ticks - 1}
    (folder / "kafka").mkdir(parents=True)
    (folder / "kafka" / PID_FILE).write_text(json.dumps(stale))
    record = {"kafka": "", "mongodb": "", "uses": [], "processes": [stale], "ports": []}
    (folder / RECORD).write_text(json.dumps(record))
    stack = silent(folder)
    assert stack.running() is None
    assert not stack.down()
    assert bystander.poll() is None
    assert not folder.exists()


def test_missing_java_is_an_error_with_the_exact_command_where_we_may_not_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(StartError, match=r"Run: sudo apt-get install -y openjdk-17-jre-headless maven$"):
        kafka.ensure_java()


def test_java_too_old_counts_as_missing_and_maven_is_not_asked_for_once_the_jars_are_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka, "java_version", lambda: 11)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert kafka.java_missing(maven=False) == "apt-get install -y openjdk-17-jre-headless"
