"""Kafka and MongoDB start side by side; a container takes the place of a local server that cannot be had."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import stack as stack_module
from deploy.local.process import StartError, free_port
from deploy.local.stack import Stack
from tests.unit.error_texts import assert_for_people


class Recorded:
    """A server that writes down what is asked of it."""

    port = 1
    bootstrap_servers = "127.0.0.1:1"
    url = "mongodb://127.0.0.1:1"

    def __init__(self, name: str, seen: list[str], fails_at: str = "") -> None:
        self.description, self._seen, self._fails_at = name, seen, fails_at

    def _do(self, what: str) -> None:
        self._seen.append(f"{what} {self.description}")
        if what == self._fails_at:
            raise StartError(f"no {self.description}")

    def launch(self) -> None:
        self._do("launch")

    def wait_until_ready(self) -> None:
        self._do("wait")

    def stop(self) -> None:
        self._do("stop")


@pytest.fixture
def seen() -> list[str]:
    """What was done, in order."""
    return []


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> Callable[..., None]:
    """Put recorded servers in place of the real ones; `name=step` fails at that step."""
    for name in ("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", "RINGBACK_MONGODB_URL"):
        monkeypatch.delenv(name, raising=False)

    def put(**fails_at: str) -> None:
        for name in ("LocalKafka", "LocalMongo", "ImageKafka", "ImageMongo"):
            monkeypatch.setattr(
                stack_module, name, lambda *_, name=name, **__: Recorded(name, seen, fails_at.get(name, ""))
            )

    return put


def test_both_servers_are_launched_before_either_is_waited_for(
    tmp_path: Path, servers: Callable[..., None], seen: list[str]
) -> None:
    servers()
    said: list[str] = []
    with Stack(tmp_path, say=said.append) as stack:
        assert seen == ["launch LocalMongo", "launch LocalKafka", "wait LocalMongo", "wait LocalKafka"]
        assert said == stack.uses == ["MongoDB: LocalMongo at 127.0.0.1:1", "Kafka: LocalKafka at 127.0.0.1:1"]
    assert seen[4:] == ["stop LocalKafka", "stop LocalMongo"]


def test_named_kafka_that_does_not_answer_is_told_in_words(
    tmp_path: Path, servers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers()
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", address)
    with pytest.raises(StartError) as caught:
        Stack(tmp_path).start()
    assert_for_people(str(caught.value))
    assert f"{address} does not answer" in str(caught.value)


@pytest.mark.parametrize("step", ["launch", "wait"])
def test_local_server_that_does_not_start_is_replaced_by_a_container_and_the_reason_is_said(
    tmp_path: Path, servers: Callable[..., None], step: str
) -> None:
    servers(LocalKafka=step)
    said: list[str] = []
    with Stack(tmp_path, say=said.append) as stack:
        assert "no LocalKafka" in said
        assert stack.uses[-1] == "Kafka: ImageKafka at 127.0.0.1:1"


@pytest.mark.parametrize("image_fails_at", ["launch", "wait"])
@pytest.mark.parametrize("local_fails_at", ["launch", "wait"])
def test_failure_of_both_kinds_names_both_and_stops_what_had_started(
    tmp_path: Path, servers: Callable[..., None], seen: list[str], local_fails_at: str, image_fails_at: str
) -> None:
    servers(LocalKafka=local_fails_at, ImageKafka=image_fails_at)
    with (
        pytest.raises(StartError, match=r"no LocalKafka\n\(nor from a Docker image: no ImageKafka\)"),
        Stack(tmp_path, say=lambda _: None),
    ):
        pytest.fail("the block must not be entered")
    assert seen[-1] == "stop LocalMongo"
