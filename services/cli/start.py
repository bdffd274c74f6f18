"""Where the program `ringback` begins: Ctrl-C while the commands are still being imported ends it as it does later."""

import os
import signal
from types import FrameType

STOPPED = 130
"""As in services/cli/exits.py, which is among what is imported."""


def main() -> None:
    """Run the command line and exit with its code."""
    was = signal.signal(signal.SIGINT, _stop)
    from services.cli.app import main as commands

    signal.signal(signal.SIGINT, was)
    commands()


def _stop(_signum: int, _frame: FrameType | None) -> None:
    # Not an exception: in the middle of an import anything may catch it, or end in a traceback.
    os.write(2, b"stopped\n")
    os._exit(STOPPED)
