"""How a process ends that must not, or cannot, end by itself; and what ends it where its loop no longer can."""

import contextvars
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Final, NoReturn

import structlog

from services.runtime.exits import EXIT_STOP_HUNG

log = structlog.get_logger(__name__)

LAST_WORDS_S: Final = 1.0
"""How long a process that must end may take to say why: whoever reads its log may read no more."""

_folders: set[Path] = set()


def remove_at_end(folder: Path) -> None:
    """Have a hard end remove an ephemeral folder too: a service that is started again and again must not fill a disk."""
    _folders.add(folder)


def end_process(code: int, why: str) -> NoReturn:
    """End the process without running anything further: no commit, no flush, no goodbye to the group."""
    try:
        # In a thread of its own: another one may hold the log's lock for good, in a write that nobody reads, and a disk
        # may hang. The context holds the service's name.
        words = contextvars.copy_context()
        last = threading.Thread(target=words.run, args=(_last_words, code, why), daemon=True)
        last.start()
        last.join(LAST_WORDS_S)
    finally:
        os._exit(code)


def _last_words(code: int, why: str) -> None:
    log.critical("process_ends", code=code, why=why)
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()


class StopBound:
    """Ends the process when stopping takes too long: whatever hangs then, a part, the loop, or a library's thread.

    Args:
        limit_s: how long stopping may take.

    Attributes:
        holds_until_exit: the whole process is bounded: it may hang in the loop's end, or in a thread, too.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.holds_until_exit = False
        self._timer: threading.Timer | None = None

    def arm(self) -> None:
        """Count from now, unless it counts already."""
        if self._timer is None:
            # A thread of its own: a loop that stands still would keep a timer of the loop from firing.
            self._timer = threading.Timer(self._limit_s, self._end)
            self._timer.daemon = True
            self._timer.start()

    def disarm(self) -> None:
        """Count no more: stopping is over, unless the process must end too."""
        if self._timer is not None and not self.holds_until_exit:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        end_process(EXIT_STOP_HUNG, f"not stopped within {self._limit_s:.0f} s of being told to")
