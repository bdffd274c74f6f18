"""Which database a story is read from: the one that the environment names, or a local run's, ended or not."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.local.kafka import DEFAULT_STATE
from deploy.local.mongo import LocalMongo
from deploy.local.process import StartError, listens
from deploy.local.system import EXAMPLE_DIRECTORY
from services.cli.exits import Cannot, WrongUse, first_and_last
from services.cli.explaining.story import Records
from services.cli.local_run import RECORD, database_of, mongodb_answers
from services.policy.directory import Directory, load_directory
from services.runtime.settings import MongoUrl, RuntimeSettings


class ExplainSettings(RuntimeSettings):
    """Which database and which lender, where the environment names both."""

    mongodb_url: MongoUrl | None = None
    mongodb_database: str = "ringback"
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the records are, and the lender they are about."""

    url: str
    database: str
    directory: Directory


@contextlib.contextmanager
def source_of(run: str, state: Path = DEFAULT_STATE) -> Iterator[Source]:
    """Yield where to read: what RINGBACK_MONGODB_URL and RINGBACK_DIRECTORY name, else the local run of that name.

    The documents of a run that has ended are opened for as long as the block lasts.

    Raises:
        WrongUse: only one of the two is named, there is no such run, or its record is damaged.
        SettingsError: a setting is wrong.
        DirectoryError: RINGBACK_DIRECTORY cannot be read.
        Cannot: the run's documents are gone or cannot be opened.
    """
    settings = ExplainSettings.load(service="explain", kafka_bootstrap_servers="unused:9092")
    if settings.mongodb_url is not None and settings.directory is not None:
        directory = load_directory(settings.directory)
        yield Source(
            url=settings.mongodb_url.get_secret_value(), database=settings.mongodb_database, directory=directory
        )
        return
    if settings.mongodb_url is not None or settings.directory is not None:
        # A local run would be read instead, and its callers taken for the lender's.
        there, missing = ("MONGODB_URL", "DIRECTORY") if settings.directory is None else ("DIRECTORY", "MONGODB_URL")
        raise WrongUse(
            f"RINGBACK_{there} is set, but RINGBACK_{missing} is not",
            "set both to read a deployment's records, or neither to read a local run's",
        )
    again = f"run `ringback {run}` again" if run in ("demo", "replay") else "run it again"
    folder = state / run
    try:
        record = json.loads((folder / RECORD).read_text())
        url, database = str(record["mongodb"]), str(record["database"])
        port = urlsplit(url).port
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WrongUse(
            f"there is no local run called {run!r} in {state.absolute()}",
            "run `ringback demo`, or set RINGBACK_MONGODB_URL and RINGBACK_DIRECTORY",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongUse(f"{folder / RECORD} is damaged", again) from error
    source = Source(url, database, load_directory(EXAMPLE_DIRECTORY))
    if port is None or listens(port):
        yield source
        return
    if not (folder / "mongo" / "data").exists():
        raise Cannot(f"the run {run!r} has ended, and its MongoDB was not one of ours to start again", again)
    try:
        # On the same port, because a replica set knows its members by it.
        server = LocalMongo(folder / "mongo", port=port)
        server.start()
    except StartError as error:
        raise Cannot(
            f"the documents of {run!r} cannot be opened: {' '.join(first_and_last(str(error)))}", again
        ) from error
    try:
        yield source
    finally:
        server.stop()


async def read_records(source: Source, caller: str) -> Records:
    """Return everything on record about a caller.

    Raises:
        Cannot: MongoDB does not answer.
    """
    await mongodb_answers(source.url)
    lender_id = source.directory.lender_id
    with database_of(source.url, source.database) as db:
        lead = await db.leads.find_one({"lender_id": lender_id, "caller": caller})
        return Records(
            lead=lead,
            calls=await _all(db.calls.find({"caller": caller}).sort("started_at", 1)),
            messages=await _all(db.messages.find({"caller": caller})),
            deliveries=await _all(db.deliveries.find({"caller": caller})),
            timers=await _all(db.timers.find({"key": f"{lender_id}:{caller}"})),
            task_log=await _all(db.task_log.find({"lead_id": lead["_id"]})) if lead else [],
        )


async def _all(cursor: Any) -> list[Any]:
    return [document async for document in cursor]
