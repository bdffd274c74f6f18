"""What the notifier says when it cannot start."""

import os
import subprocess
import sys
from pathlib import Path

from services.runtime.exits import EXIT_CONFIGURATION

ROOT = Path(__file__).parents[3]


def test_notifier_with_a_wrong_directory_says_its_problems_and_nothing_else(tmp_path: Path) -> None:
    wrong = tmp_path / "lender.yaml"
    wrong.write_text("lender_id: larkspur\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGBACK_")} | {
        "RINGBACK_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "RINGBACK_MONGODB_URL": "mongodb://127.0.0.1:9/",
        "RINGBACK_DIRECTORY": str(wrong),
        "RINGBACK_NUMBER_KEY": "a-number-key-for-tests",
        "RINGBACK_TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "RINGBACK_TWILIO_AUTH_TOKEN": "token",
        "RINGBACK_PUBLIC_BASE_URL": "https://hooks.example.com",
    }
    done = subprocess.run(
        [sys.executable, "-m", "services.notifier"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == EXIT_CONFIGURATION, done.stderr
    lines = done.stderr.splitlines()
    assert lines
    assert [line for line in lines if not line.startswith(f"{wrong}: ")] == []
