"""How the fence ends a process: at once, before anything else can be written or committed."""

import os
import sys
from typing import NoReturn

import structlog

log = structlog.get_logger(__name__)

EXIT_SEND_FAILED = 70
"""A produce failed, or something broke in the path of an event; nothing past it was committed."""

EXIT_LEASE_LOST = 71
"""The worker can't know any more that its partitions are still its own."""

EXIT_STOP_HUNG = 72
"""Told to stop, Faust did not within its limit; what was not committed comes again."""


def end_process(code: int, why: str) -> NoReturn:
    """End the process without running anything further: no commit, no flush, no goodbye to the group."""
    log.critical("fence_ends_process", code=code, why=why)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
