"""What may import what: `domain/` and `policy/` are pure, services know nothing of each other, Motor is behind one file."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final = ("ingest", "leads", "notifier", "sequencer")
WITH_DOCUMENTS: Final = {
    "leads": "services/leads/adapters/mongo.py",
    "notifier": "services/notifier/adapters/mongo.py",
    "sequencer": "services/sequencer/adapters/mongo.py",
}
RULES_LIBRARIES: Final = ("holidays", "jinja2", "phonenumbers", "pydantic", "smsutil", "yaml")
"""What policy's rules are computed with; none of them reads a clock, a socket or a setting."""

IMPURE: Final = {
    "asyncio", "http", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "tempfile", "threading", "time",
    "urllib",
}  # fmt: skip
READS_ITS_FILE: Final = {"services/policy/directory.py": {"pathlib"}}


def files(folder: str) -> list[str]:
    """Return the Python files under a folder, from the root."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))


def imported(path: str) -> Iterator[str]:
    """Yield every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.split("/")[: -node.level] if node.level else []
            yield ".".join([*package, *([node.module] if node.module else [])])


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    """Return whether a module is one of the packages, or inside one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def assert_pure(path: str, allowed: tuple[str, ...]) -> None:
    """Fail when a file imports anything that is neither harmless nor allowed."""
    modules = set(imported(path))
    impure = IMPURE - READS_ITS_FILE.get(path, set())
    stdlib = {module for module in modules if module.split(".")[0] in sys.stdlib_module_names}
    assert {module for module in stdlib if module.split(".")[0] in impure} == set()
    assert {module for module in modules - stdlib if not is_in(module, allowed)} == set()


@pytest.mark.parametrize("path", [path for name in SERVICES for path in files(f"services/{name}/domain")])
def test_domain_imports_the_standard_library_schemas_policy_and_itself(path: str) -> None:
    service = path.split("/")[1]
    assert_pure(path, ("schemas", "services.policy", f"services.{service}.domain", f"services.{service}.errors"))


@pytest.mark.parametrize("path", files("services/policy"))
def test_policy_imports_the_standard_library_schemas_and_what_it_computes_with(path: str) -> None:
    assert_pure(path, ("schemas", "services.policy", *RULES_LIBRARIES))


@pytest.mark.parametrize("path", [f"services/{name}/errors.py" for name in SERVICES])
def test_errors_that_a_domain_may_raise_import_no_more_than_the_base_of_all_errors(path: str) -> None:
    assert_pure(path, ("services.runtime.errors",))


@pytest.mark.parametrize("path", files("schemas"))
def test_schemas_import_no_service(path: str) -> None:
    assert not [module for module in imported(path) if is_in(module, ("services", "deploy", "tests"))]


@pytest.mark.parametrize("name", [*SERVICES, "runtime", "policy"])
def test_service_knows_no_other_service_and_nothing_of_the_sandbox(name: str) -> None:
    ours = ("services.runtime", "services.policy", f"services.{name}")
    for path in files(f"services/{name}"):
        others = [module for module in imported(path) if is_in(module, ("services", "deploy", "tests"))]
        assert [module for module in others if not is_in(module, ours)] == [], path


def test_motor_is_behind_one_file_of_each_service_that_keeps_documents() -> None:
    found = {name: [path for path in files(f"services/{name}") if "motor" in top_level(path)] for name in SERVICES}
    assert {name: paths for name, paths in found.items() if paths} == {k: [v] for k, v in WITH_DOCUMENTS.items()}


def test_twilio_sends_and_checks_signatures_in_adapters_alone() -> None:
    found = {path for name in SERVICES for path in files(f"services/{name}") if "twilio" in top_level(path)}
    assert found
    assert all("/adapters/" in path or path.endswith("ingest/signing.py") for path in found), found


def top_level(path: str) -> set[str]:
    """Return the packages a file imports."""
    return {module.split(".")[0] for module in imported(path)}
