"""Runs mutants: one copy of the tree for each worker, one mutant at a time in it, and the tests that must turn red."""

import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Final, Literal

from tests.mutations.catalog import ROOT, BrokenMutant, Mutant

PARTS: Final = ("services", "schemas", "deploy", "tests", "docs")
FILES: Final = ("pyproject.toml", "Makefile", "README.md", "CHANGELOG.md", "requirements.lock", ".env.example")
TEST_LIMIT_S: Final = 20
"""A test that waits for good without its protection is red after this long."""
SLOW_TEST_LIMIT_S: Final = 240
START_LIMIT_S: Final = {TEST_LIMIT_S: 15, SLOW_TEST_LIMIT_S: 120}
"""What is added for the imports, and for starting Kafka and MongoDB; then a run is ended from outside."""

LONG: Final = {"RINGBACK_MODEL_EXAMPLES": "4000"}
"""What needs several things to go wrong at once is found in the model's long form."""

Verdict = Literal["killed", "survived", "broken", "drifted"]

DEFECTS: Final = (
    "SyntaxError", "IndentationError", "ImportError", "ModuleNotFoundError", "NameError", "UnboundLocalError",
    "AttributeError", "TypeError",
)  # fmt: skip
"""A test that ends with one of these says nothing about a protection: the mutant is no program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a mutant fared.

    Attributes:
        verdict: `killed`: a test turned red; `survived`: none did; `broken`: it does not run; `drifted`: its text is gone.
        test: the test that turned red.
        how: by what.
    """

    id: str
    verdict: Verdict
    test: str = ""
    how: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Red:
    """A test that failed, and the first line of why."""

    test: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """What came of one run of pytest: every red test, and where there is no result at all, why."""

    __test__ = False

    reds: tuple[Red, ...] = ()
    passed: int = 0
    no_result: str = ""


class Tree:
    """A copy of the tree in which mutants are tried, and the process that runs its tests.

    Args:
        folder: where to make it; the working tree is never changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, folder / name)
        (ROOT / ".ringback").mkdir(exist_ok=True)
        (folder / ".ringback").symlink_to(ROOT / ".ringback")  # the jars of Kafka; tests write elsewhere
        # By their hash, not by their time: a mutant and its original may be written within a second.
        compiled = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", *PARTS]
        subprocess.run(compiled, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        # The copy comes first: the installed package is the working tree.
        env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0", "RINGBACK_REQUIRE_REAL": "1", **LONG}
        self._server = subprocess.Popen(
            [sys.executable, str(folder / "tests/mutations/server.py")],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> None:
        """End the process; a run that it has in hand ends first."""
        if self._server.stdin is not None:
            self._server.stdin.close()
        self._server.wait()

    def run(self, tests: Sequence[str], *, limit_s: int, first_only: bool = True) -> TestRun:
        """Run tests; whatever hangs is ended."""
        report, said = self.folder / "report.xml", self.folder / "said.txt"
        report.unlink(missing_ok=True)
        args = [*tests, "-q", "-p", "no:cacheprovider", "--timeout", str(limit_s), "--tb=short", f"--junitxml={report}"]
        if first_only:
            args.append("-x")
        code = self._ask(args, said, limit_s * max(1, len(tests)) + START_LIMIT_S.get(limit_s, 60))
        if code is None:
            return TestRun(reds=(Red(tests[0], "Timeout: ended from outside"),))
        if code not in (0, 1) or not report.exists():
            last = said.read_text().strip().splitlines()[-3:]
            return TestRun(no_result=f"pytest ended with {code}: {' | '.join(last)}"[:400])
        return read_report(report.read_text())

    def _ask(self, args: Sequence[str], said: Path, limit_s: float) -> int | None:
        to, back = self._server.stdin, self._server.stdout
        if to is None or back is None:
            raise RuntimeError("the process that runs tests has no pipes")
        run = {"cwd": str(self.folder), "args": list(args), "said": str(said), "limit_s": limit_s}
        to.write(json.dumps(run) + "\n")
        to.flush()
        code: int | None = json.loads(back.readline())
        return code


@contextmanager
def trees(count: int) -> Iterator[list[Tree]]:
    """Make so many copies of the tree, for as long as the block."""
    with TemporaryDirectory(prefix="ringback-mutants-") as folder:
        made: list[Tree] = []
        try:
            made += [Tree(Path(folder) / str(n)) for n in range(count)]
            yield made
        finally:
            for tree in made:
                tree.end()


def read_report(xml: str) -> TestRun:
    """Return what a JUnit report of pytest says."""
    reds, passed = [], 0
    for case in ElementTree.fromstring(xml).iter("testcase"):
        path = (case.get("file") or (case.get("classname") or "").replace(".", "/") + ".py").removeprefix("./")
        test = f"{path}::{case.get('name')}"
        bad = [found for found in case if found.tag in ("failure", "error")]
        if not bad:
            passed += all(found.tag != "skipped" for found in case)
        reds += [Red(test, (found.get("message") or found.text or found.tag).strip()) for found in bad[:1]]
    return TestRun(reds=tuple(reds), passed=passed)


def judge(mutant: Mutant, run: TestRun) -> Outcome:
    """Return what a run says about a mutant: red by an assertion or a time-out is killed, red by a broken program is not."""
    if run.no_result:
        return Outcome(id=mutant.id, verdict="broken", how=run.no_result)
    for red in run.reds:
        first = red.why.splitlines()[0] if red.why else "failed"
        if not _kind(first).endswith(DEFECTS):
            return Outcome(id=mutant.id, verdict="killed", test=red.test, how=first[:160])
    if run.reds:
        return Outcome(id=mutant.id, verdict="broken", test=run.reds[0].test, how=run.reds[0].why.splitlines()[0][:160])
    if not run.passed:
        return Outcome(id=mutant.id, verdict="broken", how="no test of it ran")
    return Outcome(id=mutant.id, verdict="survived", how=f"{run.passed} tests stay green")


def _kind(first: str) -> str:
    """Return the class of an error from the first line of pytest's message."""
    for line in (first, first.removeprefix("failed on setup with "), first.strip('"')):
        name = line.strip('"').removeprefix("failed on setup with ").strip('"').partition(":")[0].strip()
        if name and " " not in name:
            return name
    return ""


def try_mutant(mutant: Mutant, tree: Tree) -> Outcome:
    """Take one protection away in a copy, run its tests, and put it back."""
    began, path = time.monotonic(), tree.folder / mutant.file
    source = path.read_text()
    try:
        path.write_text(mutant.applied(source))
    except BrokenMutant as error:
        return Outcome(id=mutant.id, verdict="drifted", how=str(error))
    try:
        for _ in range(mutant.tries):
            limit_s = TEST_LIMIT_S if mutant.level == "unit" else SLOW_TEST_LIMIT_S
            outcome = judge(mutant, tree.run(mutant.tests, limit_s=limit_s))
            if outcome.verdict != "survived":
                break
    finally:
        path.write_text(source)
    return Outcome(**{**asdict(outcome), "seconds": round(time.monotonic() - began, 1)})


def run_all(mutants: Sequence[Mutant], copies: Sequence[Tree], say: Callable[[Outcome], None]) -> list[Outcome]:
    """Try every mutant, as many side by side as there are copies; tell each outcome as it comes."""
    free: SimpleQueue[Tree] = SimpleQueue()
    for tree in copies:
        free.put(tree)

    def one(mutant: Mutant) -> Outcome:
        tree = free.get()
        try:
            outcome = try_mutant(mutant, tree)
        finally:
            free.put(tree)
        say(outcome)
        return outcome

    with ThreadPoolExecutor(len(copies)) as workers:
        return list(workers.map(one, mutants))
