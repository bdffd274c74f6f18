"""Creating the topics and checking, at start, that the broker has them as the code says."""

import asyncio
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from schemas.topics import TOPICS, Topic
from services.runtime.errors import PermanentError


class TopicsDiffer(PermanentError):
    """The broker's topics are not what this version needs; lists each difference."""


async def create_topics(bootstrap_servers: str, replication: int = 3, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Create the topics that are missing; return their names. Those that exist are left as they are (see `check_topics`)."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        found = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in found]
        extra = {"min.insync.replicas": "2"} if replication >= 3 else {}
        answer = await admin.create_topics(
            [
                NewTopic(topic.name, topic.partitions, replication, topic_configs={**extra, **topic.settings})
                for topic in missing
            ]
        )
        for name, code, *why in answer.topic_errors if missing else ():
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise PermanentError(f"cannot create topic {name}: {error.__name__} {why}")
        # A topic exists a moment before its partitions have leaders; whoever asks next must not see that moment.
        async with asyncio.timeout(30):
            while await differences(admin, topics, with_config=False):
                await asyncio.sleep(0.1)
        return [topic.name for topic in missing]
    except KafkaError as error:
        raise PermanentError(f"cannot create topics on {bootstrap_servers}: {error!r}") from error
    finally:
        await admin.close()


async def check_topics(bootstrap_servers: str, topics: Sequence[Topic] = TOPICS) -> None:
    """Compare the broker's topics with the code.

    Raises:
        TopicsDiffer: names every missing topic, wrong partition count and wrong setting.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        found = await differences(admin, topics)
    finally:
        await admin.close()
    if found:
        raise TopicsDiffer(
            "topics are not as they should be (`ringback topics create` makes them):\n" + "\n".join(found)
        )


async def differences(admin: AIOKafkaAdminClient, topics: Sequence[Topic], *, with_config: bool = True) -> list[str]:
    """Return one line for everything about the broker's topics that differs from the code."""
    lines = []
    described = {entry["topic"]: entry for entry in await admin.describe_topics([topic.name for topic in topics])}
    present = []
    for topic in topics:
        entry = described.get(topic.name)
        if entry is None or entry["error_code"]:
            lines.append(f"{topic.name}: missing")
            continue
        present.append(topic)
        partitions = entry["partitions"]
        if len(partitions) != topic.partitions:
            lines.append(f"{topic.name}: {len(partitions)} partitions, needs {topic.partitions}")
        if any(part["leader"] < 0 for part in partitions):
            lines.append(f"{topic.name}: a partition has no leader")
    if not with_config or not present:
        return lines
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in present])
    settings: dict[str, dict[str, str]] = {}
    for answer in answers:
        for resource in answer.resources:
            settings[resource[3]] = {entry[0]: entry[1] for entry in resource[4]}
    for topic in present:
        for name, value in topic.settings.items():
            if (have := settings.get(topic.name, {}).get(name)) != value:
                lines.append(f"{topic.name}: {name} is {have}, needs {value}")
    return lines
