"""`deploy/compose.yaml` stands on what is in the repo: modules that exist, settings that exist, ports that agree."""

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deploy.local.system import MODULES
from services.cli.app import app
from tests.unit.settings_classes import SETTINGS, variable, variables

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
IMAGES = {"RINGBACK_IMAGE", *(f"RINGBACK_{name}_IMAGE" for name in ("KAFKA", "MONGODB", "PROMETHEUS", "GRAFANA"))}
"""Names that compose itself reads, to choose images."""


def ours() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the services that run our image."""
    for name, service in SERVICES.items():
        if "build" in service:
            yield name, service


def environment(name: str) -> dict[str, str]:
    """Return a service's environment with every `${NAME:-default}` at its default."""
    found = SERVICES[name]["environment"].items()
    return {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)) for key, value in found}


def test_every_process_of_the_system_is_there_with_its_module() -> None:
    modules = {name: service["command"][2] for name, service in ours() if service["command"][:2] == ["python", "-m"]}
    assert modules == MODULES
    for module in modules.values():
        assert importlib.util.find_spec(f"{module}.__main__"), module


def test_topics_are_made_by_a_command_that_the_installed_program_has() -> None:
    """The image's `ringback` is what pyproject.toml names; a module or an option renamed would stop every start."""
    program, *words, option, copies = SERVICES["topics"]["command"]
    [entry] = entry_points(group="console_scripts", name=program)
    entry.load()
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    assert option in shown.output
    assert copies == "1"


def test_image_pins_the_build_tool_that_the_project_pins() -> None:
    wanted = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["build-system"]["requires"]
    assert f"pip install --no-cache-dir {' '.join(wanted)}\n" in (DEPLOY / "Dockerfile").read_text()


def test_every_ringback_name_is_a_setting() -> None:
    assert set(re.findall(r"RINGBACK_[A-Z0-9_]+", TEXT)) <= variables() | IMAGES
    for name, service in ours():
        assert set(service["environment"]) <= variables(), name


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__name__)
def test_every_service_accepts_its_environment(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = settings.model_fields["service"].default
    for key, value in environment(service).items():
        monkeypatch.setenv(key, value)
    taken = settings.load()
    assert taken.ops_port == settings.model_fields["ops_port"].default, "the port that docs and Prometheus name"
    assert taken.ops_host == "0.0.0.0", "its container's, so that Prometheus reaches it; it is not published"
    for name, field in settings.model_fields.items():
        assert not field.is_required() or variable(name) in SERVICES[service]["environment"]


def test_ports_are_published_on_loopback_alone() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"


def test_every_dependency_is_a_service_that_can_become_what_is_waited_for() -> None:
    for service in SERVICES.values():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"]
            else:
                assert SERVICES[other]["restart"] == "no"


def test_every_mounted_file_is_in_the_repo_and_every_volume_is_where_data_goes() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in yaml.safe_load(TEXT)["volumes"]
    assert f"kafka:{SERVICES['kafka']['environment']['KAFKA_LOG_DIRS']}" in SERVICES["kafka"]["volumes"]


def test_prometheus_asks_every_service_at_its_port() -> None:
    [job] = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {target for config in job["static_configs"] for target in config["targets"]}
    names = ["reconciler", *(settings.model_fields["service"].default for settings in SETTINGS)]
    assert targets == {f"{name}:{environment(name)['RINGBACK_OPS_PORT']}" for name in names}
