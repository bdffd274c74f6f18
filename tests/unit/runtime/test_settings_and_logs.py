"""Settings fail at start with everything that is wrong; logs never carry a number or a body."""

import io
import json
import logging

import pytest
import structlog

from services.runtime import logs
from services.runtime.settings import MongoSettings, SettingsError, TwilioSettings


class Both(MongoSettings, TwilioSettings):
    """A service with both."""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("RINGBACK_")]:
        monkeypatch.delenv(name)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as found:
        Both.load(twilio_account_sid="nope", kafka_bootstrap_servers="nowhere")
    text = str(found.value)
    for name in (
        "KAFKA_BOOTSTRAP_SERVERS",
        "MONGODB_URL",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "PUBLIC_BASE_URL",
    ):
        assert f"RINGBACK_{name}: " in text


def test_virtual_clock_is_refused_unless_twilio_is_on_loopback() -> None:
    good = {"kafka_bootstrap_servers": "127.0.0.1:9092", "mongodb_url": "mongodb://127.0.0.1"}
    with pytest.raises(SettingsError, match="loopback"):
        MongoSettings.load(**good, clock="/some/file")
    MongoSettings.load(**good, clock="/some/file", twilio_base_url="http://127.0.0.1:4010")


def test_effective_settings_hide_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    monkeypatch.setenv("RINGBACK_MONGODB_URL", "mongodb://user:secret@127.0.0.1")
    shown = MongoSettings.load().effective()
    assert "secret" not in json.dumps(shown, default=str)
    assert shown["RINGBACK_KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9092"


@pytest.mark.parametrize("number", ["+12125550123", "12125550123", "2125550123", "lender:+12125550123"])
def test_log_lines_carry_no_number_and_no_body_whoever_writes_them(number: str) -> None:
    logs.set_up("test", "INFO", "json")
    out = io.StringIO()
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(out)
    try:
        structlog.get_logger("a").info(
            "event", key=number, nested={"to": [number]}, body="I earn a lot", call_id="CA" + "0a" * 16
        )
        logging.getLogger("library").warning("sending to %s", number)
    finally:
        logging.getLogger().handlers.clear()
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    text = out.getvalue()
    assert "2125550123" not in text
    assert "earn" not in text
    assert "CA" + "0a" * 16 in text
    assert text.count("***23") == 3
