"""What the notifier is made of, and what it says when it cannot start."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from pydantic import SecretStr

from services.notifier import __main__ as starting
from services.notifier.dispatcher import Dispatcher
from services.notifier.settings import NotifierSettings
from services.runtime import service
from services.runtime.exits import EXIT_CONFIGURATION
from services.runtime.health import Health

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


async def test_senders_are_stopped_before_all_other_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops that waited for Kafka used up the time; requests under way were cut, and each became a text in doubt."""
    parts: list[service.Part] = []

    async def run(_name: str, _settings: NotifierSettings, _health: Health, made: list[service.Part]) -> int:
        parts.extend(made)
        return 0

    monkeypatch.setattr(service, "run", run)
    monkeypatch.setattr(starting, "ConsumerLoop", MagicMock())  # a Kafka client that is never started complains
    monkeypatch.setattr(starting, "replies_consumer", MagicMock())
    settings = NotifierSettings(
        kafka_bootstrap_servers="127.0.0.1:9",
        mongodb_url=SecretStr("mongodb://127.0.0.1:9/"),
        directory=ROOT / "deploy/examples/lender.yaml",
        number_key=SecretStr("a-number-key-for-tests"),
        twilio_account_sid="AC" + "0" * 32,
        twilio_auth_token=SecretStr("token"),
        public_base_url="https://hooks.example.com",
    )
    assert await starting.notify(settings) == 0
    assert isinstance(parts[-1], Dispatcher), "parts are stopped in reverse order"
