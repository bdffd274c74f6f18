"""`.env.example` names every setting and no other, says what each is for, and its values are good."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.runtime.settings import RuntimeSettings
from tests.unit.settings_classes import NOT_FOR_OPERATORS, SETTINGS, variable, variables

LINES = (Path(__file__).parents[2] / ".env.example").read_text().splitlines()
SETTING = re.compile(r"(?P<default>#?)(?P<name>RINGBACK_[A-Z0-9_]+)=(?P<value>.*)")


def entries() -> Iterator[tuple[str, str, bool]]:
    """Yield name, value, and whether it is a default (commented out)."""
    for line in LINES:
        if found := SETTING.fullmatch(line):
            yield found["name"], "".join(shlex.split(found["value"])), bool(found["default"])


def test_example_names_every_setting_once_and_no_other() -> None:
    names = [name for name, *_ in entries()]
    assert len(names) == len(set(names))
    assert set(names) == variables()


def test_every_setting_has_a_comment_of_one_line_above_it() -> None:
    for above, line in pairwise(LINES):
        if SETTING.fullmatch(line):
            assert re.fullmatch(r"# [^-].*", above), line


def test_what_is_commented_out_is_the_default_and_what_is_not_is_needed() -> None:
    needed = set()
    for settings in SETTINGS:
        needed |= {variable(name) for name, field in settings.model_fields.items() if field.is_required()}
    assert {name for name, _, is_default in entries() if not is_default} == needed
    said = {name: value for name, value, is_default in entries() if is_default and value}
    for settings in SETTINGS:
        for field, about in settings.model_fields.items():
            if (value := said.get(variable(field))) is None or field in NOT_FOR_OPERATORS or field == "ops_port":
                continue  # each service has an ops port of its own; the comment lists them
            assert str(int(about.default) if isinstance(about.default, bool) else about.default) == value, field


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__name__)
def test_every_service_accepts_the_example_as_it_is(
    settings: type[RuntimeSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value, is_default in entries():
        if not is_default:
            monkeypatch.setenv(name, value)
    taken = settings.load()
    for name, value, is_default in entries():
        if not is_default and (field := name.removeprefix("RINGBACK_").lower()) in settings.model_fields:
            found: Any = getattr(taken, field)
            assert str(found.get_secret_value() if isinstance(found, SecretStr) else found) == value
