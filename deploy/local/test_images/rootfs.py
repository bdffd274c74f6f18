"""The file tree of an image: programs and the closure of their shared libraries, nothing else."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from deploy.local.process import StartError

SHELL = ("bash", "cat", "chmod", "date", "env", "grep", "hostname", "id", "ls", "mkdir", "rm", "sed", "sleep", "tr")


class Rootfs:
    """A folder that becomes an image.

    Args:
        folder: empty; may be removed once the image is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("bin", "etc", "tmp", "usr/bin", "var", "root"):
            (folder / name).mkdir(parents=True)
        (folder / "tmp").chmod(0o1777)
        self.text("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        self.text("/etc/group", "root:x:0:\n")
        self.programs(self.found(name) for name in SHELL)
        (folder / "bin" / "sh").symlink_to("bash")

    def text(self, path: str, content: str, *, run: bool = False) -> None:
        """Write a file; `run` makes it a program."""
        target = self._inside(path)
        target.write_text(content)
        target.chmod(0o755 if run else 0o644)

    def programs(self, programs: Iterable[Path]) -> None:
        """Put programs into /bin, with their libraries."""
        for program in programs:
            shutil.copy(program, self._folder / "bin" / program.name)
            (self._folder / "bin" / program.name).chmod(0o755)
            self._libraries(program)

    def tree(self, source: Path, path: str, *, without: Sequence[str] = ()) -> None:
        """Copy a folder, links followed, with the libraries of all its programs and libraries."""
        shutil.copytree(
            source, self._inside(path), ignore_dangling_symlinks=True, ignore=shutil.ignore_patterns(*without)
        )
        for file in source.rglob("*"):
            if file.is_file() and (file.suffix == ".so" or file.parent.name == "bin"):
                self._libraries(file, inside=source)

    def _libraries(self, program: Path, inside: Path | None = None) -> None:
        said = subprocess.run(["ldd", str(program)], capture_output=True).stdout.decode()
        for name in re.findall(r"(?:=> )?(/\S+) \(0x", said):
            if not (inside and Path(name).resolve().is_relative_to(inside)) and not self._at(name).exists():
                shutil.copy(Path(name).resolve(), self._inside(name))

    def _at(self, path: str) -> Path:
        return self._folder / path.lstrip("/")

    def _inside(self, path: str) -> Path:
        target = self._at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def image(self, name: str, *changes: str) -> None:
        """Make the image in the engine.

        Args:
            name: with tag.
            changes: Dockerfile instructions (CMD, ENV ...).

        Raises:
            StartError: no engine answers, or it refuses.
        """
        options = [part for change in changes for part in ("--change", change)]
        with subprocess.Popen(["tar", "-C", str(self._folder), "--owner=0", "--group=0", "-c", "."], stdout=-1) as tar:
            done = subprocess.run(["docker", "import", *options, "-", name], stdin=tar.stdout, capture_output=True)
        if done.returncode:
            raise StartError(f"cannot make {name}: {done.stderr.decode(errors='replace').strip()}")

    @staticmethod
    def found(program: str) -> Path:
        """Return where a program is, links followed to nothing: its name stays.

        Raises:
            StartError: it is not on PATH.
        """
        at = shutil.which(program)
        if at is None:
            raise StartError(f"{program} is not on PATH")
        return Path(at)
