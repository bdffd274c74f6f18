"""Settings fail at start with everything that is wrong; logs never carry a number or a body."""

import io
import json
import logging
from pathlib import Path

import pytest
import structlog

from schemas.topics import CHANGELOG, SEQUENCER_APP, SEQUENCER_TABLE
from services.ingest.settings import IngestSettings
from services.runtime import logs
from services.runtime.clock import real_now, write_clock
from services.runtime.settings import MongoSettings, SettingsError, TwilioSettings
from services.sequencer.adapters.fence import FenceSettings


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


GOOD = {"kafka_bootstrap_servers": "127.0.0.1:9092", "mongodb_url": "mongodb://127.0.0.1"}


def test_virtual_clock_is_refused_unless_twilio_is_on_loopback(tmp_path: Path) -> None:
    clock = tmp_path / "clock.json"
    write_clock(clock, real_now(), 0)
    with pytest.raises(SettingsError, match="loopback"):
        MongoSettings.load(**GOOD, clock=str(clock))
    assert MongoSettings.load(**GOOD, clock=str(clock), twilio_base_url="http://127.0.0.1:4010").make_clock().is_file


@pytest.mark.parametrize(
    "host", ["", " ", "nonsense host", "http://127.0.0.1", "127.0.0.1:9101", "999.1.1.1", "-a", "\U0001f3e0"]
)
def test_host_that_nothing_could_listen_on_is_named_at_load(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^RINGBACK_OPS_HOST: is not a host; write an address"):
        MongoSettings.load(**GOOD, ops_host=host)
    with pytest.raises(SettingsError, match=r"RINGBACK_INGEST_HOST: is not a host; write an address"):
        IngestSettings.load(**GOOD, ingest_host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "localhost", "ingest-0.ringback.svc"])
def test_host_that_something_may_listen_on_is_taken(host: str) -> None:
    assert MongoSettings.load(**GOOD, ops_host=host).ops_host == host


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example.com", "https://", "https://:443", "https://hooks example.com", "https://hooks.example.com:99999",
     "https://hooks.example.com:0", "https://me:secret@hooks.example.com", "https://hooks.example.com/?a=b",
     "https://hooks.example.com#rc=5", "ftp://hooks.example.com", "https://999.1.1.1", "https://[::1"],
)  # fmt: skip
def test_base_url_that_no_path_can_be_put_behind_is_named_at_load(url: str) -> None:
    for name in ("public_base_url", "twilio_base_url"):
        with pytest.raises(SettingsError, match=rf"RINGBACK_{name.upper()}: is not a base URL; write it like https://"):
            Both.load(**GOOD, **{"twilio_account_sid": "AC" + "0" * 32, "twilio_auth_token": "t", name: url})


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:27017", "mongodb://", "mongodb://127.0.0.1:0/", "mongodb://127.0.0.1:99999999/", "mongodb://[::1:1/",
     "mongodb://user:secret/", "mongodb://user:sec/ret@h/", "mongodb+srv://user:secret/", "mongodb://h/?unknown=1",
     "mongodb://h/?connectTimeoutMS=soon", "mongodb://h/?tls=true&tlsCAFile=/gone"],
)  # fmt: skip
def test_service_with_a_wrong_mongodb_url_names_the_setting_and_exits_with_78(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        MongoSettings.load_or_exit(**{**GOOD, "mongodb_url": url})
    assert ended.value.code == 78
    said = capsys.readouterr()
    assert "RINGBACK_MONGODB_URL: " in said.out + said.err
    assert "secret" not in said.out + said.err


@pytest.mark.parametrize(
    "url",
    ["mongodb://127.0.0.1", "mongodb://[::1]:27017/?directConnection=true", "mongodb://a:1,b:65535/?replicaSet=rs0",
     "mongodb+srv://user:pass%40word@cluster.example.org/ringback?retryWrites=true&srvMaxHosts=2"],
)  # fmt: skip
def test_mongodb_url_that_the_driver_takes_is_a_right_setting(url: str) -> None:
    assert MongoSettings.load(**{**GOOD, "mongodb_url": url}).mongodb_url.get_secret_value() == url


@pytest.mark.parametrize("servers", ["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999", "a:1,b", "h:\u0663"])
def test_kafka_server_without_a_possible_port_is_a_wrong_setting(servers: str) -> None:
    with pytest.raises(SettingsError, match=r"RINGBACK_KAFKA_BOOTSTRAP_SERVERS: .* is not host:port"):
        MongoSettings.load(**{**GOOD, "kafka_bootstrap_servers": servers})


@pytest.mark.parametrize("text", [None, "{}"], ids=["no file", "no clock in it"])
def test_clock_file_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path, text: str | None) -> None:
    clock = tmp_path / "clock.json"
    if text is not None:
        clock.write_text(text)
    with pytest.raises(SettingsError, match=r"clock\.json"):
        MongoSettings.load(**GOOD, clock=str(clock), twilio_base_url="http://127.0.0.1:4010")


def test_deployments_topics_carry_its_prefix_and_its_number_of_partitions(tmp_path: Path) -> None:
    """The sequencer asks for its changelog under the prefix; every deployment reads the other topics under their names.

    Dead letters keep their own number of partitions.
    """
    settings = MongoSettings.load(**GOOD, group_prefix="blue-", topic_partitions=6)
    found = {topic.name: topic.partitions for topic in settings.topics()}
    assert found[f"blue-{CHANGELOG}"] == found["leads"] == 6
    assert found["leads.dlq"] == 3
    assert CHANGELOG not in found
    fence = FenceSettings(
        app_id=f"{settings.group_prefix}{SEQUENCER_APP}",
        table=SEQUENCER_TABLE,
        topics=("leads",),
        instance="0",
        data_dir=tmp_path,
        bootstrap_servers=settings.kafka_bootstrap_servers,
    )
    assert fence.changelog_topic in found
    assert [topic.name for topic in settings.topics("replies", "receipts")] == ["replies", "receipts"]


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


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("2125550123-3035550100", "***23-***00"),
        ("212-555-0123 called", "***23 called"),
        ("from (212) 555-0123 to +1 303.555.0100", "from ***23 to ***00"),
        ("+12125550123+13035550100", "***23***00"),
    ],
)
def test_numbers_in_groups_or_side_by_side_are_masked(text: str, masked: str) -> None:
    assert logs.mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "1a2b3c4d-1234-5678-9012-123456789012",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "CA" + "0123456789" * 3 + "ab",
        "2026-03-10T12:00:00.123456+00:00",
        "127.0.0.1:9092",
    ],
)
def test_ids_and_times_are_left_alone(text: str) -> None:
    assert logs.mask(text) == text
