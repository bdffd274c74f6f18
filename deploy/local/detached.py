"""Kafka and MongoDB that keep running after the command that started them: one pair a folder, with a record of it."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local.containers import remove_containers
from deploy.local.kafka import DEFAULT_STATE, Say
from deploy.local.process import PID_FILE, listens, started_ticks, stop_by_pid_file
from deploy.local.stack import Stack

RECORD = "stack.json"


class DetachedStack:
    """What `up` starts and `down` stops.

    A run that was killed anywhere leaves at most pid files (and containers by this folder's names); the next `up` or `down`
    stops what they name, and nothing else: a pid counts only with the start time that was written beside it.

    Args:
        folder: records, data and logs; wiped by `down`.
        state: where Kafka's jars are cached.
        say: called with a line for each thing that happens.
    """

    def __init__(self, folder: Path = DEFAULT_STATE / "up", *, state: Path = DEFAULT_STATE, say: Say = print) -> None:
        self._folder, self._state, self._say = folder.absolute(), state, say

    def up(self) -> dict[str, Any]:
        """Start both, unless they run already; return the record.

        Raises:
            StartError: one does not start; nothing is left running.
        """
        with self._alone():
            if (found := self.running()) is not None:
                return found
            self._stop()
            stack = Stack(self._folder, state=self._state, detached=True, say=self._say)
            try:
                stack.start()
            except BaseException:
                stack.stop()
                raise
            pids = [json.loads(file.read_text()) for file in self._pid_files()]
            ports = [port for server in stack.servers if (port := getattr(server, "port", None))]
            record = {
                "kafka": stack.kafka,
                "mongodb": stack.mongodb,
                "uses": stack.uses,
                "processes": pids,
                "ports": ports,
            }
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / RECORD).write_text(json.dumps(record))
            return record

    def down(self) -> bool:
        """Stop both and remove their data; return whether anything was running."""
        with self._alone():
            return self._stop()

    def running(self) -> dict[str, Any] | None:
        """Return the record that `up` left, if all it names still runs."""
        try:
            found: dict[str, Any] = json.loads((self._folder / RECORD).read_text())
            alive = all(started_ticks(each["pid"]) == each["started"] for each in found["processes"])
            return found if alive and all(listens(port) for port in found["ports"]) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _stop(self) -> bool:
        stopped = [stop_by_pid_file(file) for file in self._pid_files()]
        removed = remove_containers(self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)
        return any(stopped) or removed

    def _pid_files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*/{PID_FILE}"))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with self._folder.with_name(f"{self._folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
