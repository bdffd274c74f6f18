"""How a service's process ends: the one table of exit codes, and the way out for what the operator must put right."""

import sys
from collections.abc import Iterable, Mapping
from typing import Final, NoReturn

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_SEND_FAILED: Final = 70
EXIT_LEASE_LOST: Final = 71
EXIT_STOP_HUNG: Final = 72
EXIT_CONFIGURATION: Final = 78

EXITS: Final[Mapping[int, str]] = {
    EXIT_STOPPED: "told to stop, and stopped",
    EXIT_FAILED: "could not start, or a part of it ended; the log says which and why. Start it again",
    EXIT_SEND_FAILED: (
        "sequencer: a send failed, or something broke in the path of an event; nothing past it was committed. "
        "Start it again"
    ),
    EXIT_LEASE_LOST: (
        "sequencer: it cannot know any more that its partitions are still its own, and writes nothing. Start it again"
    ),
    EXIT_STOP_HUNG: "told to stop, and something did not within its limit (`stop_hung`); what was not committed comes again",
    EXIT_CONFIGURATION: (
        "a setting, the directory, a cadence file, the number key or an installed package is wrong, or another sequencer "
        "has this one's name; standard error or the log lists every problem. "
        "Starting it again does not help (sysexits.h: EX_CONFIG)"
    ),
}
"""What each exit code of a service means, and what to do."""


def exit_with_problems(source: str, problems: Iterable[str]) -> NoReturn:
    """List everything that is wrong with a setting or a file on standard error, and exit with 78.

    Args:
        source: what is wrong: a file's path, or `settings`.
        problems: one line each, with the place in the source.
    """
    print("\n".join(f"{source}: {problem}" for problem in problems), file=sys.stderr)
    raise SystemExit(EXIT_CONFIGURATION)
