"""No file of ours grows past what a reader can hold: about 400 lines, data files and generated ones aside."""

import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LINES_MAX: Final = 400


def test_no_python_file_is_longer_than_four_hundred_lines() -> None:
    names = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert names
    long = {
        name: n
        for name in names
        if (ROOT / name).exists() and (n := len((ROOT / name).read_text().splitlines())) > LINES_MAX
    }
    assert long == {}, "split these along their own seams"
