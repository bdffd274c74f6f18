"""What code, tests and documents cite (`fact C11`, `design 3`, `ADR 4`), and what the repository holds of it."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

FACT: Final = r"(?:[A-NPQ]\d{1,2}|0\.[1-8])"
_MORE: Final = rf"(?:(?:,? and |, |-| to ){FACT}(?!\w|\.\d))*"
_FACTS: Final = re.compile(rf"\b[Ff]acts? ({FACT}(?!\w|\.\d){_MORE})")
_DESIGN: Final = re.compile(r"\bdesign (\d+)\b")
_ADR: Final = re.compile(r"\bADR (\d+)\b")
_BARE: Final = re.compile(r"\b(?!N11 service)[A-NPQ]\d{1,2}\b")
_BARE_IN_BRACKETS: Final = re.compile(r"\([A-NPQ]\d{1,2}(?:(?:, |-)[A-NPQ]\d{1,2})*[):]")
_NOT_HERE: Final = re.compile(
    r"\bDESIGN \d|\b(?:compliance|reliability|libraries)(?: part)? \d|\.\./shared|\bmission.facts|\bS[0-4]:\d"
)
"""Pages that a user of the repository does not have."""

_KINDS: Final = {".py", ".md", ".yaml", ".yml", ".toml", ".example", ".txt", ".sh", ".js", ".html", ""}


@dataclass(frozen=True, slots=True)
class Cited:
    """One citation."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        """Return it as a compiler would say it."""
        return f"{self.path}:{self.line}: {self.what}"


@cache
def files() -> tuple[str, ...]:
    """Return every text file of the repository that people write."""
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return tuple(path for path in found if Path(path).suffix in _KINDS and (ROOT / path).is_file())


def facts_in(text: str) -> list[str]:
    """Return the facts that a text cites, ranges such as `facts A1-A4` spelled out."""
    return [fact for found in _FACTS.finditer(_joined(text)) for fact in _spelled_out(found[1])]


def _joined(text: str) -> str:
    # A citation may be broken over two lines.
    return " ".join(text.split())


def _spelled_out(said: str) -> Iterator[str]:
    last = ""
    for link, fact in re.findall(rf"(,? and |, |-| to |^)({FACT})", said):
        if link in ("-", " to ") and last[:1] == fact[:1] and fact[0].isalpha():
            yield from (f"{fact[0]}{n}" for n in range(int(last[1:]) + 1, int(fact[1:]) + 1))
        else:
            yield fact
        last = fact


@cache
def known_facts() -> dict[str, str]:
    """Return the facts of docs/facts.md, and what each says; of a contradiction, its ruling."""
    rows = re.findall(rf"^\| ({FACT})(?: `!`)? \| (.*?) \| (.*?) \|$", (ROOT / "docs/facts.md").read_text(), re.M)
    return {fact: ruling if fact.startswith("Q") else words for fact, words, ruling in rows}


@cache
def known_sections() -> frozenset[str]:
    """Return the numbers of the sections of docs/design.md."""
    return frozenset(re.findall(r"^## (\d+)\. ", (ROOT / "docs/design.md").read_text(), re.M))


@cache
def known_decisions() -> frozenset[str]:
    """Return the numbers of the decisions under docs/adr."""
    return frozenset(str(int(path.name[:4])) for path in (ROOT / "docs/adr").glob("[0-9]*.md"))


def unknown(path: str) -> list[Cited]:
    """Return the citations of a file whose target the repository does not hold."""
    lines = (ROOT / path).read_text().splitlines()
    found = []
    for n, line in enumerate(lines, 1):
        after = lines[n] if n < len(lines) else ""
        text = f"{line} {after.lstrip(' #')}" if re.search(r"\b([Ff]acts?|design|ADR)$|,$", line.rstrip()) else line
        found += [Cited(path, n, f"fact {fact}") for fact in facts_in(text) if fact not in known_facts()]
        found += [Cited(path, n, f"design {one}") for one in _DESIGN.findall(line) if one not in known_sections()]
        found += [Cited(path, n, f"ADR {one}") for one in _ADR.findall(line) if one not in known_decisions()]
        found += [Cited(path, n, one[0]) for one in _NOT_HERE.finditer(line)]
    return found


def bare(path: str) -> list[Cited]:
    """Return the ids in a Python file's prose that stand without the word `fact`, so that nobody knows what they are."""
    source = (ROOT / path).read_text()
    found = [
        Cited(path, line, one[0])
        for line, text in _prose(source)
        for one in _BARE.finditer(_FACTS.sub("", " ".join(text.split())))
    ]
    for n, line in enumerate(source.splitlines(), 1):
        found += [Cited(path, n, one[0]) for one in _BARE_IN_BRACKETS.finditer(_FACTS.sub("", line))]
    return sorted(set(found), key=str)


def _prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield docstrings, and comments with what continues them on the next lines, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    comment, began, last = "", 0, -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if line != last + 1:
            if comment:
                yield began, comment
            comment, began = "", line
        comment, last = f"{comment} {token.string.lstrip('#')}", line
    if comment:
        yield began, comment


def citing_tests() -> dict[str, list[tuple[str, str]]]:
    """Return, for each fact, the tests (path, name) whose docstring cites it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in files():
        if not re.fullmatch(r"tests/.*test_\w+\.py", path):
            continue
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                for fact in dict.fromkeys(facts_in(ast.get_docstring(node) or "")):
                    found.setdefault(fact, []).append((path, node.name))
    return found
