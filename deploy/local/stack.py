"""Kafka and MongoDB by whatever is at hand, saying which: what the environment names, else local processes, else images."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.containers import ImageKafka, ImageMongo
from deploy.local.kafka import DEFAULT_STATE, LocalKafka, Say
from deploy.local.mongo import LocalMongo
from deploy.local.process import StartError


class _Startable(Protocol):
    """What can be started and stopped."""

    @property
    def description(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


S = TypeVar("S", bound=_Startable)
T = TypeVar("T", bound=_Startable)


@dataclass
class Stack:
    """Kafka and MongoDB while the block lasts (or for good, `detached`).

    Args:
        folder: where local processes keep their data.
        state: where downloads are cached.
        detached: they outlive this process; `deploy.local.detached` stops them.
        say: told what is being started, a line each.
        uses: once started, says which Kafka and which MongoDB, a line each.
    """

    folder: Path
    state: Path = DEFAULT_STATE
    detached: bool = False
    say: Say = print
    kafka: str = ""
    mongodb: str = ""
    uses: list[str] = field(default_factory=list)
    servers: list[_Startable] = field(default_factory=list)

    @property
    def description(self) -> str:
        """Which Kafka and which MongoDB, in one line."""
        return "; ".join(self.uses)

    def start(self) -> None:
        """Start what the environment does not name. Not for an event loop's thread.

        Raises:
            StartError: says what is missing and the command that mends it.
        """
        if servers := os.environ.get("RINGBACK_KAFKA_BOOTSTRAP_SERVERS"):
            asyncio.run(_answers(servers))
            self.kafka = servers
            self._says(f"Kafka: the cluster at {servers}")
        else:
            broker = self._first_that_starts(
                lambda: LocalKafka(self.folder / "kafka", state=self.state, detached=self.detached, say=self.say),
                lambda: ImageKafka(self.folder),
            )
            self.kafka = broker.bootstrap_servers
            self._says(f"Kafka: {broker.description} at {self.kafka}")
        if url := os.environ.get("RINGBACK_MONGODB_URL"):
            self.mongodb = url
            self._says("MongoDB: the one in RINGBACK_MONGODB_URL")
        else:
            mongo = self._first_that_starts(
                lambda: LocalMongo(self.folder / "mongo", detached=self.detached),
                lambda: ImageMongo(self.folder),
            )
            self.mongodb = mongo.url
            self._says(f"MongoDB: {mongo.description} at 127.0.0.1:{mongo.port}")

    def _first_that_starts(self, local: Callable[[], S], image: Callable[[], T]) -> S | T:
        try:
            return self._started(local())
        except StartError as error:
            self.say(str(error).splitlines()[0])
            try:
                return self._started(image())
            except StartError as second:
                raise StartError(f"{error}\n(nor from a Docker image: {second})") from second

    def _started(self, server: S) -> S:
        server.start()
        self.servers.append(server)
        return server

    def _says(self, line: str) -> None:
        self.uses.append(line)
        self.say(line)

    def stop(self) -> None:
        """Stop what was started here."""
        for server in reversed(self.servers):
            server.stop()
        self.servers.clear()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


async def _answers(servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=5000)
    try:
        await admin.start()
    except KafkaError as error:
        raise StartError(f"RINGBACK_KAFKA_BOOTSTRAP_SERVERS={servers} does not answer: {error!r}") from error
    finally:
        await admin.close()
