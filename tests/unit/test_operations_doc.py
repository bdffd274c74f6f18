"""docs/operations.md says of every setting, topic, port and metric what the code says."""

import re
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.metrics import MetricWrapperBase

from schemas.topics import TOPICS
from services.cli.exits import EXITS as COMMAND_EXITS
from services.ingest import metrics as ingest_metrics
from services.leads import metrics as leads_metrics
from services.notifier import metrics as notifier_metrics
from services.runtime import metrics as runtime_metrics
from services.runtime.exits import EXITS
from services.runtime.settings import RuntimeSettings
from tests.unit.settings_classes import NOT_FOR_OPERATORS, SETTINGS, variable, variables

PAGE: Final = (Path(__file__).parents[2] / "docs/operations.md").read_text()
BY_SERVICE: Final = {settings.model_fields["service"].default: settings for settings in SETTINGS}
METRICS: Final = (ingest_metrics, leads_metrics, notifier_metrics, runtime_metrics)


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading."""
    section = re.split(rf"^## {heading}$", PAGE, flags=re.M)[1]
    lines = re.search(r"(?:^\|.*\n)+", section, re.M)
    assert lines is not None
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[0].splitlines()]
    return rows[2:]


def test_settings_table_names_every_setting_once_and_no_other() -> None:
    names = [name for name, *_ in table("Settings")]
    assert len(names) == len(set(names))
    assert set(names) == variables()


def has(settings: type[RuntimeSettings], name: str) -> bool:
    """Return whether a service reads a setting."""
    fields = {variable(field) for field in settings.model_fields} - {variable(field) for field in NOT_FOR_OPERATORS}
    return name in fields or name == "RINGBACK_SECRETS_DIR"


@pytest.mark.parametrize("row", table("Settings"), ids=lambda row: str(row[0]))
def test_setting_has_its_readers_and_its_default(row: list[str]) -> None:
    name, readers, default, meaning = row
    services = [service for service, settings in BY_SERVICE.items() if has(settings, name)]
    assert readers.split(", ") == (["all"] if len(services) == len(SETTINGS) else services)
    assert meaning
    field = name.removeprefix("RINGBACK_").lower()
    abouts = [settings.model_fields[field] for settings in SETTINGS if field in settings.model_fields]
    if field == "ops_port":
        assert default == "its own"
    elif abouts and abouts[0].is_required():
        assert default == "needed"
    elif abouts:
        value = abouts[0].default
        said = "" if value is None else str(int(value) if isinstance(value, bool) else value)
        assert default == said


def test_every_exit_code_of_a_service_has_its_row() -> None:
    assert {int(code) for code, _, service in table("Exit codes") if service} == set(EXITS)


def test_every_exit_code_of_a_command_has_its_row() -> None:
    assert {int(code) for code, command, _ in table("Exit codes") if command} == set(COMMAND_EXITS)


def test_every_process_is_at_its_operations_port() -> None:
    ports = {name: int(port.split(";")[0]) for name, _, _, port in table("What runs")}
    assert ports == {service: settings.model_fields["ops_port"].default for service, settings in BY_SERVICE.items()}


def test_topics_table_is_what_topics_create_makes() -> None:
    said = {name: (int(partitions), kept) for name, partitions, kept in table("Topics")}
    dead_letters = said.pop("each of these with `.dlq")
    for topic in TOPICS:
        kept = "compacted" if topic.cleanup == "compact" else f"{topic.retention_days} days"
        expected = dead_letters if topic.name.endswith(".dlq") else said.pop(topic.name)
        assert (topic.partitions, kept) == expected, topic.name
    assert said == {}


def test_metrics_to_watch_exist() -> None:
    exist = {
        name
        for module in METRICS
        for metric in vars(module).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
        for name in (family.name, f"{family.name}_total")
    }
    watched = re.findall(r"^\| `(ringback_\w+)` \|", PAGE, re.M)
    assert watched
    assert set(watched) <= exist
