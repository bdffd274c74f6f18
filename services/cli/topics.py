"""`ringback topics create | check`: the topics as code."""

import asyncio
import sys
from typing import Annotated

import typer

from services.runtime.errors import PermanentError
from services.runtime.settings import RuntimeSettings
from services.runtime.topics_admin import check_topics, create_topics

app = typer.Typer(help="Create the topics, or check that the broker has them as this version needs them.")


@app.command()
def create(
    replication: Annotated[int, typer.Option(help="copies of each partition; 1 only on one machine")] = 3,
) -> None:
    """Create the topics that are missing."""
    settings = RuntimeSettings.load_or_exit(service="topics")
    try:
        made = asyncio.run(create_topics(settings.kafka_bootstrap_servers, replication))
    except PermanentError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error
    print(f"created {len(made)}: {', '.join(made)}" if made else "all topics were there already")


@app.command()
def check() -> None:
    """Compare the broker's topics with this version; exit 1 on any difference."""
    settings = RuntimeSettings.load_or_exit(service="topics")
    try:
        asyncio.run(check_topics(settings.kafka_bootstrap_servers))
    except PermanentError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error
    print("all topics are as they should be")
