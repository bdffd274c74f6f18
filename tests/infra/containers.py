"""Kafka and MongoDB in containers, by testcontainers. Imported only where containers are asked for."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import pymongo
from docker.errors import DockerException, ImageNotFound
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.mongodb import MongoDbContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID

from deploy.local.containers import IMAGE_SETTINGS
from deploy.local.mongo import REPLICA_SET, initiated
from tests.infra.polling import eventually_now

START_LIMIT_S = 120


def no_containers_because(*images: str) -> str | None:
    """Return why containers of these images cannot be used here, or None when they can.

    An image that is not here is a reason: tests never pull one. testcontainers' own reaper is switched off where its image
    is not here; the fixtures remove what they started.
    """
    if silent := _engine_silent_because():
        return f"no Docker engine answers ({silent})"
    try:
        client = docker.from_env(timeout=5)
    except DockerException as error:
        return f"no Docker engine answers ({str(error)[:120]})"
    try:
        for image in images:
            client.images.get(image)
        try:
            client.images.get(testcontainers_config.ryuk_image)
        except ImageNotFound:
            testcontainers_config.ryuk_disabled = True
    except ImageNotFound:
        return f"image {image} is not here (pull it, or name another by RINGBACK_KAFKA_IMAGE / RINGBACK_MONGODB_IMAGE)"
    except DockerException as error:
        return f"the Docker engine does not answer ({str(error)[:120]})"
    finally:
        client.close()
    return None


def ours() -> set[str]:
    """Return the ids of the containers that this test session has started and not removed."""
    client = docker.from_env(timeout=30)
    try:
        found = client.containers.list(all=True, filters={"label": f"{LABEL_SESSION_ID}={SESSION_ID}"})
        return {str(container.id) for container in found}
    finally:
        client.close()


def _engine_silent_because() -> str | None:
    """Try the socket before the SDK does: the SDK leaves it open, a ResourceWarning, where no engine listens."""
    kind, _, path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    if kind != "unix":
        return None
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            return f"{path}: {error.strerror}"
    return None


class ApacheKafkaContainer(KafkaContainer):  # type: ignore[misc]
    """testcontainers' Kafka on an image in apache/kafka's own layout (its module knows only Confluent's)."""

    def __init__(self, image: str) -> None:
        super().__init__(image)
        self.kraft_enabled = True
        for key, value in IMAGE_SETTINGS.items():
            self.with_env(key, value)

    def _configure_kraft(self) -> None:
        super()._configure_kraft()
        self.boot_command = ""

    def tc_start(self) -> None:
        """Write the start script, now that the outside port is known."""
        host, port = self.get_container_host_ip(), self.get_exposed_port(self.port)
        script = (
            f"#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS={self.listener_name}://{host}:{port},"
            "BROKER://$(hostname -i):9092\nexec /etc/kafka/docker/run\n"
        )
        self.create_file(script.encode(), self.TC_START_SCRIPT)


class ReplicaSetContainer(MongoDbContainer):  # type: ignore[misc]
    """testcontainers' MongoDB as a replica set of one, which transactions need.

    Without the root user that its module makes: a replica set with users needs a key file, which a container for tests
    does not.
    """

    def __init__(self, image: str) -> None:
        super().__init__(image)
        self.with_command(f"mongod --replSet {REPLICA_SET} --bind_ip_all")

    def _configure(self) -> None:
        """Set none of the module's MONGO_INITDB_ variables."""

    def get_connection_url(self) -> str:
        """Return the URL; direct, because the set knows itself only by its inner address."""
        host, port = self.get_container_host_ip(), self.get_exposed_port(self.port)
        return f"mongodb://{host}:{port}/?directConnection=true"


@contextmanager
def kafka_container(image: str) -> Iterator[str]:
    """Run a broker for as long as the block; yield its bootstrap servers."""
    container = ApacheKafkaContainer(image)
    try:
        container.start(timeout=START_LIMIT_S)
        yield container.get_bootstrap_server()
    finally:
        container.stop()


@contextmanager
def mongo_container(image: str) -> Iterator[str]:
    """Run a MongoDB replica set of one for as long as the block; yield its URL once it takes writes."""
    container = ReplicaSetContainer(image)
    try:
        container.start()
        url: str = container.get_connection_url()
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(url, serverSelectionTimeoutMS=500)
        try:
            eventually_now(lambda: initiated(client, "127.0.0.1:27017"), START_LIMIT_S, "a writable primary")
        finally:
            client.close()
        yield url
    finally:
        container.stop()
