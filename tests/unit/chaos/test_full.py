"""What `make chaos-full` runs and writes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import full
from tests.chaos.full import BEGIN, CHECKS, END, Part, Result, parts, row, table, written
from tests.chaos.system.__main__ import parse, plans
from tests.chaos.system.checker import CHECKS as ALL_CHECKS

OUTCOME: dict[str, Any] = {
    "rate": 5.0,
    "faults": ["a", "b", "c"],
    "kills": 2,
    "counts": {"calls acknowledged": 900, "texts accepted": 700, "of these texted, in percent": 97},
    "breaches": [],
}
DONE = Result(name="seed 1, 3 min", group="seeds", commit="abc1234", code=0, took_s=250, outcome=OUTCOME)


def test_whole_is_ten_seeds_a_long_run_with_thirty_kills_two_outages_and_the_fence() -> None:
    found = parts()
    assert sum(part.group == "seeds" for part in found) == 10
    assert {"long", "kafka-down", "mongo-down", "fence"} <= {part.group for part in found}
    assert len({part.name for part in found}) == len(found)


@pytest.mark.parametrize("part", [part for part in parts() if part.is_system], ids=lambda part: part.name)
def test_commands_are_understood_and_break_what_they_promise(part: Any) -> None:
    (plan,) = plans(parse(list(part.command[2:])), 5.0)
    assert plan.schedule()
    assert plan.instances == 2
    if part.group == "long":
        assert sum(fault.is_kill for fault in plan.schedule()) >= 30
        assert plan.seconds == 600.0


def test_table_counts_breaches_by_promise() -> None:
    breaches = [{"check": "sent twice"}, {"check": "caller lost"}, {"check": "caller lost"}, {"check": "left open"}]
    failed = replace(DONE, code=1, outcome={**OUTCOME, "breaches": breaches})
    assert row(DONE) == "| seed 1, 3 min | 5 | 3 / 2 | 900 | 700 | 97 % | 0 | 0 | 0 | 0 | 0 | 250 | clean |"
    assert row(failed) == "| seed 1, 3 min | 5 | 3 / 2 | 900 | 700 | 97 % | 2 | 1 | 0 | 0 | 1 | 250 | **failed** (1) |"
    assert {check for checks in CHECKS.values() for check in checks} <= set(ALL_CHECKS)


def test_every_line_of_the_table_has_as_many_cells() -> None:
    lines = table([DONE, replace(DONE, outcome=None, code=124)]).splitlines()[2:]
    assert len({line.count("|") for line in lines}) == 1


def test_table_replaces_the_one_before_and_leaves_the_rest_of_the_page() -> None:
    page = written("# Page\n\nwords\n", "old")
    assert written(page, "new") == f"# Page\n\nwords\n\n{BEGIN}\nnew\n{END}\n"


def test_failed_part_stops_no_other_and_resume_repeats_only_what_failed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, ran = folder / "page.md", folder / "ran"
    page.write_text("# Page\n")
    monkeypatch.setattr(full, "KEPT", folder / "kept")
    monkeypatch.setattr(full, "PAGE", page)
    monkeypatch.setattr(full, "_git", lambda *_: "abc1234")

    def note(name: str, code: int) -> Part:
        program = f"import sys; open({str(ran)!r}, 'a').write({name + ' '!r}); sys.exit({code})"
        return Part(group=name, name=name, command=("-c", program), limit_s=30)

    monkeypatch.setattr(full, "parts", lambda: [note("bad", 3), note("good", 0)])
    assert full.main([]) == 1
    assert ran.read_text() == "bad good "
    assert "**failed** (3)" in page.read_text()
    assert "| clean |" in page.read_text()
    assert full.main(["--resume"]) == 1
    assert ran.read_text() == "bad good bad "
    assert full.main(["--only", "good"]) == 0
    assert page.read_text().count(BEGIN) == 1
