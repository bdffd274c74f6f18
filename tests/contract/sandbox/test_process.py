"""`python -m deploy.sandbox` as a process: says where it is, serves, and goes when told."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deploy.sandbox", *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_started_sandbox_prints_its_url_serves_and_ends_with_0(stop: signal.Signals) -> None:
    with start("--port", "0", "--borrowers", "--reply-share", "0.5") as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            with urllib.request.urlopen(f"{url}/idle", timeout=10) as answer:
                assert json.load(answer) == {"idle": True, "next_act_at": None, "callbacks_open": 0}
            process.send_signal(stop)
            process.communicate(timeout=20)
            assert process.returncode == 0
        finally:
            process.kill()


def test_wrong_settings_end_the_start_naming_the_field() -> None:
    with start("--reply-share", "0.99") as process:
        try:
            _, said = process.communicate(timeout=20)
            assert process.returncode == 2
            assert "shares" in said
            assert "must not exceed 1" in said
        finally:
            process.kill()
