"""The cluster that chaos tests break: a broker or a single partition is gone, and comes back with what it held."""

import asyncio
import contextlib

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import REGISTRY

from deploy.local.kafka.cluster import LocalCluster
from deploy.local.system import fresh_name
from schemas.envelope import Wire
from schemas.topics import Topic
from services.runtime.clock import monotonic_s
from services.runtime.errors import TransientError
from services.runtime.offsets import Ends
from services.runtime.partitions import partition_of
from services.runtime.producer import KafkaProducer
from services.runtime.topics_admin import create_topics
from tests.infra.polling import eventually
from tests.integration.runtime.conftest import PARTITIONS

REQUEST_TIMEOUT_S = 1.0
"""After so long without a leader the client would fail a record that it has numbered."""
AWAY_S = 8.0
"""How long a broker is gone: longer than Kafka takes to notice, than a request and than a send may take."""
KEYS = [b"key-%d" % n for n in range(40)]


async def ends_of(cluster: LocalCluster, topic: str) -> list[int | None]:
    ends = Ends(cluster.bootstrap_servers)
    try:
        found = await ends.of([TopicPartition(topic, n) for n in range(PARTITIONS)])
        return [found[TopicPartition(topic, n)] for n in range(PARTITIONS)]
    finally:
        await ends.stop()


async def test_partition_loses_its_leader_alone_and_gets_it_back_with_its_records(
    cluster: LocalCluster, topic: str
) -> None:
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap_servers, client_id="it", send_timeout_s=3.0)
    await producer.start()
    try:
        assert set(cluster.leaders(topic).values()) == {0, 1}
        key_of = {partition_of(key, PARTITIONS): key for key in KEYS}
        wires = [Wire(topic=topic, key=key_of[n], value=b"v", headers=[]) for n in range(PARTITIONS)]
        await producer.send_wire(*wires)
        await asyncio.to_thread(cluster.take_leader, topic, 3)
        assert {n for n, leader in cluster.leaders(topic).items() if leader < 0} == {3}
        with pytest.raises(TransientError):
            await producer.send_wire(wires[3])
        await producer.send_wire(*wires[:3], *wires[4:])
        await asyncio.to_thread(cluster.give_leader)
        await producer.send_wire(wires[3])
        ends = await ends_of(cluster, topic)
        assert ends == [2, 2, 2, 3, 2, 2]  # the record that was given up has arrived late
    finally:
        await producer.stop()


def clients_replaced() -> float | None:
    return REGISTRY.get_sample_value("ringback_producers_replaced_total")


class Sender:
    """Sends 1, 2, 3, ... to one partition, each until it is acknowledged, as our services do."""

    def __init__(self, producer: KafkaProducer, topic: str, key: bytes) -> None:
        self._producer, self._topic, self._key = producer, topic, key
        self.acknowledged, self.tries, self.stopping = 0, 0, False

    async def send(self) -> None:
        """Send the next one, once."""
        self.tries += 1
        value = b"%d" % (self.acknowledged + 1)
        await self._producer.send_wire(Wire(topic=self._topic, key=self._key, value=value, headers=[]))
        self.acknowledged += 1

    async def run(self) -> None:
        """Send until told to stop."""
        while not self.stopping:
            with contextlib.suppress(TransientError):
                await self.send()
            await asyncio.sleep(0.1)


async def values_of(cluster: LocalCluster, topic: str) -> dict[int, list[int]]:
    """Return what each partition holds, in its order."""
    ends = await ends_of(cluster, topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, n) for n in range(PARTITIONS)])
        found: dict[int, list[int]] = {n: [] for n in range(PARTITIONS)}
        async with asyncio.timeout(20):
            while [len(found[n]) for n in range(PARTITIONS)] != ends:
                one = await consumer.getone()
                found[one.partition].append(int(one.value))
        return found
    finally:
        await consumer.stop()


async def test_broker_killed_and_back_no_partition_is_dead_afterwards_and_nothing_acknowledged_is_missing(
    cluster: LocalCluster,
) -> None:
    """A record that expired once it was numbered left a gap: the broker refused all that followed in its partition.

    With one copy the dead broker's partitions have no leader meanwhile; with two, another broker leads them.
    """
    alone, copied = f"it-{fresh_name()}", f"it-{fresh_name()}"
    await create_topics(cluster.bootstrap_servers, 1, [Topic(alone, partitions=PARTITIONS)])
    await create_topics(cluster.bootstrap_servers, 2, [Topic(copied, partitions=PARTITIONS)])
    assert set(cluster.leaders(alone).values()) == set(cluster.leaders(copied).values()) == {0, 1}
    key_of = {partition_of(key, PARTITIONS): key for key in KEYS}
    producer = KafkaProducer(
        bootstrap_servers=cluster.bootstrap_servers,
        client_id="it",
        request_timeout_s=REQUEST_TIMEOUT_S,
        send_timeout_s=3.0,
    )
    await producer.start()
    senders = {(topic, n): Sender(producer, topic, key_of[n]) for topic in (alone, copied) for n in range(PARTITIONS)}
    running, replaced = [asyncio.create_task(sender.run()) for sender in senders.values()], clients_replaced()
    try:
        await eventually(lambda: all(sender.acknowledged > 2 for sender in senders.values()))
        await asyncio.to_thread(cluster.kill, 1)
        killed_s = monotonic_s()
        await eventually(lambda: monotonic_s() - killed_s > AWAY_S, AWAY_S + 5)
        await asyncio.to_thread(cluster.restart, 1)
        before = {where: sender.acknowledged for where, sender in senders.items()}

        def all_go_on() -> bool:
            return all(sender.acknowledged > before[where] + 2 for where, sender in senders.items())

        await eventually(all_go_on, 30, "every partition takes records again")
        for sender in senders.values():
            sender.stopping = True
        await asyncio.gather(*running)
        for sender in senders.values():
            await sender.send()  # the first try
        assert clients_replaced() == replaced, "a sequence had a gap"
        for topic in (alone, copied):
            for n, values in (await values_of(cluster, topic)).items():
                first_seen = list(dict.fromkeys(values))
                assert first_seen == list(range(1, senders[topic, n].acknowledged + 1)), f"{topic}[{n}]"
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await producer.stop()
