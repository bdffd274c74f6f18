"""Whether the topics are what the fence needs; it starts on no others."""

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.runtime.errors import PermanentError
from services.runtime.topics_admin import connected_admin

from .settings import FenceSettings


class FenceRefusal(PermanentError):
    """The fence does not start: the topics are not what it needs. Says why."""


async def check_topics(settings: FenceSettings) -> None:
    """Return only if every topic is there, with equal partition counts, and the changelog is compacted.

    Raises:
        KafkaAway: the cluster does not answer.
        FenceRefusal: a topic is missing, counts differ, or the changelog is not compacted.
    """
    wanted = [*settings.topics, settings.changelog_topic]
    async with connected_admin(settings.bootstrap_servers) as admin:
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(wanted)}
        missing = [topic for topic in wanted if not found.get(topic)]
        if missing:
            raise FenceRefusal(f"topics missing: {', '.join(missing)}")
        counts = {topic: found[topic] for topic in wanted}
        if len(set(counts.values())) != 1:
            raise FenceRefusal(f"partition counts must be equal: {counts}")
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.changelog_topic)])
        configs = {entry[0]: entry[1] for answer in answers for resource in answer.resources for entry in resource[4]}
        if "compact" not in str(configs.get("cleanup.policy")):
            raise FenceRefusal(f"{settings.changelog_topic} must be compacted, not {configs.get('cleanup.policy')}")
