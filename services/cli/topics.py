"""`ringback topics create | check`: the topics as code."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, TypeVar

import typer

from services.cli.exits import Cannot
from services.runtime.settings import RuntimeSettings
from services.runtime.topics_admin import KafkaAway, TopicsDiffer, check_topics, create_topics

app = typer.Typer(
    help="Create the topics, or check that the broker has them as this version needs them.", no_args_is_help=True
)
LIMIT_S = 60.0
"""A broker that takes connections and answers nothing must not hold a deployment's job for good."""

T = TypeVar("T")


@app.command()
def create(
    replication: Annotated[int, typer.Option(min=1, help="copies of each partition; 1 only on one machine")] = 3,
) -> None:
    """Create the topics that are missing; exit 1 when one that exists is not as this version needs it."""
    settings = RuntimeSettings.load(service="topics")
    made = asyncio.run(_create(settings, replication))
    print(f"created {len(made)}: {', '.join(made)}" if made else "all topics exist already")


@app.command()
def check() -> None:
    """Compare the broker's topics with this version; exit 1 on any difference."""
    settings = RuntimeSettings.load(service="topics")
    asyncio.run(_check(settings))
    print("all topics are as they should be")


async def _create(settings: RuntimeSettings, replication: int) -> list[str]:
    topics = settings.topics()
    servers = settings.kafka_bootstrap_servers
    made = await _answered(create_topics(servers, replication, topics), servers)
    try:
        await _answered(check_topics(servers, topics), servers)
    except TopicsDiffer as error:
        raise Cannot(
            f"created {len(made)}, but {'; '.join(str(error).splitlines()[1:])}",
            "a topic that exists is never changed from here: alter it with Kafka's own tools, or remove it and create it again",
        ) from error
    return made


async def _check(settings: RuntimeSettings) -> None:
    await _answered(
        check_topics(settings.kafka_bootstrap_servers, settings.topics()),
        settings.kafka_bootstrap_servers,
    )


async def _answered(work: Awaitable[T], servers: str) -> T:
    try:
        async with asyncio.timeout(LIMIT_S):
            return await work
    except (KafkaAway, TimeoutError) as error:
        raise Cannot(
            f"Kafka at {servers} does not answer",
            "start it, or name another in RINGBACK_KAFKA_BOOTSTRAP_SERVERS",
        ) from error
