"""A hard end of the process."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from services.runtime.hard_end import end_process, remove_at_end
remove_at_end(Path(sys.argv[1]))
end_process(71, "a test")
"""


def test_hard_end_leaves_no_folder_behind(tmp_path: Path) -> None:
    folder = tmp_path / "ringback-sequencer-1"
    (folder / "faust").mkdir(parents=True)
    ended = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], cwd=Path(__file__).parents[3], check=False)
    assert ended.returncode == 71
    assert not folder.exists()
