"""`domain/` imports the standard library, schemas, policy and itself; a clock, a client or a setting has no way in."""

import ast
import sys
from pathlib import Path

import pytest

DOMAIN = Path(__file__).parents[3] / "services/notifier/domain"


@pytest.mark.parametrize("path", sorted(DOMAIN.glob("*.py")), ids=lambda path: path.stem)
def test_domain_imports_nothing_outside_its_list(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    ours = ("schemas", "services.policy", "services.notifier.domain")
    outside = {
        name for name in found if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith(ours)
    }
    assert outside == set()
    assert not found & {"time", "asyncio", "random", "socket"}
