"""A whole Ringback of our own for demo, replay and bench: Kafka, MongoDB, sandbox and every service, in `.ringback/<name>`."""

import asyncio
import fcntl
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import ConfigurationError, PyMongoError

from deploy.local.kafka import DEFAULT_STATE
from deploy.local.stack import Stack
from deploy.local.system import MODULES, System, SystemFailure, fresh_name
from schemas.topics import TOPICS, topics_of
from services.cli.exits import Cannot, WrongUse, first_and_last
from services.runtime.clock import write_clock
from services.runtime.mongo_errors import is_login_refused
from services.runtime.settings import check_named_servers
from services.runtime.topics_admin import create_topics

RECORD = "system.json"
MONGODB_LIMIT_S = 5.0
"""How long a command looks for MongoDB before it says that it is away."""


@dataclass(kw_only=True)
class Run:
    """What is running."""

    stack: Stack
    system: System
    clock_path: Path
    db: Any

    @property
    def ingest_url(self) -> str:
        """Where webhooks go."""
        return self.system.ingest_url

    async def busy_with(self, http: aiohttp.ClientSession) -> list[str]:
        """Return what is still under way."""
        return await self.system.busy_with(http)

    def ended(self) -> list[str]:
        """Return the processes that ended by themselves."""
        return self.system.ended()

    async def next_due(self, http: aiohttp.ClientSession) -> datetime | None:
        """Return when the next timer, held text or simulated borrower is due (virtual)."""
        timer, held, acts = await asyncio.gather(
            self.db.timers.find_one({"state": "pending"}, sort=[("due", 1)]),
            self.db.deliveries.find_one({"state": "accepted"}, sort=[("not_before", 1)]),
            self._next_act(http),
        )
        found = [timer["due"]] if timer else []
        found += [held["not_before"]] if held else []
        found += [acts] if acts else []
        return min(found, default=None)

    async def _next_act(self, http: aiohttp.ClientSession) -> datetime | None:
        async with http.get(f"{self.system.sandbox_url}/idle") as answer:
            act = (await answer.json())["next_act_at"]
        return datetime.fromisoformat(act) if act else None


@contextmanager
def database_of(url: str, name: str) -> Iterator[Any]:
    """Yield a MongoDB database for reading."""
    client: Any = AsyncIOMotorClient(url, tz_aware=True, serverSelectionTimeoutMS=int(MONGODB_LIMIT_S * 1000))
    try:
        yield client[name]
    finally:
        client.close()


async def mongodb_answers(url: str) -> None:
    """Return when MongoDB answers.

    Raises:
        WrongUse: the driver cannot use the URL, or MongoDB refuses its login.
        Cannot: MongoDB does not answer.
    """
    # Without the part before "@": that is where a URL carries its password.
    where = url.rpartition("@")[2].removeprefix("mongodb://")
    try:
        with database_of(url, "admin") as admin:
            await admin.command("ping")
    except ConfigurationError as error:  # what can only be seen by asking, such as a name that no name server knows
        raise WrongUse(f"MongoDB at {where} cannot be used", "correct RINGBACK_MONGODB_URL") from error
    except PyMongoError as error:
        if is_login_refused(error):
            raise WrongUse(
                f"MongoDB at {where} refuses the login", "correct the user and password in RINGBACK_MONGODB_URL"
            ) from error
        raise Cannot(
            f"MongoDB at {where} does not answer ({type(error).__name__})",
            "start it, or name another in RINGBACK_MONGODB_URL",
        ) from error


@asynccontextmanager
async def local_run(
    name: str,
    virtual_start: datetime | None,
    say: Callable[[str], None],
    *,
    sandbox_args: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    state: Path = DEFAULT_STATE,
) -> AsyncIterator[Run]:
    """Start everything in a folder of its own, wiped first; stop everything at the end.

    Args:
        name: of the folder under `.ringback`; one run of a name at a time.
        virtual_start: where the clock stands still at first; None runs on the system's clock.
        say: told what happens, a line each.
        sandbox_args: more arguments for the sandbox.
        without: processes that are not started.
        env: more settings for the services.
        state: the folder of all local things.

    Raises:
        SettingsError: RINGBACK_KAFKA_BOOTSTRAP_SERVERS or RINGBACK_MONGODB_URL is wrong.
        Cannot: the folder cannot be used, another run of that name is under way, a process ended, or the cluster is not empty.
        StartError: Kafka or MongoDB is missing; says which and what installs it.
    """
    check_named_servers()
    folder = (state / name).absolute()
    with _fresh(folder, name):
        stack = Stack(folder, state=state, say=say)
        try:
            say("starting Kafka and MongoDB")
            await asyncio.to_thread(stack.start)
            await mongodb_answers(stack.mongodb)
            say("creating the topics")
            prefix = f"{fresh_name()}-"
            made = await create_topics(stack.kafka, 1, topics_of(prefix))
            if len(made) <= 1 and (full := await _with_records(stack.kafka)):
                raise Cannot(
                    f"{stack.kafka} already holds Ringback's events ({full})",
                    "name an empty cluster in RINGBACK_KAFKA_BOOTSTRAP_SERVERS, or none, and one is started here",
                )
            clock = folder / "clock.json"
            if virtual_start is not None:
                write_clock(clock, virtual_start, 0.0)
            system = System(
                stack.kafka,
                stack.mongodb,
                folder,
                database=fresh_name(),
                group_prefix=prefix,
                clock=str(clock) if virtual_start is not None else "system",
                sandbox_args=sandbox_args,
                without=without,
                env=env or {},
                say=say,
            )
            say(f"starting {', '.join(name for name in MODULES if name not in without)}")
            async with system:
                (folder / RECORD).write_text(json.dumps({"mongodb": stack.mongodb, "database": system.database}))
                with database_of(stack.mongodb, system.database) as db:
                    yield Run(stack=stack, system=system, clock_path=clock, db=db)
        except SystemFailure as error:
            what, last = first_and_last(str(error))
            raise Cannot(f"{what} {last}".rstrip(), f"the logs of all processes are in {folder}") from error
        finally:
            stack.stop()


@contextmanager
def _fresh(folder: Path, name: str) -> Iterator[None]:
    """Have an empty folder that no other run uses for as long as the block lasts."""
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(folder.with_name(f"{name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            folder.mkdir()
        except BlockingIOError as error:
            raise Cannot(
                f"another `ringback {name}` is running here", "stop it first (Ctrl-C in its terminal)"
            ) from error
        except OSError as error:
            raise Cannot(
                f"{folder} cannot be used: {error.strerror}", "it must be a folder that you may write to"
            ) from error
        yield


async def _with_records(bootstrap_servers: str) -> str | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    await consumer.start()
    try:
        for topic in TOPICS:
            parts = [TopicPartition(topic.name, n) for n in range(topic.partitions)]
            begins, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
            if any(ends[part] > begins[part] for part in parts):
                return topic.name
    finally:
        await consumer.stop()
    return None
