"""`ringback topics create | check`: the topics of one deployment (RINGBACK_GROUP_PREFIX, RINGBACK_TOPIC_PARTITIONS)."""

import asyncio
from typing import Annotated

import typer

from services.cli.exits import Cannot
from services.runtime.settings import RuntimeSettings
from services.runtime.topics_admin import TopicsDiffer, alter_topics, check_topics, create_topics, other_deployments

app = typer.Typer(
    help="Create the topics, or check that the broker has them as this version needs them.", no_args_is_help=True
)


@app.command()
def create(
    replication: Annotated[int, typer.Option(min=1, help="copies of each partition; 1 only on one machine")] = 3,
    shared: Annotated[
        bool, typer.Option("--shared", help="although another deployment's changelog is on this cluster")
    ] = False,
) -> None:
    """Create the topics that are missing and alter settings of those that exist; exit 1 when one is still not right."""
    settings = RuntimeSettings.load(service="topics")
    if not shared:
        asyncio.run(_refuse_another_deployment(settings))
    made, altered = asyncio.run(_create(settings, replication))
    done = [
        f"{what} {len(names)}: {', '.join(names)}" for what, names in (("created", made), ("altered", altered)) if names
    ]
    print("\n".join(done) or "all topics exist already, as they should be")


@app.command()
def check() -> None:
    """Compare the broker's topics with this version; exit 1 on any difference."""
    settings = RuntimeSettings.load(service="topics")
    asyncio.run(check_topics(settings.kafka_bootstrap_servers, settings.topics()))
    print("all topics are as they should be")


async def _refuse_another_deployment(settings: RuntimeSettings) -> None:
    """Return only if no other deployment uses the cluster: RINGBACK_GROUP_PREFIX keeps groups apart, but no events."""
    if others := await other_deployments(settings.kafka_bootstrap_servers, settings.group_prefix):
        raise Cannot(
            f"another deployment uses this cluster ({', '.join(others)}): each would handle the other's events",
            "give each deployment a cluster of its own; where the other one is gone, delete its changelog or add --shared",
        )


async def _create(settings: RuntimeSettings, replication: int) -> tuple[list[str], list[str]]:
    servers, topics = settings.kafka_bootstrap_servers, settings.topics()
    made = await create_topics(servers, replication, topics)
    altered = await alter_topics(servers, topics)
    try:
        await check_topics(servers, topics)
    except TopicsDiffer as error:
        raise Cannot(
            f"created {len(made)} topics and altered {len(altered)}, but {'; '.join(str(error).splitlines()[1:])}",
            "a number of partitions is never changed from here: delete the topic and run this again",
        ) from error
    return made, altered
