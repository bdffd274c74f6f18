"""The first line of a replay: what is played, and what its log cannot say."""

from pathlib import Path

import pytest

from services.cli.calllog import CompletedMeans
from services.cli.exits import WrongUse, called_as
from services.cli.replay import judgment_of, read_calls, title_of
from tests.unit.calllog.test_calllog_without_legs import HEADER, row


def test_first_line_and_summary_say_how_many_were_judged_to_be_what(tmp_path: Path) -> None:
    file = tmp_path / "incoming.csv"
    file.write_text("\n".join([HEADER, row(1, 145), row(2, 60), row(3, 12), row(4, 0, status="no-answer")]))
    calls, tally = read_calls(file, None)
    title = title_of(file, None, calls, tally)
    assert title.startswith("incoming.csv: 4 calls")
    assert "no outbound-dial rows" in title
    assert "2 completed calls count as answered, 1 as missed" in title
    assert "--completed-means" in title
    assert judgment_of(calls) in title
    assert "\n" not in title


def test_first_line_says_that_only_calls_without_legs_were_judged(tmp_path: Path) -> None:
    file = tmp_path / "mixed.csv"
    leg = row(5, 100, direction="outbound-dial", parent=f"CA{1:032x}")
    file.write_text("\n".join([HEADER, row(1, 145), row(2, 60), leg]))
    calls, tally = read_calls(file, None)
    title = title_of(file, None, calls, tally)
    assert "completed calls without outbound-dial rows" in title
    assert "1 completed calls count as answered, 0 as missed" in title
    assert judgment_of(calls) in title


def test_judgment_is_counted_for_the_day_that_is_played(tmp_path: Path) -> None:
    file = tmp_path / "incoming.csv"
    file.write_text("\n".join([HEADER, row(1, 145), row(2, 145).replace("2026-06-01", "2026-06-02")]))
    calls, tally = read_calls(file, "2026-06-02")
    assert "1 completed calls count as answered, 0 as missed" in title_of(file, "2026-06-02", calls, tally)


def test_log_that_says_who_talked_takes_no_judgment(tmp_path: Path) -> None:
    file = tmp_path / "whole.csv"
    file.write_text("\n".join([HEADER, row(1, 145), row(3, 100, direction="outbound-dial", parent=f"CA{1:032x}")]))
    with pytest.raises(WrongUse, match="says itself who talked"):
        read_calls(file, None, CompletedMeans.MISSED)


def test_export_of_incoming_calls_takes_a_judgment_although_none_of_them_is_completed(tmp_path: Path) -> None:
    file = tmp_path / "incoming.csv"
    file.write_text("\n".join([HEADER, row(1, 0, status="no-answer"), row(2, 9, status="canceled")]))
    calls, tally = read_calls(file, None, CompletedMeans.MISSED)
    assert [call.status for call in calls] == ["no-answer", "canceled"]
    assert "judged" not in title_of(file, None, calls, tally)


@pytest.mark.parametrize(
    ("argument", "on_path", "shown"),
    [
        (".venv/bin/ringback", None, ".venv/bin/ringback"),
        ("{cwd}/.venv/bin/ringback", None, ".venv/bin/ringback"),
        ("/elsewhere/ringback", None, "/elsewhere/ringback"),
        ("/usr/bin/ringback", "/usr/bin/ringback", "ringback"),
        ("-c", None, "ringback"),
    ],
)
def test_command_to_call_next_is_written_as_this_one_was_called(
    argument: str, on_path: str | None, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [argument.replace("{cwd}", str(tmp_path))])
    monkeypatch.setattr("shutil.which", lambda _: on_path)
    assert called_as() == shown
