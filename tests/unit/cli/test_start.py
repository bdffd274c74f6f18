"""The program's first moments, before there are commands."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from services.cli.exits import STOPPED

ROOT = Path(__file__).parents[3]

CTRL_C_IN_AN_IMPORT = """
import importlib, os, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == "aiohttp":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
module, _, main = sys.argv.pop(1).partition(":")
getattr(importlib.import_module(module), main)()
"""


def test_ctrl_c_while_the_commands_are_imported_ends_the_program_as_later_without_a_traceback() -> None:
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["ringback"]
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C_IN_AN_IMPORT, entry, "topics", "check"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (STOPPED, "", "stopped\n")
