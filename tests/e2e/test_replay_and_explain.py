"""`ringback replay` and `ringback explain` as somebody runs them: processes of their own, in a folder of their own."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from deploy.local.kafka import ensure_jars
from services.cli.exits import DONE

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 120.0
ANSWERED, MISSED, HUNG_UP = "+12055550131", "+12055550132", "+12055550133"
HEADER: Final = "Call Sid,From,To,Status,Start Time,Duration,Direction"
INCOMING_ONLY: Final = "\n".join([
    HEADER,
    f"CA{1:032x},{ANSWERED},+12125550100,completed,2026-03-10 15:00:00 UTC,145,inbound",
    f"CA{2:032x},{MISSED},+12125550100,completed,2026-03-10 15:10:00 UTC,12,inbound",
    f"CA{3:032x},{HUNG_UP},+12125550100,canceled,2026-03-10 15:20:00 UTC,9,inbound",
])  # fmt: skip


def ringcentral() -> str:
    """Return a log of one call that a phone system's menu accepted and nobody took."""
    party = {"type": "Voice", "from": {"phoneNumber": MISSED}, "to": {"phoneNumber": "+12125550100"}}
    legs = [
        {
            **party,
            "startTime": "2026-03-10T15:00:01.000Z",
            "duration": 20,
            "direction": "Outbound",
            "result": "No Answer",
        },
        {
            **party,
            "startTime": "2026-03-10T15:00:01.000Z",
            "duration": 20,
            "direction": "Outbound",
            "result": "Accepted",
        },
    ]
    call = {
        **party,
        "id": "Abc",
        "sessionId": "1386",
        "startTime": "2026-03-10T15:00:00.000Z",
        "duration": 22,
        "direction": "Inbound",
        "result": "Missed",
        "legs": legs,
    }
    return json.dumps({"records": [call]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of this test's own, with Kafka's jars in its place."""
    state = tmp_path / ".ringback"
    state.mkdir()
    jars = ensure_jars(ROOT / ".ringback")
    (state / jars.name).symlink_to(jars)
    return tmp_path


async def ringback(folder: Path, *args: str) -> tuple[int | None, str]:
    """Run a command; return its exit code and all that it said."""
    kept: Mapping[str, str] = {key: value for key, value in os.environ.items() if not key.startswith("RINGBACK_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from services.cli.app import main; main()",
        *args,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return process.returncode, said.decode()


def row(said: str, name: str) -> list[str]:
    """Return a row of the summary: its figure and its words."""
    line = next(line for line in said.splitlines() if line.strip().startswith(name))
    return [" ".join(cell.split()) for cell in line.strip().removeprefix(name).strip().split("  ") if cell.strip()]


async def test_export_of_incoming_calls_is_judged_and_its_story_can_be_told_after_the_run(folder: Path) -> None:
    (folder / "incoming.csv").write_text(INCOMING_ONLY)
    code, said = await ringback(folder, "replay", "incoming.csv")
    assert code == DONE, said
    assert "no outbound-dial rows" in said.splitlines()[0]
    assert row(said, "Calls") == ["3", "1 answered by a person"]
    assert row(said, "Missed") == ["2", "1 unanswered, 1 hung up while it rang"]
    assert row(said, "Judged")[0] == "2"
    assert row(said, "Texted once")[0] == "2"

    code, story = await ringback(folder, "explain", MISSED, "--run", "replay")
    assert code == DONE, story
    assert story.index("called +12125550100") < story.index("every fact is in") < story.index("opened, owned by")
    assert story.index("opened, owned by") < story.index("text-now due") < story.index("delivered")


async def test_ringcentral_log_with_legs_is_replayed(folder: Path) -> None:
    (folder / "calls.json").write_text(ringcentral())
    code, said = await ringback(folder, "replay", "calls.json")
    assert code == DONE, said
    assert row(said, "Missed") == ["1", "1 unanswered, 0 hung up while it rang"]
    assert row(said, "Texted once")[0] == "1"
