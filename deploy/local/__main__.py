"""`python -m deploy.local up | down | status | env`: Kafka and MongoDB here, left running until `down`."""

import argparse
import sys
from pathlib import Path

from deploy.local.detached import DetachedStack
from deploy.local.kafka import DEFAULT_STATE
from deploy.local.process import StartError

NOT_RUNNING = "not running (`make up` starts it)"


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status", "env"))
    parser.add_argument("--folder", type=Path, default=DEFAULT_STATE / "up", help="records, data and logs")
    args = parser.parse_args()
    stack = DetachedStack(args.folder)
    if args.command == "up":
        if (found := stack.running()) is not None:
            print("\n".join(["running already", *found["uses"]]))
        try:
            stack.up()
        except StartError as error:
            print(error, file=sys.stderr)
            return 1
    elif args.command == "down":
        print("stopped" if stack.down() else "nothing was running")
        return 0
    found = stack.running()
    if found is None:
        print(NOT_RUNNING, file=sys.stderr)
        return 1
    if args.command == "env":
        print(f"export RINGBACK_KAFKA_BOOTSTRAP_SERVERS='{found['kafka']}'")
        print(f"export RINGBACK_MONGODB_URL='{found['mongodb']}'")
    else:
        if args.command == "status":
            print("\n".join(found["uses"]))
        print("use it with: eval $(python -m deploy.local env)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
