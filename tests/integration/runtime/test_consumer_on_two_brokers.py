"""The consumer loop while one broker, or one partition's leader, is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.kafka.cluster import LocalCluster
from schemas.base import EventData
from schemas.envelope import Event, Wire, encode
from services.runtime.consumer import ConsumerLoop
from services.runtime.handled import APPLIED, Handled
from services.runtime.health import Health
from services.runtime.offsets import Ends
from services.runtime.partitions import partition_of
from services.runtime.producer import KafkaProducer
from tests.infra.polling import eventually
from tests.integration.runtime.conftest import PARTITIONS
from tests.unit.runtime.build import reply

KEYS = {partition_of(key, PARTITIONS): key for key in (b"demo:+1212555%04d" % n for n in range(100))}
GONE_LIMIT_S = 40.0
"""A broker's absence is noticed after 3 s; a group whose coordinator is gone has another some seconds later."""


@dataclass
class Reading:
    """A loop at work on a cluster, and what it has handled."""

    cluster: LocalCluster
    topic: str
    health: Health = field(default_factory=Health)
    handled: set[str] = field(default_factory=set)
    sent: int = 0

    async def handle(self, event: Event[EventData]) -> Handled:
        """Note an event."""
        self.handled.add(event.id)
        return APPLIED

    async def send(self, *partitions: int) -> set[str]:
        """Send an event to each of these partitions; return their ids."""
        ids = set()
        for partition in partitions:
            self.sent += 1
            wire = encode(reply(self.sent))
            await self.producer.send_wire(
                Wire(topic=self.topic, key=KEYS[partition], value=wire.value, headers=wire.headers)
            )
            ids.add(reply(self.sent).id)
        return ids

    async def has_handled(self, ids: set[str]) -> None:
        """Return once events are handled."""
        await eventually(lambda: ids <= self.handled, GONE_LIMIT_S, f"{ids} are handled")

    async def has_committed_all(self) -> None:
        """Return once the group has committed up to the ends."""
        partitions = [TopicPartition(self.topic, n) for n in range(PARTITIONS)]

        async def committed() -> bool:
            ends = Ends(self.cluster.bootstrap_servers)
            try:
                return await ends.of(partitions) == await ends.committed(self.topic, partitions)
            finally:
                await ends.stop()

        await eventually(committed, GONE_LIMIT_S, "everything is committed", every_s=0.2)

    async def coordinator(self) -> int:
        """Return the index of the broker that coordinates the group."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.cluster.bootstrap_servers)
        await admin.start()
        try:
            return int(await admin.find_coordinator(self.topic)) - 1
        finally:
            await admin.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the loop and a producer."""
        servers = self.cluster.bootstrap_servers
        self.producer = KafkaProducer(bootstrap_servers=servers, client_id="it", send_timeout_s=20.0)
        await self.producer.start()
        loop = ConsumerLoop(
            topics=[self.topic],
            group=self.topic,
            bootstrap_servers=servers,
            handler=self.handle,
            producer=self.producer,
            health=self.health,
            session_timeout_s=6.0,
        )
        await loop.start()
        task = asyncio.create_task(loop.run())
        try:
            yield task
            assert not task.done(), "the loop has ended"
        finally:
            await loop.stop()
            await asyncio.gather(task, return_exceptions=True)
            await self.producer.stop()


async def test_broker_that_coordinates_the_group_is_killed_the_loop_goes_on_and_commits(
    cluster: LocalCluster, topic: str
) -> None:
    reading = Reading(cluster, topic)
    async with reading.running():
        await reading.has_handled(await reading.send(*range(PARTITIONS)))
        killed = await reading.coordinator()
        await asyncio.to_thread(cluster.kill, killed)
        try:
            await reading.has_handled(await reading.send(*range(PARTITIONS)))
            await reading.has_committed_all()
        finally:
            await asyncio.to_thread(cluster.restart, killed)
        await reading.has_handled(await reading.send(*range(PARTITIONS)))
        await reading.has_committed_all()
        assert not [part for part in reading.health.not_ready if part != "start"]


async def test_partition_without_a_leader_keeps_no_other_from_being_handled_and_is_handled_afterwards(
    cluster: LocalCluster, topic: str
) -> None:
    reading = Reading(cluster, topic)
    async with reading.running():
        await reading.has_handled(await reading.send(*range(PARTITIONS)))
        await asyncio.to_thread(cluster.take_leader, topic, 2)
        try:
            await reading.has_handled(await reading.send(0, 1, 3, 4, 5))
        finally:
            await asyncio.to_thread(cluster.give_leader)
        await reading.has_handled(await reading.send(2))
        await reading.has_committed_all()
