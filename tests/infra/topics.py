"""Empty topics for a test: what earlier tests wrote must not be read again by a new group that starts at the beginning."""

import asyncio
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import Topic, topics_of
from services.runtime.offsets import Ends
from services.runtime.topics_admin import create_topics
from tests.infra.polling import eventually

GONE_LIMIT_S = 30.0


async def empty_topics(bootstrap_servers: str, group_prefix: str = "", topics: Sequence[Topic] | None = None) -> None:
    """Delete Ringback's topics and make them again; nothing may be using them."""
    wanted = list(topics if topics is not None else topics_of(group_prefix))
    names = {topic.name for topic in wanted}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        if there := names & set(await admin.list_topics()):
            await admin.delete_topics(sorted(there))

        async def gone() -> bool:
            return not names & set(await admin.list_topics())

        await eventually(gone, GONE_LIMIT_S, "the topics are deleted")
    finally:
        await admin.close()
    await create_topics(bootstrap_servers, 1, wanted)
    # A new topic has leaders in the metadata a moment before its broker acts as one.
    ends = Ends(bootstrap_servers)
    try:
        async with asyncio.timeout(GONE_LIMIT_S):
            partitions = [TopicPartition(topic.name, n) for topic in wanted for n in range(topic.partitions)]
            while None in (await ends.of(partitions)).values():
                await asyncio.sleep(0.05)
    finally:
        await ends.stop()
