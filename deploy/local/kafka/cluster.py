"""Several Apache Kafka brokers on this machine, each of which can be killed, paused and started again by its index.

A node of its own is the controller: whichever broker is gone, the others get the leadership of its partitions. One spare
broker takes a single partition and is killed with it, so that this partition alone has no leader.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, ParamSpec, Self, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest

from deploy.local.kafka import (
    DEFAULT_STATE,
    PROPERTIES,
    STARTED,
    Say,
    after,
    ensure_formatted,
    ensure_jars,
    java_command,
)
from deploy.local.process import LocalServer, StartError, free_ports, listens
from services.runtime.clock import monotonic_s

P = ParamSpec("P")
T = TypeVar("T")

CONTROLLER_ID: Final = 100
SPARE: Final = 0
"""The spare's node id; the broker of index n has the id n + 1."""
MOVED_LIMIT_S: Final = 30.0
POLL_S: Final = 0.1
MORE: Final = """\
leader.imbalance.check.interval.seconds=5
leader.imbalance.per.broker.percentage=0
replica.lag.time.max.ms=5000
"""
"""A broker that comes back gets its partitions back after some seconds (five minutes by default)."""


class Node(LocalServer):
    """One process of a cluster: the controller or a broker.

    Args:
        folder: for its data, settings and log.
        port: where it listens.
        node_id: its id.
        controller: the controller's port; the node itself is the controller where that is its own port.
        copies: of the topics that Kafka keeps for itself.
        state: where the jars are cached.
        say: called with a line for each thing that is downloaded or installed.
    """

    def __init__(
        self, folder: Path, port: int, *, node_id: int, controller: int, copies: int, state: Path, say: Say
    ) -> None:
        super().__init__(folder, port, detached=False)
        self.node_id, self._controller, self._copies = node_id, controller, copies
        self._state, self._say = state, say
        self._log, self._seen = self.folder / "kafka.log", 0

    def _prepared(self) -> tuple[str, Sequence[str], Path]:
        libs = ensure_jars(self._state, self._say)
        self.folder.mkdir(parents=True, exist_ok=True)
        properties, data = self.folder / "server.properties", self.folder / "data"
        leads = self.port == self._controller
        settings = PROPERTIES.format(
            roles="controller" if leads else "broker",
            node_id=self.node_id,
            voter=CONTROLLER_ID,
            controller=self._controller,
            listeners=f"{'CONTROLLER' if leads else 'PLAINTEXT'}://127.0.0.1:{self.port}",
            data=data,
            copies=self._copies,
        )
        properties.write_text(settings + MORE)
        ensure_formatted(libs, self._state, data, properties, self.node_id)
        self._seen = self._log.stat().st_size if self._log.exists() else 0
        return f"Kafka node {self.node_id}", [*java_command(libs), "kafka.Kafka", str(properties)], self._log

    def _ready(self) -> bool:
        return STARTED in after(self._log, self._seen) and listens(self.port)


class LocalCluster:
    """Brokers on 127.0.0.1, all their data in `folder`. Every method returns once it has happened, so call it in a thread.

    Args:
        folder: for data and logs.
        brokers: how many.
        state: where the jars are cached.
        say: called with a line for each thing that is downloaded or installed.
    """

    def __init__(
        self, folder: Path, *, brokers: int = 2, state: Path = DEFAULT_STATE, say: Say = lambda _: None
    ) -> None:
        controller, spare, *ports = free_ports(brokers + 2)

        def node(name: str, node_id: int, port: int) -> Node:
            return Node(
                folder / name,
                port,
                node_id=node_id,
                controller=controller,
                copies=min(brokers, 3),
                state=state,
                say=say,
            )

        self._controller = node("controller", CONTROLLER_ID, controller)
        self._spare = node("spare", SPARE, spare)
        self._brokers = [node(f"broker-{n}", n + 1, port) for n, port in enumerate(ports)]
        self._lent: tuple[str, int, list[int]] | None = None
        # The kernel kills a server when the *thread* that started it ends: this one lives as long as the cluster.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-cluster")

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self._brokers)

    def start(self) -> None:
        """Start the controller, then all brokers at once.

        Raises:
            StartError: one of them does not start; none is left.
        """
        try:
            self._do(self._start)
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._controller.start()
        for broker in self._brokers:
            broker.launch()
        for broker in self._brokers:
            broker.wait_until_ready()

    def stop(self) -> None:
        """End everything; what was paused too."""
        for node in (self._spare, *self._brokers, self._controller):
            self._do(node.kill)
        self._thread.shutdown()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- a broker --

    def kill(self, index: int) -> None:
        """Kill a broker at once, as a crash would; about 3 s later its partitions have other leaders."""
        self._do(self._brokers[index].kill)

    def restart(self, index: int) -> None:
        """Start a broker that was killed, on its port and data."""
        self._do(self._brokers[index].restart)

    def pause(self, index: int) -> None:
        """Let a broker do nothing, though its connections stay."""
        os.kill(self._brokers[index].pid, signal.SIGSTOP)

    def resume(self, index: int) -> None:
        """Let a paused broker go on."""
        os.kill(self._brokers[index].pid, signal.SIGCONT)

    # -- a partition --

    def leaders(self, topic: str) -> dict[int, int]:
        """Return the index of the broker that leads each partition of a topic; -1 where there is none."""
        return {number: leader - 1 if leader > SPARE else -1 for number, (leader, _) in self._parts(topic).items()}

    def take_leader(self, topic: str, partition: int) -> None:
        """Leave one partition without a leader until `give_leader`; all brokers stay up, its records are kept.

        Raises:
            StartError: another partition is without one already, or Kafka does not move it in time.
        """
        if self._lent is not None:
            raise StartError(f"{self._lent[0]}[{self._lent[1]}] is without a leader already")
        self._do(self._spare.start)
        self._lent = (topic, partition, self._parts(topic)[partition][1])
        self._move(topic, partition, [SPARE])
        self._do(self._spare.kill)
        self._until(lambda: self._parts(topic)[partition][0] < 0, f"{topic}[{partition}] has no leader")

    def give_leader(self) -> None:
        """Give the partition back to the brokers it was taken from.

        Raises:
            StartError: Kafka does not move it in time.
        """
        if self._lent is None:
            return
        topic, partition, replicas = self._lent
        self._do(self._spare.start)
        self._move(topic, partition, replicas)
        self._do(self._spare.stop)  # it takes its leave: a killed one is named to clients for 3 s more
        self._lent = None

    def _move(self, topic: str, partition: int, replicas: list[int]) -> None:
        def moved() -> bool:
            leader, now = self._parts(topic)[partition]
            return leader in replicas and sorted(now) == sorted(replicas)

        self._do(asyncio.run, _reassign(self.bootstrap_servers, topic, partition, replicas))
        self._until(moved, f"{topic}[{partition}] is on {replicas}")

    def _parts(self, topic: str) -> dict[int, tuple[int, list[int]]]:
        return self._do(asyncio.run, _partitions(self.bootstrap_servers, topic))

    def _until(self, check: Callable[[], bool], what: str) -> None:
        until = monotonic_s() + MOVED_LIMIT_S
        while not check():
            if monotonic_s() > until:
                raise StartError(f"not within {MOVED_LIMIT_S:.0f} s: {what}")
            time.sleep(POLL_S)

    def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.submit(work, *args, **kwargs).result()


async def _partitions(bootstrap_servers: str, topic: str) -> dict[int, tuple[int, list[int]]]:
    """Return the leader's node id (-1 where there is none) and the replicas of each partition of a topic."""
    described = await _ask(bootstrap_servers, lambda admin: admin.describe_topics([topic]))
    return {part["partition"]: (part["leader"], list(part["replicas"])) for part in described[0]["partitions"]}


async def _reassign(bootstrap_servers: str, topic: str, partition: int, replicas: list[int]) -> None:
    """Ask Kafka to move a partition to other brokers."""
    request = AlterPartitionReassignmentsRequest(10_000, [(topic, [(partition, replicas, {})], {})], {})
    answer = await _ask(bootstrap_servers, lambda admin: admin._send_request(request))
    refused = [part for _, parts, _ in answer.responses for part in parts if part[1]]
    if answer.error_code or refused:
        raise StartError(f"Kafka does not move {topic}[{partition}] to {replicas}: {answer.error_message or refused}")


async def _ask(bootstrap_servers: str, question: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
    """Return the answer of any broker; the first that is asked may be one that is away."""
    until = monotonic_s() + MOVED_LIMIT_S
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=3_000)
        try:
            await admin.start()
            return await question(admin)
        except (KafkaError, OSError, TimeoutError) as error:
            if monotonic_s() > until:
                raise StartError(f"no broker answers: {error!r}") from error
            await asyncio.sleep(POLL_S)
        finally:
            await admin.close()
