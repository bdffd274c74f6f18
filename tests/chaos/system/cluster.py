"""Two Kafka brokers, each behind a proxy of its own, so that one can be killed, halted, cut off or made slow alone.

Every partition is on both brokers, but for one partition of each topic, which is on the second alone: while that broker is
away, that partition has no leader. The sequencer's changelog is led by the second broker and what it sends by the first, so
that a slow second broker is a slow changelog (a text may then leave before its row is acknowledged, if anything lets it).
"""

import asyncio
import contextlib
import os
import random
import re
import secrets
import signal
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest

from deploy.local.kafka import PROPERTIES, LocalKafka
from deploy.local.process import free_ports
from schemas.topics import Topic
from tests.chaos.system.proxy import Proxy

CHANGED: Final = {
    "min.insync.replicas": "1",
    "inter.broker.listener.name": "INTERNAL",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT",
    # Leaders go back to where they belong soon after a broker is back: the scenes need them there.
    "leader.imbalance.check.interval.seconds": "3",
    "leader.imbalance.per.broker.percentage": "0",
}
MOVE_LIMIT_S: Final = 60.0
BOTH: Final = ((1, 2), (2, 1))
FIRST_LEADS: Final = frozenset({"touches", "sequencer-timers"})
"""What the sequencer sends; its changelog is led by the other broker."""


class Broker(LocalKafka):
    """One of two: the first is the controller too.

    Args:
        folder: for its data.
        node: 1 or 2.
        ports: its own listener's, the internal one's, the controller's.
        advertised: the port that clients are told, a proxy's.
    """

    def __init__(self, folder: Path, node: int, ports: tuple[int, int, int], advertised: int) -> None:
        super().__init__(folder, port=ports[0])
        self.node, self._internal, self._controller = node, ports[1], ports[2]
        self._advertised = advertised

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped or killed since."""
        return self._server is not None

    def _prepared(self) -> tuple[str, Sequence[str], Path]:
        name, command, log = super()._prepared()
        properties = self.folder / "server.properties"
        properties.write_text(self._properties())
        meta = self.folder / "data" / "meta.properties"
        if self.node != 1 and "node.id=1\n" in (said := meta.read_text()):
            directory = urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
            said = said.replace("node.id=1\n", f"node.id={self.node}\n")
            meta.write_text(re.sub(r"directory\.id=.*", f"directory.id={directory}", said))
        return f"{name} {self.node}", command, log

    def _properties(self) -> str:
        own, inside = f"PLAINTEXT://127.0.0.1:{self.port}", f"INTERNAL://127.0.0.1:{self._internal}"
        leads = f",CONTROLLER://127.0.0.1:{self._controller}" if self.node == 1 else ""
        made = PROPERTIES.format(
            roles="broker,controller" if self.node == 1 else "broker",
            node_id=self.node,
            voter=1,
            controller=self._controller,
            listeners=f"{own},{inside}{leads}",
            data=self.folder / "data",
            copies=2,
        )
        advertised = f"PLAINTEXT://127.0.0.1:{self._advertised},{inside}"
        found = dict(line.split("=", 1) for line in made.splitlines())
        return "".join(
            f"{name}={value}\n" for name, value in {**found, **CHANGED, "advertised.listeners": advertised}.items()
        )


class Cluster:
    """Both brokers and their proxies.

    Args:
        folder: for their data and logs.
    """

    def __init__(self, folder: Path) -> None:
        first, second, inside1, inside2, controller = free_ports(5)
        self.proxies = [Proxy(first), Proxy(second)]
        self._folder = folder
        self._ports = [(first, inside1, controller), (second, inside2, controller)]
        self.brokers: list[Broker] = []

    @property
    def bootstrap_servers(self) -> str:
        """Both, through their proxies."""
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)

    def make(self) -> None:
        """Make the brokers; their proxies must be there."""
        self.brokers = [
            Broker(self._folder / f"kafka-{n + 1}", n + 1, self._ports[n], self.proxies[n].port) for n in range(2)
        ]

    def start(self) -> None:
        """Start both side by side, each that does not run."""
        started = [broker for broker in self.brokers if not broker.is_running]
        for broker in started:
            broker.launch()
        for broker in started:
            broker.wait_until_ready()

    def stop(self) -> None:
        """Stop both: the second first, whose controller is the first."""
        for broker in reversed(self.brokers):
            if broker.is_running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(broker.pid, signal.SIGCONT)
                broker.kill()  # nobody needs their data any more

    async def create_topics(self, topics: Sequence[Topic], seed: int) -> None:
        """Create topics on both brokers, then leave one partition of each on the second alone.

        Raises:
            OSError: Kafka refuses.
        """
        dice = random.Random(f"topics:{seed}")
        alone = {topic.name: dice.randrange(topic.partitions) for topic in topics}
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            new = [
                NewTopic(topic.name, -1, -1, replica_assignments=replicas(topic), topic_configs=topic.settings)
                for topic in topics
            ]
            answer = await admin.create_topics(new)
            if wrong := [line for line in answer.topic_errors if line[1]]:
                raise OSError(f"topics cannot be made: {wrong}")
            await _settled(admin, topics, {})
            # Kafka wants the same number of copies of each partition of a new topic. The client has the request that
            # changes them, and no method that sends it.
            move: list[Any] = [(name, [(partition, [2], {})], {}) for name, partition in alone.items()]
            moved = await admin._send_request(AlterPartitionReassignmentsRequest(30_000, move, {}))
            if moved.error_code or any(part[1] for _, parts, *_ in moved.responses for part in parts):
                raise OSError(f"partitions cannot be moved: {moved}")
            await _settled(admin, topics, alone)
        finally:
            await admin.close()


async def _settled(admin: AIOKafkaAdminClient, topics: Sequence[Topic], alone: Mapping[str, int]) -> None:
    """Wait until each partition has a leader, and those that are to be on the second broker alone are."""
    async with asyncio.timeout(MOVE_LIMIT_S):
        while True:
            described = await admin.describe_topics([topic.name for topic in topics])
            parts = [(entry["topic"], part) for entry in described for part in entry["partitions"]]
            if len(parts) == sum(topic.partitions for topic in topics) and all(
                part["leader"] > 0 and (alone.get(name) != part["partition"] or part["replicas"] == [2])
                for name, part in parts
            ):
                return
            await asyncio.sleep(0.1)


def replicas(topic: Topic) -> dict[int, list[int]]:
    """Return which brokers hold each partition of a new topic, the leader first."""
    if topic.cleanup == "compact":
        return {n: [2, 1] for n in range(topic.partitions)}
    if topic.name in FIRST_LEADS:
        return {n: [1, 2] for n in range(topic.partitions)}
    return {n: list(BOTH[n % 2]) for n in range(topic.partitions)}
