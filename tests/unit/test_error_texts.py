"""Whatever is wrong in the directory or the settings: a person reads which field, and what a right value looks like."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import ValidationError

from schemas.base import E164, Value
from schemas.problems import NOT_A_NUMBER, path_of, problems_of
from services.policy.directory import DirectoryError, load_directory, parse_directory
from services.runtime.settings import RuntimeSettings, SettingsError
from services.sequencer.adapters.cadences import load_cadences
from services.sequencer.errors import CadenceError
from tests.unit.error_texts import assert_for_people
from tests.unit.settings_classes import NOT_FOR_OPERATORS, SETTINGS, variable

EXAMPLE: Final[Any] = yaml.safe_load((Path(__file__).parents[2] / "deploy/examples/lender.yaml").read_text())
EXAMPLE["branches"] = EXAMPLE["branches"][:1]  # one branch and its people: every field, in a third of the time
EXAMPLE["officers"] = [one for one in EXAMPLE["officers"] if one["id"] in EXAMPLE["branches"][0]["officers"]]
WRONG: Final[tuple[Any, ...]] = (
    "", "?", "x" * 700, "2026-02-30", -1, 1.5, 10**9, None, [], {}, ["?"], [5], {"?": 5},
)  # fmt: skip


def leaves(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every field and entry, the groups' own too."""
    if path:
        yield path
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield from leaves(value, (*path, key))


def changed(path: tuple[str | int, ...], value: Any) -> Any:
    """Return the example with one value exchanged."""
    data = copy.deepcopy(EXAMPLE)
    found = data
    for part in path[:-1]:
        found = found[part]
    found[path[-1]] = value
    return data


def directory_problems(data: Any) -> tuple[str, ...]:
    """Return what the check says of a directory; nothing when it passes."""
    try:
        parse_directory(yaml.safe_dump(data), "lender.yaml")
    except DirectoryError as error:
        return error.problems
    return ()


PATHS: Final = [path for path in leaves(EXAMPLE) if 1 not in path and 2 not in path]  # the first of each list will do


@pytest.mark.parametrize("path", PATHS, ids=path_of)
def test_wrong_value_in_the_directory_is_told_in_words(path: tuple[str | int, ...]) -> None:
    messages = [message for value in WRONG for message in directory_problems(changed(path, value))]
    assert_for_people(*messages)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("lender_id",), "Lark Spur", "lender_id: is not an id; write up to 63 lowercase letters, digits or '-', such as new-york"),
        (("nmls_id",), "none", "nmls_id: is not an NMLS id; write up to 12 digits"),
        (("officers", 0, "phone"), "303-555-0123",
         "officers[0].phone: '303-555-0123' is not a phone number; write +1 and ten digits, such as +12125550100"),
        (("officers", 0, "languages"), ["English"],
         "officers[0].languages[0]: is not a language; write its two or three letters, such as en"),
        (("officers", 0, "weight"), -1, "officers[0].weight: is less than 0"),
        (("officers", 0, "weight"), "much", "officers[0].weight: is not a whole number"),
        (("officers", 0, "status"), "away", "officers[0].status: is not 'available', 'busy', 'in_meeting' or 'off'"),
        (("officers", 0, "name"), "", "officers[0].name: is empty"),
        (("branches", 0, "officers"), [], "branches[0].officers: needs at least 1"),
        (("policies", "after_hours_text"), "maybe", "policies.after_hours_text: is neither true nor false"),
        (("templates", "missed_call_second", "default", "approved_on"), "spring",
         "templates.missed_call_second.default.approved_on: is not a date; write it like 2026-02-06"),
    ],
)  # fmt: skip
def test_problem_of_the_directory_says_what_a_right_value_looks_like(
    path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    assert problem in directory_problems(changed(path, value))


def settings_problems(kind: type[RuntimeSettings], **values: Any) -> str:
    """Return what loading settings says; nothing when they pass."""
    try:
        kind.load(**values)
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", SETTINGS)
def test_wrong_or_missing_setting_is_told_in_words(
    kind: type[RuntimeSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in kind.model_fields:
        monkeypatch.delenv(variable(name), raising=False)
    messages = [settings_problems(kind)]
    for value in ("", "?", "x" * 700, "-1", "1e9", "nan", "2026-02-30"):
        messages.append(settings_problems(kind, **dict.fromkeys(set(kind.model_fields) - NOT_FOR_OPERATORS, value)))
    assert all(messages[1:])
    assert_for_people(*messages)


NO_TEXT: Final = b"name: caf\xe9\n"


def unreadable(at: Path) -> Iterator[Path]:
    """Yield a file that is not there, one that is a folder, and one that is not UTF-8; each in its turn at one path."""
    yield at
    at.mkdir()
    yield at
    at.rmdir()
    at.write_bytes(NO_TEXT)
    yield at


def test_directory_file_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    messages: list[str] = []
    for path in unreadable(tmp_path / "lender.yaml"):
        with pytest.raises(DirectoryError) as caught:
            load_directory(path)
        messages += caught.value.problems
    assert messages == [
        "file: cannot be read: No such file or directory",
        "file: cannot be read: Is a directory",
        "file: is not UTF-8 text",
    ]


def test_cadence_file_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    (tmp_path / "b.yaml").write_bytes(NO_TEXT)
    with pytest.raises(CadenceError) as caught:
        load_cadences(tmp_path)
    assert caught.value.problems == (
        "a.yaml: file: cannot be read: Is a directory",
        "b.yaml: file: is not UTF-8 text",
    )


def test_clock_file_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    clock = tmp_path / "clock.json"
    local = {"kafka_bootstrap_servers": "127.0.0.1:9092", "twilio_base_url": "http://127.0.0.1:1", "clock": str(clock)}
    messages = [settings_problems(RuntimeSettings, **local) for _ in unreadable(clock)]
    for text in ("{", "{}", "[]", '{"virtual_start": 5, "real_start": "", "rate": []}'):
        clock.write_text(text)
        messages.append(settings_problems(RuntimeSettings, **local))
    assert all(str(clock) in message for message in messages)
    assert_for_people(*messages)


def test_account_that_is_none_is_told_what_one_looks_like() -> None:
    said = settings_problems(SETTINGS[0], twilio_account_sid="nope")
    assert "RINGBACK_TWILIO_ACCOUNT_SID: is not an account SID; write AC and 32 hexadecimal digits" in said.split("\n")


def test_number_in_an_event_is_told_like_any_other() -> None:
    class WithNumber(Value):
        number: E164

    with pytest.raises(ValidationError) as caught:
        WithNumber(number="303-555-0123")
    assert problems_of(caught.value) == [("number", NOT_A_NUMBER)]
