"""How the fence ends a process: at once, before anything else can be written or committed."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import structlog

log = structlog.get_logger(__name__)


_folders: set[Path] = set()


def remove_at_end(folder: Path) -> None:
    """Have a hard end remove an ephemeral folder too: a service that is started again and again must not fill a disk."""
    _folders.add(folder)


def end_process(code: int, why: str) -> NoReturn:
    """End the process without running anything further: no commit, no flush, no goodbye to the group."""
    log.critical("fence_ends_process", code=code, why=why)
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
