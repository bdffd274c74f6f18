"""Kafka and MongoDB in containers, the last resort: for machines that cannot run them as local processes."""

import hashlib
import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import pymongo

from deploy.local.mongo import REPLICA_SET, initiated
from deploy.local.process import POLL_S, StartError, free_port, listens
from services.runtime.clock import monotonic_s

KAFKA_IMAGE = "apache/kafka:4.1.0"
MONGODB_IMAGE = "mongo:7.0"
START_LIMIT_S = 120.0


def container_name(kind: str, folder: Path) -> str:
    """Return the name of a folder's container: always the same, so that one left by a killed run is found and removed."""
    return f"ringback-{kind}-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:10]}"


def remove_containers(folder: Path) -> bool:
    """Remove the containers that belong to a folder; return whether there were any."""
    if not shutil.which("docker"):
        return False
    names = [container_name(kind, folder) for kind in ("kafka", "mongodb")]
    found = subprocess.run(["docker", "ps", "-aq", *(f"--filter=name=^{name}$" for name in names)], capture_output=True)
    ids = found.stdout.decode().split() if found.returncode == 0 else []
    if ids:
        subprocess.run(["docker", "rm", "-f", "-v", *ids], capture_output=True)
    return bool(ids)


class _Container(ABC):
    """One container whose name is its folder's; publishes one port on 127.0.0.1."""

    def __init__(self, kind: str, image: str, folder: Path) -> None:
        self.port = free_port()
        self.description = f"image {image}"
        self._image, self._name = image, container_name(kind, folder)

    def launch(self) -> None:
        """Run the container, and return without waiting.

        Raises:
            StartError: no engine, or no image.
        """
        if not shutil.which("docker"):
            raise StartError("there is no docker command")
        self.stop()
        inner_port, env, command = self._how()
        settings = [part for key, value in env.items() for part in ("-e", f"{key}={value}")]
        done = subprocess.run(
            [
                "docker",
                "run",
                "-d",
                "--rm",
                "--name",
                self._name,
                "-p",
                f"127.0.0.1:{self.port}:{inner_port}",
                *settings,
                self._image,
                *command,
            ],
            capture_output=True,
        )
        if done.returncode:
            self.stop()
            raise StartError(done.stderr.decode(errors="replace").strip()[-500:])

    def wait_until_ready(self) -> None:
        """Return once clients can use it; a failure leaves no container.

        Raises:
            StartError: it ended, or is not ready in time.
        """
        until = monotonic_s() + START_LIMIT_S
        try:
            while not self._ready():
                if monotonic_s() > until or not self._logs("--tail", "1"):
                    raise StartError(f"{self._image} did not start: {self._logs('--tail', '5') or 'it ended'}")
                time.sleep(POLL_S)
        except BaseException:
            self.stop()
            raise

    @abstractmethod
    def _how(self) -> tuple[int, Mapping[str, str], Sequence[str]]:
        """Return the port inside, the environment and the command."""

    @abstractmethod
    def _ready(self) -> bool:
        """Return whether clients can use it."""

    def _logs(self, *options: str) -> str | None:
        done = subprocess.run(["docker", "logs", *options, self._name], capture_output=True)
        return None if done.returncode else (done.stdout + done.stderr).decode(errors="replace") or "(nothing yet)"

    def stop(self) -> None:
        """Remove the container."""
        subprocess.run(["docker", "rm", "-f", "-v", self._name], capture_output=True)


class ImageKafka(_Container):
    """One broker in a container of an image in apache/kafka's layout; it lasts until `stop`.

    Args:
        folder: names the container; nothing is written there.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("kafka", os.environ.get("RINGBACK_KAFKA_IMAGE", KAFKA_IMAGE), folder)

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def _how(self) -> tuple[int, Mapping[str, str], Sequence[str]]:
        env = {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{self.port},CONTROLLER://0.0.0.0:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{self.port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            **IMAGE_SETTINGS,
        }
        return self.port, env, ()

    def _ready(self) -> bool:
        return "Kafka Server started" in (self._logs() or "") and listens(self.port)


IMAGE_SETTINGS = {
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "8",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
}
"""Settings that a broker in a container shares with a local one."""


class ImageMongo(_Container):
    """One mongod in a container, as a replica set of one; it lasts until `stop`.

    Args:
        folder: names the container; nothing is written there.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("mongodb", os.environ.get("RINGBACK_MONGODB_IMAGE", MONGODB_IMAGE), folder)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def _how(self) -> tuple[int, Mapping[str, str], Sequence[str]]:
        return 27017, {}, ["mongod", "--replSet", REPLICA_SET, "--bind_ip_all"]

    def _ready(self) -> bool:
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(self.url, serverSelectionTimeoutMS=500)
        try:
            return initiated(client, "127.0.0.1:27017")
        finally:
            client.close()
