"""Every command with nothing around it: one or two lines that say what is wrong and what to do, and the code of the table."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from aiohttp import ClientConnectionError
from aiokafka.errors import KafkaConnectionError
from pymongo.errors import ConfigurationError, OperationFailure, ServerSelectionTimeoutError

from deploy.local.process import StartError, free_port
from deploy.local.system import EXAMPLE_DIRECTORY, SystemFailure
from services.cli import local_run
from services.cli.app import app, run
from services.cli.calllog import read_call_log
from services.cli.exits import CANNOT, DEFECT, STOPPED, WRONG_USE
from services.cli.replaying import driver
from services.runtime.clock import monotonic_s
from tests.unit.error_texts import assert_for_people

ROOT = Path(__file__).parents[3]
LIMIT_S = 10.0
CALLER = "+12055550101"


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An empty folder and an environment that names nothing; returns an address where nobody listens."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URL", "DIRECTORY", "GROUP_PREFIX", "SECRETS_DIR"):
        monkeypatch.delenv(f"RINGBACK_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local_run, "MONGODB_LIMIT_S", 0.2)
    began = monotonic_s()
    yield f"127.0.0.1:{free_port()}"
    assert monotonic_s() - began < LIMIT_S


def commands(group: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for name, command in group.commands.items():
        found |= commands(command, (*path, name)) if hasattr(command, "commands") else {(*path, name)}
    return found


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was told on standard error: one or two lines, no traceback."""
    text = capsys.readouterr().err
    assert 1 <= len(text.splitlines()) <= 2, text
    assert_for_people(text)
    return text


AWAY = {
    ("demo",): (["demo", "--once"], "does not answer"),
    ("replay",): (["replay", "calls.csv"], "does not answer"),
    ("bench",): (["bench", "--seconds", "1"], "does not answer"),
    ("explain",): (["explain", CALLER], "does not answer"),
    ("dlq", "list"): (["dlq", "list"], "cannot be read"),
    ("dlq", "show"): (["dlq", "show", "replies.dlq/0/0"], "cannot be read"),
    ("dlq", "replay"): (["dlq", "replay", "replies.dlq/0/0"], "cannot be read"),
    ("dlq", "drop"): (["dlq", "drop", "replies.dlq/0/0"], "cannot be read"),
    ("dlq", "resume"): (["dlq", "resume", "replies", "0"], "cannot be read"),
    ("topics", "create"): (["topics", "create"], "does not answer"),
    ("topics", "check"): (["topics", "check"], "does not answer"),
}
ALONE = {("optout", "score"), ("intents", "score")}
"""Commands that depend on nothing outside."""
CALL = """\
Call Sid,From,To,Status,Start Time,Duration,Direction
CA00000000000000000000000000000001,+12055550101,+12125550100,no-answer,2026-03-10 15:00:00 UTC,20,inbound
"""


def test_every_command_is_tried_without_its_dependency() -> None:
    assert set(AWAY) | ALONE == commands(typer.main.get_command(app))


@pytest.mark.parametrize("command", sorted(AWAY), ids=" ".join)
def test_command_whose_dependency_is_away_says_so_in_two_lines_and_exits_with_1(
    command: tuple[str, ...], nothing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args, wrong = AWAY[command]
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", nothing)
    if command == ("explain",):
        monkeypatch.setenv("RINGBACK_MONGODB_URL", f"mongodb://reader:secret@{nothing}/?directConnection=true")
        monkeypatch.setenv("RINGBACK_DIRECTORY", str(EXAMPLE_DIRECTORY))
    Path("calls.csv").write_text(CALL)
    assert run(args) == CANNOT
    text = said(capsys)
    assert wrong in text
    assert nothing in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("args", "wrong", "remedy"),
    [
        (["nonsense"], "No such command 'nonsense'", "ringback --help"),
        (["explain"], "Missing argument", "ringback explain --help"),
        (["explain", "front desk"], "'front desk' is not a phone number", "+12125550123"),
        (["explain", CALLER], "there is no local run called 'demo'", "ringback demo"),
        (["explain", CALLER, "--run", "replay"], "there is no local run called 'replay'", "ringback demo"),
        (["demo", "--day", "tomorrow"], "'tomorrow' is not a date", "2026-03-10"),
        (["demo", "--day", "2031-01-01"], "no inbound calls on 2031-01-01", "from 2026-01-15 to 2026-04-15"),
        (["demo", "--speed", "fast"], "'fast' is not a speed", "60x"),
        (["replay", "gone.csv"], "gone.csv", "No such file"),
        (["replay", "."], "cannot be read", "directory"),
        (["replay", "odd.csv"], "odd.csv", "no column"),
        (["replay", "cut.json"], "cut.json", "not JSON"),
        (["replay", "deep.json"], "deep.json: nested too deeply", ""),
        (["replay", "empty.csv"], "has no inbound calls", "docs/call-log.md"),
        (["replay", "whole.csv", "--completed-means", "missed"], "whole.csv says itself who talked", "leave it out"),
        (["bench", "--only", "nothing"], "'--only': 'nothing' is not one of 'all'", "ringback bench --help"),
        (["bench", "--seconds", "many"], "'--seconds': is not a whole number", "ringback bench --help"),
        (["bench", "--seconds", "0"], "'--seconds': is less than 1", "ringback bench --help"),
        (["bench", "--out", "no/such/folder.json"], "cannot be written", "a folder that exists"),
        (["topics", "check"], "RINGBACK_KAFKA_BOOTSTRAP_SERVERS", ".env.example"),
        (["topics", "create"], "RINGBACK_KAFKA_BOOTSTRAP_SERVERS", ".env.example"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_or_file_says_what_is_wrong_and_what_to_do_and_exits_with_2(
    args: list[str], wrong: str, remedy: str, nothing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("odd.csv").write_text("a,b,c\n1,2,3\n")
    Path("cut.json").write_text('{"records": [')
    Path("empty.csv").write_text(CALL.splitlines()[0])
    Path("whole.csv").write_text(
        CALL + CALL.splitlines()[1].replace("0001,", "0002,").replace("inbound", "outbound-dial")
    )
    Path("deep.json").write_text("[" * 100_000)
    assert run(args) == WRONG_USE
    text = said(capsys)
    assert wrong in text
    assert remedy in text


@pytest.mark.parametrize(
    ("args", "environment", "wrong"),
    [
        (["explain", CALLER], {"MONGODB_URL": "mongodb://127.0.0.1:99999999/"}, "MONGODB_URL: is not a MongoDB URL"),
        (["explain", CALLER], {"MONGODB_URL": "mongodb://[::1:1/"}, "MONGODB_URL: is not a MongoDB URL"),
        (["explain", CALLER], {"MONGODB_URL": ""}, "MONGODB_URL: is not a MongoDB URL"),
        (["explain", CALLER], {"MONGODB_URL": "mongodb://h/?retry=x"}, "MONGODB_URL: has an option"),
        (["explain", CALLER], {"MONGODB_URL": "mongodb://127.0.0.1:1/"}, "RINGBACK_DIRECTORY is not"),
        (["explain", CALLER], {"DIRECTORY": str(EXAMPLE_DIRECTORY)}, "RINGBACK_MONGODB_URL is not"),
        (["replay", "calls.csv"], {"MONGODB_URL": "mongodb://user:secret"}, "MONGODB_URL: is not a MongoDB URL"),
        (["demo", "--once"], {"MONGODB_URL": "127.0.0.1:27017"}, "MONGODB_URL: is not a MongoDB URL"),
        (["demo", "--once"], {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:99999"}, "a port is 1 to 65535"),
        (["topics", "check"], {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:99999"}, "a port is 1 to 65535"),
        (["topics", "create"], {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:0"}, "a port is 1 to 65535"),
        (["topics", "create"], {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:" + "9" * 5000}, "a port is 1 to 65535"),
    ],
)
def test_wrong_setting_is_named_and_exits_with_2(
    args: list[str],
    environment: dict[str, str],
    wrong: str,
    nothing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"RINGBACK_{name}", value)
    Path("calls.csv").write_text(CALL)
    assert run(args) == WRONG_USE
    text = said(capsys)
    assert wrong in text
    assert "secret" not in text


def test_directory_that_is_a_folder_is_a_wrong_file(
    nothing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RINGBACK_MONGODB_URL", f"mongodb://{nothing}/")
    monkeypatch.setenv("RINGBACK_DIRECTORY", ".")
    assert run(["explain", CALLER]) == WRONG_USE
    assert "cannot be read: Is a directory" in said(capsys)


def test_folder_of_secrets_that_is_not_there_is_a_wrong_setting(
    nothing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RINGBACK_SECRETS_DIR", "/gone")
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", nothing)
    assert run(["topics", "check"]) == WRONG_USE
    assert "RINGBACK_SECRETS_DIR: /gone is not a folder" in said(capsys)


@pytest.mark.parametrize(
    "error",
    [
        ServerSelectionTimeoutError("127.0.0.1:1: [Errno 111] Connection refused"),
        KafkaConnectionError("Unable to bootstrap from [('127.0.0.1', 1, <AddressFamily.AF_INET: 2>)]"),
        ClientConnectionError("ClientConnectorError(...)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_drivers_words_reach_nobody(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("services.cli.replay.read_call_log", fails)
    assert run(["replay", "calls.csv"]) == CANNOT
    text = said(capsys)
    assert "AF_INET" not in text
    assert type(error).__name__ in text


def test_mongodb_whose_name_no_name_server_knows_is_wrong_use(
    nothing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise ConfigurationError("The DNS query name does not exist: _mongodb._tcp.gone.example.")

    monkeypatch.setattr(local_run, "AsyncIOMotorClient", unknown)
    monkeypatch.setenv("RINGBACK_MONGODB_URL", "mongodb+srv://reader:secret@gone.example/")
    monkeypatch.setenv("RINGBACK_DIRECTORY", str(EXAMPLE_DIRECTORY))
    assert run(["explain", CALLER]) == WRONG_USE
    text = said(capsys)
    assert "MongoDB at gone.example/ cannot be used" in text
    assert "secret" not in text


async def test_ingest_that_takes_no_webhook_is_told_in_words(
    nothing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        ingest_url = f"http://{nothing}"

        async def busy_with(self, _: object) -> list[str]:
            return []

        def ended(self) -> list[str]:
            return []

        async def next_due(self, _: object) -> None:
            return None

    monkeypatch.setattr(driver, "TRIES", 1)
    Path("calls.csv").write_text(CALL)
    (call,) = read_call_log("calls.csv")
    player = driver.Replay(target=Away(), clock_path=tmp_path / "clock.json", account_sid="AC", auth_token="token")
    with pytest.raises(driver.ReplayError) as caught:
        await player.run([call], until=call.ended_at)
    assert_for_people(caught.value.lines())
    assert "no answer" in caught.value.what


def test_state_folder_that_is_a_file_is_told(nothing: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("calls.csv").write_text(CALL)
    Path(".ringback").touch()
    assert run(["replay", "calls.csv"]) == CANNOT
    assert ".ringback/replay cannot be used: Not a directory" in said(capsys)
    assert run(["explain", CALLER]) == WRONG_USE
    assert "there is no local run called 'demo'" in said(capsys)


@pytest.mark.parametrize(
    "record", ["", "{", "[]", "{}", '{"mongodb": 7}', '{"mongodb": "mongodb://127.0.0.1:x/", "database": "d"}']
)
def test_damaged_record_of_a_run_is_a_wrong_file(record: str, nothing: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(".ringback/demo")
    folder.mkdir(parents=True)
    (folder / "system.json").write_text(record)
    assert run(["explain", CALLER]) == WRONG_USE
    assert "is damaged" in said(capsys)


def test_ended_run_whose_documents_are_gone_is_told_at_once(nothing: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(".ringback/demo")
    folder.mkdir(parents=True)
    (folder / "system.json").write_text(json.dumps({"mongodb": f"mongodb://{nothing}/", "database": "d"}))
    assert run(["explain", CALLER]) == CANNOT
    text = said(capsys)
    assert "has ended" in text
    assert "ringback demo" in text


def test_run_whose_mongodb_went_away_is_told_without_the_password(
    nothing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class OnlyKafka:
        kafka, mongodb = nothing, f"mongodb://user:secret@{nothing}/?directConnection=true"

        def __init__(self, *_: object, **__: object) -> None: ...
        def start(self) -> None: ...
        def stop(self) -> None: ...

    monkeypatch.setattr(local_run, "Stack", OnlyKafka)
    Path("calls.csv").write_text(CALL)
    assert run(["replay", "calls.csv"]) == CANNOT
    text = said(capsys)
    assert f"MongoDB at {nothing}" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (
            StartError("Kafka needs Java 17 and Maven. Run: sudo apt-get\n(nor from a Docker image: no engine)"),
            CANNOT,
            2,
        ),
        (SystemFailure("leads ended with 78:\none\ntwo\n" + "x" * 5000), CANNOT, 2),
        (TimeoutError(), CANNOT, 1),
        (KeyboardInterrupt(), STOPPED, 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failure_in_a_command_has_a_bounded_message(
    error: BaseException, code: int, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("services.cli.replay.read_call_log", fails)
    assert run(["replay", "calls.csv"]) == code
    text = said(capsys)
    assert len(text.splitlines()) == lines
    assert len(text) < 1000


def test_defect_of_ours_keeps_its_traceback_and_has_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("services.cli.replay.read_call_log", fails)
    assert run(["replay", "calls.csv"]) == DEFECT
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_drivers_log_nothing_on_the_terminal(nothing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", nothing)
    code = "from services.cli.app import main; main()"
    command = [sys.executable, "-c", code, "topics", "check"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == CANNOT
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "does not answer" not in line and "start it" not in line] == []


def test_reader_of_call_logs_loads_no_driver() -> None:
    code = "import sys, services.cli.calllog; print({'motor', 'aiokafka', 'twilio', 'aiohttp', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


def test_mongodb_that_refuses_the_login_is_told_from_one_that_is_away(
    nothing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing:
        async def command(self, _: str) -> None:
            raise OperationFailure("Authentication failed.", 18)

    @contextmanager
    def refusing(*_: str) -> Iterator[Refusing]:
        yield Refusing()

    monkeypatch.setattr(local_run, "database_of", refusing)
    monkeypatch.setenv("RINGBACK_MONGODB_URL", f"mongodb://reader:secret@{nothing}/?directConnection=true")
    monkeypatch.setenv("RINGBACK_DIRECTORY", str(EXAMPLE_DIRECTORY))
    assert run(["explain", CALLER]) == WRONG_USE
    text = said(capsys)
    assert f"MongoDB at {nothing}/?directConnection=true refuses the login" in text
    assert "RINGBACK_MONGODB_URL" in text
    assert "secret" not in text
