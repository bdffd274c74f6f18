"""The first line of a replay: what is played, and what its log cannot say."""

from pathlib import Path

import pytest

from services.cli.calllog import CompletedMeans
from services.cli.exits import WrongUse
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
