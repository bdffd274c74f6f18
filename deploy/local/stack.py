"""Kafka and MongoDB by whatever is at hand, saying which: what the environment names, else local processes."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.image import ImageKafka
from deploy.local.kafka import DEFAULT_STATE, LocalKafka, Say, java_missing
from deploy.local.mongo import LocalMongo
from deploy.local.process import StartError


@dataclass
class Stack:
    """Kafka and MongoDB while the block lasts (or for good, `detached`).

    Args:
        folder: where local processes keep their data.
        state: where downloads are cached.
        say: told what is being started, a line each.
    """

    folder: Path
    state: Path = DEFAULT_STATE
    detached: bool = False
    say: Say = print
    kafka: str = ""
    mongodb: str = ""
    uses: list[str] = field(default_factory=list)
    servers: list[LocalKafka | LocalMongo | ImageKafka] = field(default_factory=list)

    def start(self) -> None:
        """Start what the environment does not name.

        Raises:
            StartError: says what is missing and the command that mends it.
        """
        if servers := os.environ.get("RINGBACK_KAFKA_BOOTSTRAP_SERVERS"):
            asyncio.run(_answers(servers))
            self.kafka = servers
            self._says(f"Kafka: the cluster at {servers}")
        else:
            broker = self._broker()
            self.kafka = broker.bootstrap_servers
            self._says(f"Kafka: {broker.description} at {self.kafka}")
        if url := os.environ.get("RINGBACK_MONGODB_URL"):
            self.mongodb = url
            self._says("MongoDB: the one in RINGBACK_MONGODB_URL")
        else:
            mongo = LocalMongo(self.folder / "mongo", detached=self.detached)
            mongo.start()
            self.servers.append(mongo)
            self.mongodb = mongo.url
            self._says(f"MongoDB: {mongo.description} at 127.0.0.1:{mongo.port}")

    def _broker(self) -> LocalKafka | ImageKafka:
        broker: LocalKafka | ImageKafka
        try:
            broker = LocalKafka(self.folder / "kafka", state=self.state, detached=self.detached, say=self.say)
            broker.start()
        except StartError as error:
            if not java_missing():
                raise
            # No Java, and none to be had: an engine with the image is the last way.
            self.say(str(error).splitlines()[0])
            broker = ImageKafka(self.folder)
            try:
                broker.start()
            except StartError as second:
                raise StartError(f"{error}\n(or a Docker engine with the Kafka image: {second})") from second
        self.servers.append(broker)
        return broker

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
