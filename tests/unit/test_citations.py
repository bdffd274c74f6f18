"""Every id that is cited exists, and nobody cites a page that the repository does not hold."""

from pathlib import Path

import pytest

from tests import citations
from tests.citations import bare, facts_in, files, known_decisions, known_facts, known_sections, unknown
from tests.facts import done

THIS_IS_ABOUT_CITATIONS = ("tests/unit/test_citations.py", "tests/citations.py")
CITING = [path for path in files() if path not in THIS_IS_ABOUT_CITATIONS]
PROSE = [path for path in CITING if path.endswith(".py")]


def test_repository_has_facts_sections_and_decisions_to_cite() -> None:
    assert {"0.1", "A3", "C11", "Q22"} <= known_facts().keys()
    assert known_sections() == frozenset(map(str, range(1, 11)))
    assert known_decisions() >= {"1", "6"}


def test_whatever_is_cited_exists_in_the_repository() -> None:
    assert [str(found) for path in CITING for found in unknown(path)] == []


def test_fact_is_called_a_fact_where_it_is_cited() -> None:
    assert [str(found) for path in PROSE for found in bare(path)] == []


def test_every_fact_that_is_done_is_a_fact_and_stands_once_in_order() -> None:
    listed = done()
    assert [fact for fact in listed if fact not in known_facts()] == []
    assert listed == sorted(set(listed), key=list(known_facts()).index)


def test_every_fact_that_is_done_is_cited_by_a_unit_test() -> None:
    cited = {fact for fact, tests in citations.citing_tests().items() if any("/unit/" in path for path, _ in tests)}
    assert [fact for fact in done() if fact not in cited] == []


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("fact C11", ["C11"]),
        ("facts C3, D5", ["C3", "D5"]),
        ("Facts A1-A4 and Q1: a call", ["A1", "A2", "A3", "A4", "Q1"]),
        ("a caller (fact 0.1) of\n    fact A10", ["0.1", "A10"]),
        ("as facts C3, D5, Q22. And fact 0.3.", ["C3", "D5", "Q22", "0.3"]),
        ("a matter of fact, A4 paper", []),
    ],
)
def test_citation_is_read_as_people_write_it(text: str, facts: list[str]) -> None:
    assert facts_in(text) == facts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see fact Z1, fact A99, design 11 and ADR 99", ["fact A99", "design 11", "ADR 99"]),
        ("as DESIGN 3 and reliability 1.2 say (S0:89)", ["DESIGN 3", "reliability 1", "S0:8"]),
        ("fact A3, design 3, ADR 1", []),
    ],
)
def test_citation_of_what_is_not_there_is_found(text: str, found: list[str], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert [one.what for one in unknown(str(page))] == found
