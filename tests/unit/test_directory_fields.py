"""Every field of the directory is documented, and does something or is marked "not used yet"."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel

from services.policy.directory import Branch, Directory, Officer, Policies, StatePolicy, Template

ROOT: Final = Path(__file__).parents[2]
DIRECTORY: Final = ROOT / "services/policy/directory.py"
PARTS: Final[dict[str, type[BaseModel]]] = {
    "": Directory,
    "branches[].": Branch,
    "officers[].": Officer,
    "policies.": Policies,
    "policies.states.*.": StatePolicy,
    "templates.*.*.": Template,
}
CALLED: Final[dict[type[BaseModel], set[str]]] = {
    Directory: {"directory", "_directory"},
    Branch: {"branch", "found"},
    Officer: {"officer", "owner", "person"},
    Policies: {"policies", "policy"},
    StatePolicy: {"own"},
    Template: {"template"},
}
"""What variables of each kind are called in the services; a new name for one belongs here."""

NOT_USED_YET: Final = {
    "legal_name": "Texts", "templates.*.*.approved_by": "Texts",
    "templates.*.*.approved_on": "Texts", "branches[].states": "Calls", "officers[].licensed_states": "Calls",
    "officers[].products": "Calls", "officers[].languages": "Calls", "officers[].role": "Calls",
}  # fmt: skip
"""Fields that nothing reads, and the part of the product that will."""


def fields() -> list[tuple[str, type[BaseModel], str]]:
    return [(prefix + name, part, name) for prefix, part in PARTS.items() for name in part.model_fields]


def reads(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield what is read of what: the last name in front of the dot, and the attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            of = node.value.func if isinstance(node.value, ast.Call) else node.value
            yield (of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""), node.attr


def methods() -> dict[tuple[type[BaseModel], str], set[tuple[str, str]]]:
    """Return what each method of the directory's own classes reads; the checks at the start are no use of a field."""
    kinds = {part.__name__: part for part in PARTS.values()}
    return {
        (kinds[cls.name], method.name): set(reads(method))
        for cls in ast.parse(DIRECTORY.read_text()).body
        if isinstance(cls, ast.ClassDef) and cls.name in kinds
        for method in cls.body
        if isinstance(method, ast.FunctionDef) and method.name not in ("_consistent", "_problems")
    }


@cache
def used() -> set[tuple[type[BaseModel], str]]:
    """Return the fields that code outside the directory reads, itself or by the methods it calls."""
    outside = {
        read
        for path in (ROOT / "services").rglob("*.py")
        if path != DIRECTORY
        for read in reads(ast.parse(path.read_text()))
    }
    found = {(part, name) for part, names in CALLED.items() for of, name in outside if of in names}
    own = methods()
    reached = {key for key in own if key[1] in {name for _, name in outside}}
    while True:
        seen = {(part if of == "self" else of, name) for part, method in reached for of, name in own[part, method]}
        more = {key for key in own if key[1] in {name for _, name in seen}} - reached
        if not more:
            break
        reached |= more
    for of, name in seen:
        found |= {(part, name) for part, names in CALLED.items() if of is part or of in names}
    return found


def documented() -> dict[str, str]:
    """Return the documented fields with what the document says of them."""
    text = (ROOT / "docs/directory.md").read_text()
    return dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", text, re.MULTILINE))


def test_every_field_is_documented_and_every_documented_field_exists() -> None:
    assert sorted(documented()) == sorted(path for path, _, _ in fields())


@pytest.mark.parametrize(("path", "part", "name"), fields(), ids=[path for path, _, _ in fields()])
def test_documented_field_is_read_by_a_service_or_waits_for_a_named_part(
    path: str, part: type[BaseModel], name: str
) -> None:
    is_used = (part, name) in used()
    if path in NOT_USED_YET:
        assert not is_used, "it is used now: take it off the list and document what it does"
    else:
        assert is_used, "no service reads it; or it is read under a name that `CALLED` does not have"


def test_fields_that_wait_are_marked_so_in_the_document_and_no_others() -> None:
    assert {path for path, said in documented().items() if "not used yet" in said} == set(NOT_USED_YET)
