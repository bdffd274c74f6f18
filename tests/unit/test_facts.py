"""`make facts`: a fact holds when a test that cites it passes and none fails; the worst case of a test counts."""

from typing import Literal

import pytest

from tests.facts import Recorder, main, report

PASSES, FAILS, OTHER = (
    ("tests/unit/test_a.py", "test_one"),
    ("tests/unit/test_a.py", "test_two"),
    ("tests/e2e/x.py", "t"),
)


@pytest.mark.parametrize(
    ("tests", "unproved"),
    [
        ([PASSES], []),
        ([PASSES, OTHER], []),
        ([PASSES, FAILS], ["A3"]),
        ([OTHER], ["A3"]),
        ([], ["A3"]),
    ],
    ids=["a passing test", "one passes, one was not run", "one passes, one fails", "none was run", "no test cites it"],
)
def test_fact_is_shown_to_hold_only_by_tests_that_pass(
    tests: list[tuple[str, str]], unproved: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(["A3"], {"A3": tests}, {PASSES: "passed", FAILS: "failed"}) == unproved
    said = capsys.readouterr().out
    assert said.startswith("A3 ")
    assert ("NOT PROVED" in said) == bool(unproved)


@pytest.mark.parametrize(
    ("outcomes", "kept"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "failed"], "failed"),
        (["failed", "passed"], "failed"),
        (["skipped"], "skipped"),
    ],
)
def test_worst_case_of_a_parametrized_test_counts(
    outcomes: list[Literal["passed", "failed", "skipped"]], kept: str
) -> None:
    recorder = Recorder()
    for n, outcome in enumerate(outcomes):
        nodeid = f"{PASSES[0]}::{PASSES[1]}[{n}]"
        recorder.pytest_runtest_logreport(
            pytest.TestReport(
                nodeid=nodeid, location=(PASSES[0], n, ""), keywords={}, outcome=outcome, longrepr=None, when="call"
            )
        )
    assert recorder.results == {PASSES: kept}


def test_wrong_argument_is_said_and_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--everything"]) == 2
    assert "usage" in capsys.readouterr().err
