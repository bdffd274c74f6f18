"""The mutants fit the code as it is, name tests that exist, and are judged right; every hole has one or a reason."""

import ast
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutations.__main__ import PAGE as WRITTEN
from tests.mutations.__main__ import main, page
from tests.mutations.catalog import ROOT, BrokenMutant, Mutant, chosen, read_tables
from tests.mutations.holes import PAGE, has_mutant, read_holes, reasons
from tests.mutations.run import Red, TestRun, judge, read_report

MUTANT = Mutant(
    id="X1", file="a.py", old="x = 1", new="x = 2", why="x is 2", tests=("tests/unit/test_a.py::test_x_is_one",)
)


def test_every_mutant_fits_the_tree() -> None:
    """What has drifted proves nothing: change the mutant's `old` and `new` together with the code."""
    assert [why for mutant in read_tables() if (why := mutant.drifted())] == []


def test_every_mutant_has_an_id_of_its_own_and_says_what_goes_wrong() -> None:
    mutants = read_tables()
    assert [name for name, times in Counter(mutant.id for mutant in mutants).items() if times > 1] == []
    assert [mutant.id for mutant in mutants if not mutant.why or not mutant.tests] == []


def test_every_mutant_names_tests_that_exist() -> None:
    there: dict[str, set[str]] = {}
    missing = []
    for mutant in read_tables():
        for test in mutant.tests:
            path, _, name = test.partition("::")
            if path not in there:
                there[path] = _tests_in(ROOT / path)
            if name.partition("[")[0] not in there[path]:
                missing.append(f"{mutant.id}: {test}")
    assert missing == []


def _tests_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text())) if path.exists() else ()
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_hole_of_the_reliability_page_has_a_mutant_or_a_reason_why_not() -> None:
    """A new row needs a mutant in tests/mutations that turns one of its tests red, or a line in without/holes.toml."""
    mutants, why = read_tables(), reasons()
    holes = read_holes(PAGE.read_text())
    assert len(holes) > 50
    assert [hole.name for hole in holes if not has_mutant(hole, mutants) and not hole.name.startswith(tuple(why))] == []


def test_page_of_the_mutants_is_what_the_tables_say() -> None:
    """After a change of the tables: `python -m tests.mutations --page`."""
    assert WRITTEN.read_text() == page(read_tables())


@pytest.mark.parametrize("source", ["", "x = 1\nx = 1\n"], ids=["not there", "there twice"])
def test_mutant_whose_text_does_not_stand_there_once_is_refused(source: str) -> None:
    with pytest.raises(BrokenMutant, match=r"X1.*times in a\.py"):
        MUTANT.applied(source)


def test_mutant_that_changes_nothing_is_refused() -> None:
    with pytest.raises(BrokenMutant, match="changes nothing"):
        replace(MUTANT, new=MUTANT.old).applied("x = 1")


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (TestRun(reds=(Red("t", "AssertionError: assert 2 == 1"),)), "killed"),
        (TestRun(reds=(Red("t", "assert 2 == 1"),)), "killed"),
        (TestRun(reds=(Red("t", "Failed: Timeout (>30.0s) from pytest-timeout."),)), "killed"),
        (TestRun(reds=(Red("t", "TimeoutError"),)), "killed"),
        (TestRun(reds=(Red("t", "Failed: DID NOT RAISE <class 'ValueError'>"),)), "killed"),
        (TestRun(reds=(Red("t", "services.runtime.errors.TransientError: away"),)), "killed"),
        (TestRun(reds=(Red("t", "NameError: name 'y' is not defined"),)), "broken"),
        (TestRun(reds=(Red("t", 'failed on setup with "ImportError: no'),)), "broken"),
        (
            TestRun(reds=(Red("t", "TypeError: f() got an unexpected keyword"), Red("u", "assert 0")), passed=1),
            "killed",
        ),
        (TestRun(no_result="pytest ended with 2: error during collection"), "broken"),
        (TestRun(passed=3), "survived"),
        (TestRun(), "broken"),
    ],
)
def test_mutant_is_killed_only_by_a_test_that_a_program_turns_red(run: TestRun, verdict: str) -> None:
    assert judge(MUTANT, run).verdict == verdict


def test_report_of_pytest_is_read_with_every_red_test_and_no_skipped_one() -> None:
    xml = """<testsuites><testsuite>
        <testcase classname="tests.unit.test_a" name="test_x_is_one"><failure message="assert 2 == 1">..</failure></testcase>
        <testcase classname="tests.unit.test_a" name="test_y"/>
        <testcase classname="tests.unit.test_a" name="test_z"><skipped message="no"/></testcase>
    </testsuite></testsuites>"""
    assert read_report(xml) == TestRun(reds=(Red("tests/unit/test_a.py::test_x_is_one", "assert 2 == 1"),), passed=1)


def test_level_of_a_mutant_is_that_of_its_tests_and_named_ones_are_of_any() -> None:
    slow = replace(MUTANT, id="X2", tests=("tests/integration/test_b.py::test_b",))
    assert chosen([MUTANT, slow], level="unit") == [MUTANT]
    assert chosen([MUTANT, slow], level="all") == [MUTANT, slow]
    assert chosen([MUTANT, slow], level="unit", only=["X2"]) == [slow]


def test_table_is_listed_without_running_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--only", "S1."]) == 0
    said = capsys.readouterr().out
    assert "| S1.row-first |" in said
    assert "tests without any mutant" not in said
    assert main(["--only", "no such id"]) == 1
