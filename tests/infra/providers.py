"""Two providers of the same real parts: local processes, and containers (testcontainers)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.containers import KAFKA_IMAGE, MONGODB_IMAGE
from deploy.local.kafka import LocalKafka
from deploy.local.mongo import LocalMongo


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


def images() -> tuple[str, str]:
    """Return the images of Kafka and MongoDB that containers are made of."""
    return os.environ.get("RINGBACK_KAFKA_IMAGE", KAFKA_IMAGE), os.environ.get("RINGBACK_MONGODB_IMAGE", MONGODB_IMAGE)


def unusable_because(provider: str) -> str | None:
    """Return why a provider cannot work here, None when it can. Local never says so: where it cannot start, tests fail."""
    if provider != "containers":
        return None
    from tests.infra.containers import no_containers_because

    why = no_containers_because(*images())
    return f"containers: {why}" if why else None


@contextmanager
def kafka_from(provider: str, folder: Path) -> Iterator[Kafka]:
    """Run a broker for as long as the block, or use the one the environment names."""
    if provider == "containers":
        from tests.infra.containers import kafka_container

        with kafka_container(images()[0]) as bootstrap_servers:
            yield Kafka(bootstrap_servers, provider)
    elif servers := os.environ.get("RINGBACK_KAFKA_BOOTSTRAP_SERVERS"):
        yield Kafka(servers, "RINGBACK_KAFKA_BOOTSTRAP_SERVERS")
    else:
        with LocalKafka(folder / "kafka") as broker:
            yield Kafka(broker.bootstrap_servers, provider)


@contextmanager
def mongo_from(provider: str, folder: Path) -> Iterator[Mongo]:
    """Run a MongoDB replica set of one for as long as the block, or use the one the environment names."""
    if provider == "containers":
        from tests.infra.containers import mongo_container

        with mongo_container(images()[1]) as inside:
            yield Mongo(inside, provider)
    elif url := os.environ.get("RINGBACK_MONGODB_URL"):
        yield Mongo(url, "RINGBACK_MONGODB_URL")
    else:
        with LocalMongo(folder / "mongo") as server:
            yield Mongo(server.url, provider)
