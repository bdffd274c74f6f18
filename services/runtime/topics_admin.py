"""Creating the topics and checking, at start, that the broker has them as the code says."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from schemas.topics import CHANGELOG, TOPICS, Topic
from services.runtime.errors import PermanentError, TransientError

REQUEST_TIMEOUT_S: Final = 10.0
LEADERS_LIMIT_S: Final = 30.0
"""How long a new topic's partitions may be without leaders."""
SHOWN_LIMIT_S: Final = 10.0
"""How long brokers may tell a setting's old value after it was altered."""

SET_ON_TOPIC: Final = 1
"""Kafka's number for a setting of the topic itself, not of the broker or a default."""


class Setting(NamedTuple):
    """A topic's setting as the broker has it."""

    value: str
    source: int


class TopicsDiffer(PermanentError):
    """The broker's topics are not what this version needs; lists each difference."""


class KafkaAway(TransientError):
    """Kafka does not answer; one line that says where it was looked for, and what to do."""


async def create_topics(bootstrap_servers: str, replication: int = 3, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Create the topics that are missing; return their names. Those that exist are left as they are (see `alter_topics`).

    Args:
        bootstrap_servers: the cluster.
        replication: copies of each partition.
        topics: what is needed; `settings.topics()` are a deployment's.

    Raises:
        KafkaAway: the cluster does not answer.
        PermanentError: the cluster refuses a topic; says which and why.
    """
    async with connected_admin(bootstrap_servers) as admin:
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
                reason = next((str(one) for one in why if one), error.__name__)
                raise PermanentError(f"cannot create topic {name}: {reason}")
        # A topic exists a moment before its partitions have leaders; whoever asks next must not see that moment.
        async with asyncio.timeout(LEADERS_LIMIT_S):
            while await _without_leaders(admin, topics):
                await asyncio.sleep(0.1)
        return [topic.name for topic in missing]


async def other_deployments(bootstrap_servers: str, group_prefix: str = "") -> list[str]:
    """Return the changelogs on the cluster that are another deployment's (they carry its group prefix).

    Groups and the changelog have the prefix; the other topics have not. Services of two deployments on one cluster would
    each handle the other's events.

    Raises:
        KafkaAway: the cluster does not answer.
    """
    async with connected_admin(bootstrap_servers) as admin:
        found = await admin.list_topics()
    return sorted(name for name in found if name.endswith(CHANGELOG) and name != group_prefix + CHANGELOG)


async def alter_topics(bootstrap_servers: str, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Give topics that exist the settings they need; return the names of those that were altered.

    A setting that somebody else has made and that we do not name stays. Partitions stay as they are.

    Args:
        bootstrap_servers: the cluster.
        topics: what is needed; `settings.topics()` are a deployment's.

    Raises:
        KafkaAway: the cluster does not answer.
        PermanentError: the cluster refuses a setting; says which topic's and why.
    """
    async with connected_admin(bootstrap_servers) as admin:
        present = await _partitions(admin, topics)
        entries = await _settings(admin, [topic for topic in topics if topic.name in present])
        altered = []
        for topic in topics:
            of_topic = entries.get(topic.name, {})
            if topic.name not in present or all(
                name in of_topic and of_topic[name].value == value for name, value in topic.settings.items()
            ):
                continue
            # What is not in the request goes back to the broker's default.
            kept = {name: entry.value for name, entry in of_topic.items() if entry.source == SET_ON_TOPIC}
            wanted = ConfigResource(ConfigResourceType.TOPIC, topic.name, configs={**kept, **topic.settings})
            for answer in await admin.alter_configs([wanted]):
                for code, why, *_ in answer.resources:
                    if code:
                        raise PermanentError(f"cannot alter topic {topic.name}: {why or for_code(code).__name__}")
            altered.append(topic.name)
        await _until_shown(admin, [topic for topic in topics if topic.name in altered])
        return altered


async def _until_shown(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> None:
    """Wait until brokers tell the settings that their controller has taken; whoever asks next must not see the old ones."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SHOWN_LIMIT_S):
            while await _settings_differing(admin, topics):
                await asyncio.sleep(0.1)


async def check_topics(bootstrap_servers: str, topics: Sequence[Topic] = TOPICS) -> None:
    """Compare the broker's topics with the code.

    Args:
        bootstrap_servers: the cluster.
        topics: what is needed; `settings.topics()` are a deployment's.

    Raises:
        KafkaAway: the cluster does not answer.
        TopicsDiffer: names every missing topic, wrong partition count and wrong setting.
    """
    async with connected_admin(bootstrap_servers) as admin:
        found = await differences(admin, topics)
    if found:
        raise TopicsDiffer(
            "topics are not as they should be. `ringback topics create` makes the missing ones and alters settings; it "
            "changes no number of partitions:\n" + "\n".join(found)
        )


@asynccontextmanager
async def connected_admin(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a connected client.

    Raises:
        KafkaAway: it cannot connect, or loses its connection.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaAway(
            f"Kafka does not answer at {bootstrap_servers} ({type(error).__name__}). Is it running, and is "
            "RINGBACK_KAFKA_BOOTSTRAP_SERVERS right?"
        ) from error
    finally:
        await admin.close()


async def differences(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    """Return one line for everything about the broker's topics that differs from the code.

    A partition without a leader is no difference: a service that did not start for it would do nothing for the others.
    """
    lines = []
    described = await _partitions(admin, topics)
    present = [topic for topic in topics if topic.name in described]
    for topic in topics:
        leaders = described.get(topic.name)
        if leaders is None:
            lines.append(f"{topic.name}: missing")
            continue
        if len(leaders) != topic.partitions:
            lines.append(f"{topic.name}: {len(leaders)} partitions, needs {topic.partitions}")
    return lines + await _settings_differing(admin, present)


async def _settings_differing(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    """Return one line for every setting of topics that are there that differs from the code."""
    settings = await _settings(admin, topics)
    return [
        f"{topic.name}: {name} is {have and have.value}, needs {value}"
        for topic in topics
        for name, value in topic.settings.items()
        if (have := settings.get(topic.name, {}).get(name)) is None or have.value != value
    ]


async def _settings(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> dict[str, dict[str, Setting]]:
    """Return the settings of topics by their names, each with where its value comes from."""
    if not topics:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics])
    return {
        resource[3]: {entry[0]: Setting(value=entry[1], source=entry[3]) for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }


async def _without_leaders(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    described = await _partitions(admin, topics)
    return [topic.name for topic in topics if topic.name not in described or min(described[topic.name]) < 0]


async def _partitions(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> dict[str, list[int]]:
    """Return, for the topics that are there, each partition's leader; -1 where there is none."""
    described = await admin.describe_topics([topic.name for topic in topics])
    return {
        entry["topic"]: [part["leader"] for part in entry["partitions"]]
        for entry in described
        if not entry["error_code"] and entry["partitions"]
    }
