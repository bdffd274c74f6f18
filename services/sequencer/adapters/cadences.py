"""Reads and checks cadence files: a new cadence needs no code."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.base import Lane
from schemas.problems import problems_of, shortened, why_unreadable, written
from services.policy.strict_yaml import MAX_CHARS, YamlError, read_yaml
from services.runtime.exits import exit_with_problems
from services.sequencer.domain.cadence import Cadence, Cadences, Step, Stop
from services.sequencer.errors import CadenceError

SHIPPED = Path(__file__).parent.parent / "cadences"
"""The cadences that come with the product."""

LONGEST = timedelta(days=366)
"""Longest time that a step may wait or stay open: a date after the year 9999 would end the sequencer at the first call."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: object) -> object:
    found = re.fullmatch(r"([0-9]+)([smhd])", value) if isinstance(value, str) else None
    if not found:
        raise ValueError("needs a whole number and a unit of s, m, h or d, such as 10m")
    # Eight digits are years of any unit but seconds, and what is longer may be no timedelta.
    length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if len(found[1]) <= 8 else timedelta.max
    if length > LONGEST:
        raise ValueError(f"is longer than {LONGEST.days} days")
    return length


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Name = Annotated[
    str,
    written("[a-z][a-z0-9-]{0,19}", "is not a name; write up to 20 lowercase letters, digits or '-', a letter first"),
]
Family = Annotated[
    str,
    written("([a-z][a-z0-9_]{0,39})?", "is not a template family; write up to 40 lowercase letters, digits or '_'"),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StepFile(_Strict):
    """One step as the file has it."""

    name: Name
    channel: Literal["sms", "phone"]
    template: Family = ""
    lane: Lane = "normal"
    delay: Duration | None = None
    at: Literal["callback_morning"] | None = None
    expires_after: Duration = timedelta(hours=1)
    stop_on: frozenset[Literal["replied", "handed_over", "contacted", "attempts_ended", "opted_out", "closed"]]

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.channel == "sms" and (self.delay is None or self.at or not self.template):
            raise ValueError("a text needs `template` and `delay`, and no `at`")
        if self.channel == "phone" and (self.delay is None) == (self.at is None):
            raise ValueError("a phone step needs either `delay` or `at`")
        if "opted_out" not in self.stop_on:
            raise ValueError("`stop_on` must hold opted_out: nothing goes on after an opt-out")
        return self

    def step(self) -> Step:
        """Return the step the machine works with."""
        stops = {Stop(name) for name in self.stop_on}
        if self.channel == "sms":
            stops.add(Stop.FIRST_TEXT_MISSING)
        return Step(
            name=self.name,
            channel=self.channel,
            stop_on=frozenset(stops),
            delay=self.delay,
            at_callback_morning=self.at is not None,
            template=self.template,
            lane=self.lane,
            expires_after=self.expires_after,
        )


class CadenceFile(_Strict):
    """One cadence as the file has it."""

    name: Name
    steps: list[StepFile] = Field(min_length=1, max_length=5)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            raise ValueError("two steps have the same name")
        if "called-again" in names:
            raise ValueError("called-again is our own name for the callback after a repeated call")
        return self


def load_cadences(*folders: Path) -> Cadences:
    """Read every cadence of the folders; a later folder's replaces one of the same name.

    Args:
        folders: the shipped one alone when there are none.

    Raises:
        CadenceError: names file, path and reason of everything that is wrong.
    """
    found: dict[str, Cadence] = {}
    problems: list[str] = []
    for folder in folders or (SHIPPED,):
        paths = sorted(folder.glob("*.yaml"))
        if not paths:
            problems.append(f"{folder}: holds no cadence; it needs at least one file named like missed-call.yaml")
        for path in paths:
            try:
                with path.open(encoding="utf-8") as file:
                    read = CadenceFile.model_validate(read_yaml(file.read(MAX_CHARS + 1)))
            except ValidationError as error:
                problems += [f"{path.name}: {where or 'file'}: {why}" for where, why in problems_of(error)]
            except YamlError as error:
                problems.append(f"{path.name}: {error}")
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{path.name}: file: {why_unreadable(error)}")
            else:
                if read.name != path.stem:
                    problems.append(f"{path.name}: name: is {read.name!r}; write {path.stem!r}, the file's own name")
                found[read.name] = Cadence(read.name, tuple(step.step() for step in read.steps))
    if problems:
        raise CadenceError([shortened(problem) for problem in problems])
    return found


def cadences_or_exit(folder: Path | None) -> Cadences:
    """Return the shipped cadences and those of the operator's folder, or list all that is wrong and exit with 78."""
    try:
        return load_cadences(SHIPPED, *((folder,) if folder else ()))
    except CadenceError as error:
        exit_with_problems("cadences", error.problems)
