"""Kafka and MongoDB for a run: those that the environment names, else local processes, else containers."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.containers import ImageKafka, ImageMongo
from deploy.local.kafka import DEFAULT_STATE, LocalKafka, Say
from deploy.local.mongo import LocalMongo
from deploy.local.process import StartError


class _Server(Protocol):
    """What can be started and stopped."""

    @property
    def description(self) -> str: ...
    def launch(self) -> None: ...
    def wait_until_ready(self) -> None: ...
    def stop(self) -> None: ...


L = TypeVar("L", bound=_Server)
C = TypeVar("C", bound=_Server)
Launched = TypeVar("Launched", bound=_Server)


class _Choice(Generic[L, C]):
    """A local server, or a container where there can be no local one, in two steps: `launch` and `wait`.

    Args:
        servers: gets what was launched, for its owner to stop.
        say: called with the reason why there is no local server.
        local: makes the local server.
        image: makes the container.
    """

    def __init__(self, servers: list[_Server], say: Say, local: Callable[[], L], image: Callable[[], C]) -> None:
        self._servers, self._say, self._local, self._image = servers, say, local, image
        self._launched: L | C | None = None
        self._no_local: StartError | None = None

    def launch(self) -> None:
        """Launch the local server, else the container.

        Raises:
            StartError: neither can be launched.
        """
        try:
            self._launched = self._kept(self._local())
        except StartError as error:
            self._launched = self._instead(error)

    def wait(self) -> L | C:
        """Return the server once it is ready; a local one that does not get ready is replaced by the container.

        Raises:
            StartError: neither gets ready.
        """
        assert self._launched is not None, "launch first"
        try:
            self._launched.wait_until_ready()
        except StartError as error:
            self._servers.remove(self._launched)
            if self._no_local is not None:
                raise _neither(self._no_local, error) from error
            self._launched = self._instead(error)
            return self.wait()
        return self._launched

    def _instead(self, error: StartError) -> C:
        self._no_local = error
        self._say(str(error).splitlines()[0])
        try:
            return self._kept(self._image())
        except StartError as second:
            raise _neither(error, second) from second

    def _kept(self, server: Launched) -> Launched:
        server.launch()
        self._servers.append(server)
        return server


def _neither(local: StartError, image: StartError) -> StartError:
    return StartError(f"{local}\n(nor from a Docker image: {image})")


@dataclass
class Stack:
    """Kafka and MongoDB while the block lasts (or for good, `detached`).

    Args:
        folder: where local processes keep their data.
        state: where downloads are cached.
        detached: they outlive this process; `deploy.local.detached` stops them.
        say: called with a line for each thing that is started.
        uses: once started, says which MongoDB and which Kafka, a line each.
    """

    folder: Path
    state: Path = DEFAULT_STATE
    detached: bool = False
    say: Say = print
    kafka: str = ""
    mongodb: str = ""
    uses: list[str] = field(default_factory=list)
    servers: list[_Server] = field(default_factory=list)

    @property
    def description(self) -> str:
        """Which MongoDB and which Kafka, in one line."""
        return "; ".join(self.uses)

    def start(self) -> None:
        """Start what the environment does not name, side by side. Not for an event loop's thread.

        Raises:
            StartError: says what is missing and the command that installs it; what did start is for `stop`.
        """
        self.kafka = os.environ.get("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", "")
        self.mongodb = os.environ.get("RINGBACK_MONGODB_URL", "")
        mongo = _Choice(
            self.servers,
            self.say,
            lambda: LocalMongo(self.folder / "mongo", detached=self.detached),
            lambda: ImageMongo(self.folder),
        )
        broker = _Choice(
            self.servers,
            self.say,
            lambda: LocalKafka(self.folder / "kafka", state=self.state, detached=self.detached, say=self.say),
            lambda: ImageKafka(self.folder),
        )
        # MongoDB first: Kafka may have to be downloaded, and takes longer to get ready.
        if not (named := self.mongodb):
            mongo.launch()
        if not self.kafka:
            broker.launch()
        if named:
            self._says("MongoDB: the one in RINGBACK_MONGODB_URL")
        else:
            database = mongo.wait()
            self.mongodb = database.url
            self._says(f"MongoDB: {database.description} at 127.0.0.1:{database.port}")
        if self.kafka:
            asyncio.run(_answers(self.kafka))
            self._says(f"Kafka: the cluster at {self.kafka}")
        else:
            cluster = broker.wait()
            self.kafka = cluster.bootstrap_servers
            self._says(f"Kafka: {cluster.description} at {self.kafka}")

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
        raise StartError(
            f"RINGBACK_KAFKA_BOOTSTRAP_SERVERS={servers} does not answer\nstart Kafka there, or unset it: then one is started here"
        ) from error
    finally:
        await admin.close()
