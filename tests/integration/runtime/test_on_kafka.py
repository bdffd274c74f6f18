"""Topics, sending and the consumer loop on a real Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.base import EventData
from schemas.envelope import Event, Wire
from schemas.topics import CHANGELOG, Topic
from services.runtime.consumer import ConsumerLoop
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, Handled
from services.runtime.health import Health
from services.runtime.offsets import Ends
from services.runtime.producer import KafkaProducer
from services.runtime.producer_errors import RecordRefused
from services.runtime.settings import RuntimeSettings
from services.runtime.topics_admin import TopicsDiffer, alter_topics, check_topics, create_topics
from tests.infra.polling import eventually
from tests.infra.providers import Kafka
from tests.unit.runtime.build import record


@asynccontextmanager
async def producing(kafka: Kafka) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, client_id="it")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def values_of(kafka: Kafka, topic: str) -> list[bytes]:
    """Return every value of a topic with one partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]
    finally:
        await consumer.stop()


async def test_deployments_changelog_is_made_under_its_prefix_with_its_partitions_and_passes_the_check(
    kafka: Kafka,
) -> None:
    prefix = f"it-{uuid4().hex[:8]}-"
    settings = RuntimeSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, group_prefix=prefix, topic_partitions=3)
    name = f"{prefix}{CHANGELOG}"
    wanted = settings.topics(name)
    assert await create_topics(kafka.bootstrap_servers, 1, wanted) == [name]
    await check_topics(kafka.bootstrap_servers, wanted)


async def test_topic_with_another_number_of_partitions_is_left_alone_at_once_and_named_by_the_check(
    kafka: Kafka,
) -> None:
    """Creating used to wait half a minute for it to change by itself, and then failed."""
    name = f"it-{uuid4().hex[:8]}"
    await create_topics(kafka.bootstrap_servers, 1, [Topic(name, partitions=2)])
    async with asyncio.timeout(20):
        assert await create_topics(kafka.bootstrap_servers, 1, [Topic(name, partitions=5)]) == []
    with pytest.raises(TopicsDiffer, match=f"{name}: 2 partitions, needs 5"):
        await check_topics(kafka.bootstrap_servers, [Topic(name, partitions=5)])


async def test_topic_that_exists_is_given_the_settings_it_needs_and_keeps_those_of_others(kafka: Kafka) -> None:
    """Topics of an older version have no LogAppendTime."""
    name = f"it-{uuid4().hex[:8]}"
    await create_topics(kafka.bootstrap_servers, 1, [Topic(name, partitions=2, config={"segment.ms": "600000"})])
    needed = Topic(name, partitions=2, config={"message.timestamp.type": "LogAppendTime"})
    with pytest.raises(TopicsDiffer, match=r"message\.timestamp\.type is CreateTime, needs LogAppendTime"):
        await check_topics(kafka.bootstrap_servers, [needed])
    assert await alter_topics(kafka.bootstrap_servers, [needed]) == [name]
    await check_topics(kafka.bootstrap_servers, [needed, Topic(name, partitions=2, config={"segment.ms": "600000"})])
    assert await alter_topics(kafka.bootstrap_servers, [needed]) == []


async def test_ends_of_a_missing_topic_are_not_known_and_a_groups_offsets_are(kafka: Kafka) -> None:
    name = f"it-{uuid4().hex[:8]}"
    await create_topics(kafka.bootstrap_servers, 1, [Topic(name, partitions=2)])
    there, missing = TopicPartition(name, 0), TopicPartition(f"{name}-missing", 0)
    ends = Ends(kafka.bootstrap_servers)
    try:
        found = await ends.of([there, missing], limit_s=8)
        assert (found[there], found[missing]) == (0, None)
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=name, enable_auto_commit=False)
        consumer.assign([there])
        await consumer.start()
        try:
            await consumer.commit({there: 3})
        finally:
            await consumer.stop()
        other = TopicPartition(name, 1)
        assert await ends.committed(name, [there, other]) == {there: 3, other: None}
    finally:
        await ends.stop()


async def test_record_larger_than_any_request_is_refused_and_the_next_one_is_sent(kafka: Kafka) -> None:
    name = f"it-{uuid4().hex[:8]}"
    await create_topics(kafka.bootstrap_servers, 1, [Topic(name, partitions=1)])
    async with producing(kafka) as producer:
        with pytest.raises(RecordRefused):
            await producer.send_wire(Wire(topic=name, key=b"k", value=b"x" * (2 << 20), headers=[]))
        await producer.send_wire(Wire(topic=name, key=b"k", value=b"small", headers=[]))
    assert await values_of(kafka, name) == [b"small"]


async def test_record_that_the_broker_refuses_is_refused_and_its_partition_goes_on(kafka: Kafka) -> None:
    """The client counts the refused record, the broker does not: that client's later records would all be refused."""
    name = f"it-{uuid4().hex[:8]}"
    small = Topic(name, partitions=1, config={"max.message.bytes": "1000"})
    await create_topics(kafka.bootstrap_servers, 1, [small])
    async with producing(kafka) as producer:
        await producer.send_wire(Wire(topic=name, key=b"k", value=b"before", headers=[]))
        with pytest.raises(RecordRefused):
            await producer.send_wire(Wire(topic=name, key=b"k", value=b"x" * 5000, headers=[]))
        await producer.send_wire(Wire(topic=name, key=b"k", value=b"after", headers=[]))
    assert await values_of(kafka, name) == [b"before", b"after"]


async def test_partition_gone_for_longer_than_any_time_out_what_was_sent_meanwhile_arrives_late(kafka: Kafka) -> None:
    """The client used to number such a record, and then fail it as expired: the broker refused all that followed."""
    name = f"it-{uuid4().hex[:8]}"
    topic = Topic(name, partitions=1)
    await create_topics(kafka.bootstrap_servers, 1, [topic])
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, client_id="it", request_timeout_s=1.0, send_timeout_s=3.0
    )
    await producer.start()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await producer.send_wire(Wire(topic=name, key=b"k", value=b"before", headers=[]))
        await admin.delete_topics([name])
        with pytest.raises(TransientError, match="within 3 s"):
            await producer.send_wire(Wire(topic=name, key=b"k", value=b"meanwhile", headers=[]))
        await create_topics(kafka.bootstrap_servers, 1, [topic])

        async def there() -> bool:
            return await values_of(kafka, name) == [b"meanwhile"]

        async with asyncio.timeout(30):
            while not await there():
                await asyncio.sleep(0.2)
    finally:
        await admin.close()
        await producer.stop()


async def test_dead_letter_that_would_be_too_large_leaves_its_value_out_and_the_next_event_is_applied(
    kafka: Kafka,
) -> None:
    name = f"it-{uuid4().hex[:8]}"
    await create_topics(kafka.bootstrap_servers, 1, [Topic(name, partitions=1), Topic(f"{name}.dlq", partitions=1)])
    large = b"x" * ((1 << 20) - 200)
    applied: list[str] = []

    async def handle(event: Event[EventData]) -> Handled:
        applied.append(event.id)
        return APPLIED

    async with producing(kafka) as producer:
        good = record(1)
        await producer.send_wire(
            Wire(topic=name, key=b"k", value=large, headers=[]),
            Wire(topic=name, key=good.key or b"", value=good.value or b"", headers=list(good.headers)),
        )
        loop = ConsumerLoop(
            topics=[name],
            group=name,
            bootstrap_servers=kafka.bootstrap_servers,
            handler=handle,
            producer=producer,
            health=Health(),
        )
        await loop.start()
        running = asyncio.create_task(loop.run())
        try:
            await eventually(lambda: applied == ["twilio:SM1"], timeout_s=30)
        finally:
            await loop.stop()
            await running
    assert await values_of(kafka, f"{name}.dlq") == [b""]
