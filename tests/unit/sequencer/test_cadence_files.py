"""Cadences are data: read, checked, and refused with the path of what is wrong."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from services.runtime.exits import EXIT_CONFIGURATION
from services.sequencer.__main__ import sequence
from services.sequencer.adapters.cadences import SHIPPED, load_cadences
from services.sequencer.errors import CadenceError
from services.sequencer.settings import SequencerSettings

GOOD = """
name: short
steps:
  - {name: text-now, channel: sms, template: hello, lane: urgent, delay: 0s, expires_after: 5m, stop_on: [opted_out]}
"""


def test_shipped_cadence_has_the_offsets_of_the_missed_call() -> None:
    """The offsets are data: 0 seconds, ten minutes, the next morning (fact C4)."""
    first, second, call = load_cadences()["missed-call"].steps
    assert (first.delay, second.delay, call.at_callback_morning) == (timedelta(), timedelta(minutes=10), True)
    assert (first.lane, first.template, first.expires_after) == ("urgent", "missed_call_first", timedelta(minutes=5))
    assert (second.lane, second.template, second.expires_after) == (
        "normal",
        "missed_call_second",
        timedelta(hours=1),
    )


def test_new_cadence_needs_no_code(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(GOOD)
    assert load_cadences(tmp_path)["short"].first_text == "text-now"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("delay: 0s", "delay: soon"), r"short.yaml: steps\[0\]\.delay: .*10m"),
        (("delay: 0s", "delay: 99999999999d"), r"short.yaml: steps\[0\]\.delay: .*longer than 366 days"),
        (("delay: 0s", "delay: 367d"), r"short.yaml: steps\[0\]\.delay: .*longer than 366 days"),
        (("channel: sms", "channel: fax"), r"short.yaml: steps\[0\]\.channel"),
        (("template: hello, ", ""), r"short.yaml: steps\[0\]: .*template"),
        (("[opted_out]", "[replied]"), r"short.yaml: steps\[0\]: .*opted_out"),
        (("lane: urgent", "lain: urgent"), r"short.yaml: steps\[0\]\.lain"),
        (("name: short", "name: long"), r"short.yaml: name: is 'long'"),
        (("channel: sms", "channel: phone, at: callback_morning"), r"either `delay` or `at`"),
        (("steps:", "steps"), r"short.yaml: "),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else None,
)
def test_wrong_cadence_is_refused_with_file_path_and_reason(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    (tmp_path / "short.yaml").write_text(GOOD.replace(*change))
    with pytest.raises(CadenceError, match=message):
        load_cadences(tmp_path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("on: 2026-02-30", "short.yaml: line 5: not YAML: day is out of range for month"),
        (f"on: {'9' * 5000}", "short.yaml: line 5: not YAML: Exceeds the limit"),
        (f"on: {'[' * 3000}{']' * 3000}", "short.yaml: file: not YAML: is nested too deeply"),
        ("name: short", "short.yaml: line 5: not YAML: duplicate key 'name'"),
    ],
    ids=["date", "number", "depth", "duplicate key"],
)
def test_value_that_yaml_cannot_read_is_a_problem_of_the_file(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "short.yaml").write_text(f"{GOOD}{line}\n")
    with pytest.raises(CadenceError) as caught:
        load_cadences(tmp_path)
    (only,) = caught.value.problems
    assert only.startswith(problem)


@pytest.mark.parametrize("delay", ["367d", "99999999d", "999999999999d", f"{'9' * 5000}s"])
def test_delay_beyond_a_year_is_refused(tmp_path: Path, delay: str) -> None:
    (tmp_path / "short.yaml").write_text(GOOD.replace("delay: 0s", f"delay: {delay}"))
    with pytest.raises(CadenceError, match=r"steps\[0\]\.delay: is longer than 366 days"):
        load_cadences(tmp_path)


def test_folder_without_cadences_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CadenceError, match=f"{tmp_path}: holds no cadence"):
        load_cadences(tmp_path)


def test_operators_folder_that_is_not_there_is_refused_although_the_shipped_cadences_are(tmp_path: Path) -> None:
    with pytest.raises(CadenceError, match="missing: holds no cadence"):
        load_cadences(SHIPPED, tmp_path / "missing")


def test_wrong_cadence_files_end_the_sequencer_with_78_and_every_problem_of_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong cadence file is configuration: starting the service again does not help."""
    (tmp_path / "a.yaml").write_text("name: a\nsteps:\n  - {name: First, channel: fax, stop_on: [opted_out]}\n")
    (tmp_path / "b.yaml").write_text("name: [")
    monkeypatch.setenv("RINGBACK_CADENCES", str(tmp_path))
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(SystemExit) as ended:
        asyncio.run(sequence(SequencerSettings.load()))
    assert ended.value.code == EXIT_CONFIGURATION
    name, channel, syntax = capsys.readouterr().err.splitlines()
    assert name.startswith("cadences: a.yaml: steps[0].name: is not a name")
    assert channel.startswith("cadences: a.yaml: steps[0].channel: is not ")
    assert syntax.startswith("cadences: b.yaml: line ")
