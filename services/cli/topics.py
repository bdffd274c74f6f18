"""`ringback topics create | check`: the topics of one deployment (RINGBACK_GROUP_PREFIX, RINGBACK_TOPIC_PARTITIONS)."""

import asyncio
from typing import Annotated

import typer

from services.cli.exits import Cannot
from services.runtime.settings import RuntimeSettings
from services.runtime.topics_admin import TopicsDiffer, check_topics, create_topics

app = typer.Typer(
    help="Create the topics, or check that the broker has them as this version needs them.", no_args_is_help=True
)


@app.command()
def create(
    replication: Annotated[int, typer.Option(min=1, help="copies of each partition; 1 only on one machine")] = 3,
) -> None:
    """Create the topics that are missing; exit 1 when one that exists is not as this version needs it."""
    settings = RuntimeSettings.load(service="topics")
    made = asyncio.run(_create(settings, replication))
    print(f"created {len(made)}: {', '.join(made)}" if made else "all topics exist already, as they should be")


@app.command()
def check() -> None:
    """Compare the broker's topics with this version; exit 1 on any difference."""
    settings = RuntimeSettings.load(service="topics")
    asyncio.run(check_topics(settings.kafka_bootstrap_servers, settings.topics()))
    print("all topics are as they should be")


async def _create(settings: RuntimeSettings, replication: int) -> list[str]:
    made = await create_topics(settings.kafka_bootstrap_servers, replication, settings.topics())
    try:
        await check_topics(settings.kafka_bootstrap_servers, settings.topics())
    except TopicsDiffer as error:
        raise Cannot(
            f"created {len(made)} topics, but {'; '.join(str(error).splitlines()[1:])}",
            "a topic that exists is never changed from here: alter it with Kafka's own tools, or delete it and run this again",
        ) from error
    return made
