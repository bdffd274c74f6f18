"""The domain stays pure: standard library, schemas, services.policy and leads' own domain."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOMAIN = sorted((ROOT / "services" / "leads" / "domain").glob("*.py"))
ALLOWED = ("schemas", "services.policy", "services.leads.domain")


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: path.stem)
def test_domain_imports_nothing_outside_its_list(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            assert name.startswith(ALLOWED) or name.split(".")[0] in sys.stdlib_module_names, f"{path}: {name}"
