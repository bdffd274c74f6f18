"""Which provider a run uses, which skips it allows, and what it leaves out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = """
import pytest

@pytest.fixture
def kafka():
    pytest.skip({reason!r})

def test_it(kafka):
    raise AssertionError
"""
LONG = """
import pytest

@pytest.mark.chaos_full
def test_long(): ...

def test_short(): ...
"""
WHICH = """
def test_which(provider):
    print("on", provider)
"""


def run(folder: Path, source: str, *options: str, require_real: str = "0") -> tuple[int, str]:
    """Run a test file under this project's own conftest; return exit code and output."""
    file = folder / "test_this.py"
    file.write_text(source)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-c",
            os.devnull,
            "--rootdir",
            str(folder),
            "-rs",
            "-s",
            "-p",
            "no:cacheprovider",
            *options,
            str(file),
        ],
        capture_output=True,
        env={**os.environ, "RINGBACK_REQUIRE_REAL": require_real, "DOCKER_HOST": "unix:///no/engine"},
    )
    return done.returncode, done.stdout.decode()


def test_skip_of_a_real_part_fails_where_real_parts_are_required(tmp_path: Path) -> None:
    code, said = run(tmp_path, SKIPPING.format(reason="no java"), require_real="1")
    assert code == 1
    assert "RINGBACK_REQUIRE_REAL=1, and this was skipped" in said
    assert run(tmp_path, SKIPPING.format(reason="no java"))[0] == 0


@pytest.mark.parametrize("require_real", ["0", "1"])
def test_both_providers_without_an_engine_run_local_and_skip_containers_with_the_reason(
    tmp_path: Path, require_real: str
) -> None:
    code, said = run(tmp_path, WHICH, "--provider", "both", require_real=require_real)
    assert code == 0
    assert "on local" in said
    assert "1 passed, 1 skipped" in said
    assert "containers: no Docker engine answers (/no/engine: No such file or directory)" in said


def test_skip_of_anything_fails_where_real_parts_are_required(tmp_path: Path) -> None:
    source = "import pytest\n\ndef test_it():\n    pytest.skip('not today')\n"
    assert run(tmp_path, source, require_real="1")[0] == 1


def test_long_scene_is_deselected_and_not_skipped_unless_it_is_asked_for(tmp_path: Path) -> None:
    """A skip would fail where real parts are required, as in CI."""
    code, said = run(tmp_path, LONG, require_real="1")
    assert code == 0
    assert "1 passed, 1 deselected" in said
    code, said = run(tmp_path, LONG, "--chaos-full", require_real="1")
    assert code == 0
    assert "2 passed" in said
