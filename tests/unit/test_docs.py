"""Whatever file, make target or page the documents name is there."""

import re
from pathlib import Path
from typing import Final

import pytest

from services.policy.wording import PLACEHOLDERS

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATH: Final = re.compile(r"`((?:services|schemas|deploy|docs|tests)/[\w./-]*[\w/])`")
LINK: Final = re.compile(r"\]\(([\w./-]+)(?:#[\w-]+)?\)")
TARGET: Final = re.compile(r"\bmake ([a-z][a-z-]+)\b(?=[`\n;, ]| #)")
TARGETS: Final = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
IDS: Final = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_path_and_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    missing = [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    missing += [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_make_target_in_code_on_a_page_exists(page: Path) -> None:
    code = re.findall(r"```(?:console|text)\n.*?```|`make [^`]+`", page.read_text(), re.S)
    named = {target for block in code for target in TARGET.findall(f"{block.strip('`')}\n")}
    assert named <= TARGETS


def test_directory_page_names_every_placeholder_of_a_text() -> None:
    page = (ROOT / "docs/directory.md").read_text()
    assert [name for name in sorted(PLACEHOLDERS) if f"`{name}`" not in page] == []


def test_readme_explains_the_words_that_files_are_named_for() -> None:
    section = re.split(r"^## Words$", (ROOT / "README.md").read_text(), flags=re.M)[1]
    explained = set(re.findall(r"^\| (\w+) \|", section, re.M))
    assert explained >= {"touch", "cadence", "lane", "gate", "card", "halt", "tail", "fence", "outbox"}
