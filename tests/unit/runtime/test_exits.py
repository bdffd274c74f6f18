"""Exit codes: one table; what the operator must put right ends with 78 and with every problem listed."""

import pytest

from services.runtime import exits
from services.runtime.exits import EXIT_CONFIGURATION, EXITS, exit_with_problems
from services.runtime.settings import RuntimeSettings


def test_every_exit_code_has_its_meaning_in_the_table() -> None:
    codes = [code for name, code in vars(exits).items() if name.startswith("EXIT_")]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(EXITS)
    assert all(EXITS.values())


def test_wrong_file_ends_the_service_with_78_and_every_problem_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_with_problems("cadences/my.yaml", ["steps[0].delay: is missing", "name: is too long"])
    assert ended.value.code == EXIT_CONFIGURATION == 78
    assert capsys.readouterr().err.splitlines() == [
        "cadences/my.yaml: steps[0].delay: is missing",
        "cadences/my.yaml: name: is too long",
    ]


def test_wrong_settings_end_the_service_with_78_and_every_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(SystemExit) as ended:
        RuntimeSettings.load_or_exit(log_format="xml")
    assert ended.value.code == EXIT_CONFIGURATION
    said = capsys.readouterr().err
    assert "settings: RINGBACK_KAFKA_BOOTSTRAP_SERVERS: is missing" in said
    assert "settings: RINGBACK_LOG_FORMAT: is not 'json' or 'console'" in said
