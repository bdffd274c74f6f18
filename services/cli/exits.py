"""How a command ends: the table of its exit codes, and every failure as one or two lines that say what to do.

`services.cli.app` is the one place that catches.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import aiohttp
from aiokafka.errors import KafkaError
from pydantic import ValidationError
from pymongo.errors import OperationFailure, PyMongoError
from typer.exceptions import TyperException

from deploy.local.process import StartError
from deploy.local.system import SystemFailure
from schemas.problems import problems_of
from services.cli.calllog import CallLogError
from services.policy.directory import DirectoryError
from services.runtime.errors import RingbackError
from services.runtime.settings import SettingsError

DONE: Final = 0
CANNOT: Final = 1
WRONG_USE: Final = 2
DEFECT: Final = 70
STOPPED: Final = 130

EXITS: Final[Mapping[int, str]] = {
    DONE: "done",
    CANNOT: "cannot: a dependency is away, a run has ended, a check found a difference, or a replay broke a promise",
    WRONG_USE: "used wrongly: an argument, a setting or a file is wrong, and the same command fails until it is changed",
    DEFECT: "a mistake of ours, told with its traceback; please report it",
    STOPPED: "stopped by Ctrl-C or SIGTERM",
}
"""What each exit code of a command means. Those of the services are in `services.runtime.exits`."""

SHOWN: Final = 300
"""Characters of what somebody else said; a whole log or a whole document of MongoDB's topology tells nobody more."""


class CommandError(Exception):
    """A command ends here.

    Args:
        what: is wrong, in one line.
        remedy: what to do about it, in one line.
    """

    code: ClassVar[int] = CANNOT

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what, self.remedy = what, remedy
        super().__init__(what)

    def lines(self) -> str:
        """Return one or two lines for a person."""
        return f"{self.what}\n  {self.remedy}" if self.remedy else self.what


class Cannot(CommandError):
    """Something that the command needs is away or refuses."""


class WrongUse(CommandError):
    """An argument, a setting or a file is wrong."""

    code = WRONG_USE


def failure_of(error: Exception) -> CommandError | None:
    """Return a failure that we know as one or two lines; None for a defect of ours."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        path = getattr(context, "command_path", "ringback")
        return WrongUse(_of_argument(error), f"`{path} --help` shows how to use it")
    if isinstance(error, SettingsError):
        return WrongUse(
            f"settings are wrong: {_joined(str(error), '; ')}", "they are environment variables; .env.example names all"
        )
    if isinstance(error, CallLogError | DirectoryError):
        return WrongUse(_joined(str(error)))
    if isinstance(error, StartError | SystemFailure):
        return Cannot(*first_and_last(str(error)))
    if isinstance(error, PyMongoError):
        # What the server says is for people; what the driver says of its attempts is not.
        said = shortened(str(error)) if isinstance(error, OperationFailure) else type(error).__name__
        return Cannot(
            f"MongoDB cannot be used ({said})",
            "check that it is up and that RINGBACK_MONGODB_URL is its URL",
        )
    if isinstance(error, KafkaError):
        return Cannot(
            f"Kafka cannot be used ({type(error).__name__})",
            "check that it is up and that RINGBACK_KAFKA_BOOTSTRAP_SERVERS names it",
        )
    if isinstance(error, RingbackError):
        return Cannot(str(error))  # ours, written for people; a list of differences has more lines than two
    if isinstance(error, aiohttp.ClientError | TimeoutError):
        return Cannot(f"no answer ({type(error).__name__})")
    return None


def called_as() -> str:
    """Return how this command line was called, for a person to call it again: `make demo` leaves nothing on PATH."""
    path = Path(sys.argv[0])
    if path.name != "ringback" or shutil.which("ringback") == str(path):
        return "ringback"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def shortened(text: str) -> str:
    """Return somebody else's words on one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."


def first_and_last(text: str) -> tuple[str, str]:
    """Return what a message says first and, of the log below it, the last line."""
    lines = [line for line in text.splitlines() if line.strip()] or ["it ended without a word"]
    return shortened(lines[0]), shortened(lines[-1]) if len(lines) > 1 else ""


def _of_argument(error: TyperException) -> str:
    """Return what is wrong with an argument; Typer passes on pydantic's words, which are for programmers."""
    said = _joined(error.format_message())
    if not isinstance(error.__cause__, ValidationError):
        return said
    return f"{said.partition(': ')[0]}: {'; '.join(why for _, why in problems_of(error.__cause__))}"


def _joined(text: str, by: str = " ") -> str:
    return by.join(line.strip() for line in text.splitlines() if line.strip())
