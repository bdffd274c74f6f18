"""Where our own layout may stand: `# fmt: skip` is for tables, and fields from four on are named where a value is made."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
OURS: Final = sorted(
    str(path.relative_to(ROOT))
    for part in ("services", "schemas", "deploy", "tests")
    for path in (ROOT / part).rglob("*.py")
)
SKIP: Final = "# fmt: " + "skip"
POSITIONAL: Final = {
    "Topic": "a row of the table of topics",
    "MemoryDeliveries": "a fake without arguments",
    "FakeProvider": "a fake without arguments",
    "Lane": "made in one place, of what its file is",
    "_Append": "private to the spool",
}
"""Classes of four fields or more that may be made without naming them, and why."""


def tables(tree: ast.Module) -> Iterator[range]:
    """Yield the lines of what may be laid out by hand: assignments of a module or a class, and decorators (test cases)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.Assign | ast.AnnAssign):
                    yield range(part.lineno, (part.end_lineno or part.lineno) + 1)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                yield range(decorator.lineno, (decorator.end_lineno or decorator.lineno) + 1)


@pytest.mark.parametrize("path", OURS)
def test_formatting_is_skipped_on_tables_only(path: str) -> None:
    text = (ROOT / path).read_text()
    allowed = list(tables(ast.parse(text)))
    elsewhere = [
        n
        for n, line in enumerate(text.splitlines(), 1)
        if line.rstrip().endswith(SKIP) and not any(n in lines for lines in allowed)
    ]
    assert elsewhere == []


def positional(path: str) -> Iterator[str]:
    """Yield the dataclasses of four fields or more that do not insist on names."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if not isinstance(node, ast.ClassDef):
            continue
        made = [ast.unparse(decorator) for decorator in node.decorator_list if "dataclass" in ast.unparse(decorator)]
        fields = [
            part for part in node.body if isinstance(part, ast.AnnAssign) and "init=False" not in ast.unparse(part)
        ]
        fields = [part for part in fields if "ClassVar" not in ast.unparse(part.annotation)]
        if made and len(fields) >= 4 and "kw_only=True" not in made[0]:
            yield node.name


def test_values_of_four_fields_or_more_are_made_with_their_names() -> None:
    found = {name for path in OURS if path.startswith(("services/", "schemas/")) for name in positional(path)}
    assert found == set(POSITIONAL)
