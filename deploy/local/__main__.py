"""`python -m deploy.local up | down | status | env`: Kafka and MongoDB here, left running until `down`."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from deploy.local.kafka import DEFAULT_STATE
from deploy.local.process import StartError
from deploy.local.stack import Stack
from services.runtime.clock import monotonic_s

RECORD = DEFAULT_STATE / "stack.json"
STOP_LIMIT_S = 20.0


def started_ticks(pid: int) -> int | None:
    """Return when a process started (kernel ticks), or None when it is gone: a pid alone may be somebody else's by now."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def recorded() -> dict[str, Any] | None:
    """Return what `up` left, if all of it still runs."""
    try:
        found: dict[str, Any] = json.loads(RECORD.read_text())
        alive = all(started_ticks(server["pid"]) == server["started"] for server in found["servers"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if alive else None


def up() -> int:
    """Start, unless it runs already."""
    if recorded() is None:
        down(quiet=True)
        stack = Stack(DEFAULT_STATE / "up", detached=True)
        try:
            stack.start()
        except StartError as error:
            stack.stop()
            print(error, file=sys.stderr)
            return 1
        servers = [
            {"pid": server.pid, "started": started_ticks(server.pid)}
            for server in stack.servers
            if hasattr(server, "pid")
        ]
        RECORD.write_text(
            json.dumps({"kafka": stack.kafka, "mongodb": stack.mongodb, "uses": stack.uses, "servers": servers})
        )
    return status()


def down(*, quiet: bool = False) -> int:
    """Stop what `up` started, each by its own pid."""
    try:
        servers = json.loads(RECORD.read_text())["servers"]
    except (OSError, ValueError, KeyError):
        servers = []
    for server in servers:
        if started_ticks(server["pid"]) == server["started"]:
            os.kill(server["pid"], signal.SIGTERM)
    until = monotonic_s() + STOP_LIMIT_S
    for server in servers:
        while started_ticks(server["pid"]) == server["started"]:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(server["pid"], os.WNOHANG)
            if monotonic_s() > until:
                os.kill(server["pid"], signal.SIGKILL)
    RECORD.unlink(missing_ok=True)
    shutil.rmtree(DEFAULT_STATE / "up", ignore_errors=True)
    if not quiet:
        print("stopped" if servers else "nothing was running")
    return 0


def status() -> int:
    """Say what runs."""
    found = recorded()
    if found is None:
        print("not running (`make up` starts it)")
        return 1
    print("\n".join(found["uses"]))
    print("use it with: eval $(python -m deploy.local env)")
    return 0


def env() -> int:
    """Print what a shell has to export."""
    found = recorded()
    if found is None:
        print("not running (`make up` starts it)", file=sys.stderr)
        return 1
    print(f"export RINGBACK_KAFKA_BOOTSTRAP_SERVERS='{found['kafka']}'")
    print(f"export RINGBACK_MONGODB_URL='{found['mongodb']}'")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status", "env"))
    sys.exit({"up": up, "down": down, "status": status, "env": env}[parser.parse_args().command]())
