"""Two providers of the same real parts: local processes, and containers (testcontainers)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pymongo
from docker.errors import DockerException, ImageNotFound
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.mongodb import MongoDbContainer
from testcontainers.core.container import DockerContainer

from deploy.local.kafka import LocalKafka
from deploy.local.mongo import LocalMongo

KAFKA_IMAGE = os.environ.get("RINGBACK_KAFKA_IMAGE", "apache/kafka:4.1.0")
MONGODB_IMAGE = os.environ.get("RINGBACK_MONGODB_IMAGE", "mongo:7.0")


@dataclass(frozen=True)
class Kafka:
    """A broker."""

    bootstrap_servers: str
    provider: str


@dataclass(frozen=True)
class Mongo:
    """A replica set of one."""

    url: str
    provider: str


def no_containers_because() -> str | None:
    """Return why containers cannot be used here, or None when they can. Images are never pulled behind one's back."""
    try:
        client = docker.from_env(timeout=5)
    except DockerException as error:
        return f"no Docker engine answers ({str(error)[:120]})"
    try:
        for image in (KAFKA_IMAGE, MONGODB_IMAGE):
            client.images.get(image)
    except ImageNotFound:
        return f"image {image} is not here (pull it, or name another by RINGBACK_KAFKA_IMAGE / RINGBACK_MONGODB_IMAGE)"
    except DockerException as error:
        return f"the Docker engine does not answer ({str(error)[:120]})"
    finally:
        client.close()
    return None


class ApacheKafkaContainer(KafkaContainer):  # type: ignore[misc]
    """testcontainers' Kafka on an image in apache/kafka's own layout (its module knows only Confluent's)."""

    def __init__(self, image: str = KAFKA_IMAGE) -> None:
        super().__init__(image)
        self.kraft_enabled = True
        self.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
        self.with_env("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000")
        self.with_env("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0")

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


@contextmanager
def kafka_from(provider: str, folder: Path) -> Iterator[Kafka]:
    """Run a broker for as long as the block."""
    if provider == "containers":
        with ApacheKafkaContainer().start(timeout=90) as container:
            yield Kafka(container.get_bootstrap_server(), provider)
    elif servers := os.environ.get("RINGBACK_KAFKA_BOOTSTRAP_SERVERS"):
        yield Kafka(servers, "RINGBACK_KAFKA_BOOTSTRAP_SERVERS")
    else:
        with LocalKafka(folder / "kafka") as broker:
            yield Kafka(broker.bootstrap_servers, provider)


@contextmanager
def mongo_from(provider: str, folder: Path) -> Iterator[Mongo]:
    """Run a MongoDB replica set of one for as long as the block."""
    if provider == "containers":
        with replica_set() as url:
            yield Mongo(url, provider)
    elif given := os.environ.get("RINGBACK_MONGODB_URL"):
        yield Mongo(given, "RINGBACK_MONGODB_URL")
    else:
        with LocalMongo(folder / "mongo") as server:
            yield Mongo(server.url, provider)


@contextmanager
def replica_set() -> Iterator[str]:
    """Run mongod with --replSet in testcontainers' own MongoDB container, initiate it, and yield its URL."""
    container: DockerContainer = MongoDbContainer(MONGODB_IMAGE)
    # A replica set with a root user would need a key file; on a throw-away container no user is the simpler truth.
    container.env = {}
    container.with_command("mongod --replSet rs0 --bind_ip_all")
    with container:
        url = (
            f"mongodb://{container.get_container_host_ip()}:{container.get_exposed_port(27017)}/?directConnection=true"
        )
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(url)
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": "127.0.0.1:27017"}]})
        while not client.admin.command("hello")["isWritablePrimary"]:
            pass
        client.close()
        yield url
