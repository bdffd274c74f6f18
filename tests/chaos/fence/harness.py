"""Events in, workers that die, and a checker that reads what the broker kept."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from tests.chaos.fence.worker_under_test import chain
from tests.infra.polling import eventually

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("worker_under_test.py")
PARTITIONS = 4
SESSION_S = 6.0


class WorkerEnded(Exception):
    """A worker has ended that should be at work; says with which code, and the end of its log."""


class Worker:
    """One worker process; started again under the same instance name each time."""

    def __init__(self, rig: "Rig", name: str, *options: str) -> None:
        self.rig, self.name, self.options = rig, name, options
        self.instance = name
        self.process: subprocess.Popen[bytes] | None = None
        self.exits: list[int] = []
        self.starts = 0
        self._status = rig.dir / f"{name}.json"
        self.log = rig.dir / f"{name}.log"

    def start(self, *options: str) -> None:
        """Start it (again)."""
        self._status.unlink(missing_ok=True)
        self.starts += 1
        arguments = {
            "--bootstrap": self.rig.bootstrap,
            "--app": self.rig.app,
            "--topics": ",".join(self.rig.sources),
            "--out": self.rig.out,
            "--instance": self.instance,
            "--data-dir": str(self.rig.dir / f"data-{self.name}"),
            "--status": str(self._status),
            "--session-s": str(SESSION_S),
        }
        words = [word for pair in arguments.items() for word in pair]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), *words, *self.options, *options],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def status(self) -> dict[str, Any]:
        """Return what it last said of itself."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(self._status.read_text())
            return found
        return {}

    def ended(self) -> int | None:
        """Return its exit code, None while it runs."""
        return None if self.process is None else self.process.poll()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    async def listens(self, limit_s: float = 40.0) -> None:
        """Return once it has installed its signal handlers, or has ended: before that, SIGTERM simply kills it."""
        await eventually(lambda: self.status() or self.ended() is not None, limit_s, f"{self.name} listens to signals")

    async def wait(self, limit_s: float = 30.0) -> int:
        """Return the exit code once it has ended."""
        await eventually(lambda: self.ended() is not None, limit_s, f"{self.name} ends")
        code = self.ended()
        assert code is not None
        self.exits.append(code)
        return code

    async def ready(self, limit_s: float = 40.0) -> dict[str, Any]:
        """Return its status once it is ready."""

        def look() -> dict[str, Any]:
            if self.ended() is not None:
                raise WorkerEnded(f"{self.name} ended with {self.ended()}: {self.tail()}")
            said = self.status()
            assert said.get("ready"), f"{said}; {self.tail()}"
            return said

        return await eventually(look, limit_s, f"{self.name} is ready")

    async def at_end(self, limit_s: float = 40.0) -> None:
        """Return once it has finished every event of its partitions, those sent just before the call included."""
        before = await self.ready(limit_s)

        def is_at_end() -> bool:
            # The next status may have been begun before the call; the one after it was not.
            now = self.status()
            is_new = now.get("pid") != before["pid"] or now.get("told", 0) > before["told"] + 1
            return is_new and now.get("pending") == 0

        await eventually(is_at_end, limit_s, f"{self.name} is at the end")

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def end(self) -> None:
        """End it for good, however it stands."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass
class Rig:
    """One app on one broker: its topics, its workers, and what was put in."""

    bootstrap: str
    app: str
    dir: Path
    keys: int = 40
    workers: list[Worker] = field(default_factory=list)
    sent: dict[str, list[str]] = field(default_factory=dict)
    fed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.sources = [f"{self.app}-in", f"{self.app}-too"]
        self.out, self.changelog = f"{self.app}-out", f"{self.app}-rows-changelog"

    def worker(self, name: str, *options: str) -> Worker:
        """Make a worker; it is not started."""
        made = Worker(self, name, *options)
        self.workers.append(made)
        return made

    def source_of(self, key: str) -> str:
        """Return the topic that a key's events usually stand in."""
        return self.sources[sum(key.encode()) % 2]

    async def create_topics(self, **out_configs: str) -> None:
        """Create what the app needs."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        plain = [*self.sources, *(f"{topic}.dlq" for topic in self.sources)]
        topics = [NewTopic(topic, PARTITIONS, 1) for topic in plain]
        topics.append(NewTopic(self.out, PARTITIONS, 1, topic_configs=out_configs))
        topics.append(NewTopic(self.changelog, PARTITIONS, 1, topic_configs={"cleanup.policy": "compact"}))
        await admin.create_topics(topics)
        await admin.close()
        await self.read(self.out)  # the leaders are known once something could be read

    async def allow_large_outputs(self) -> None:
        """Take the limit off the output topic."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, self.out, {"max.message.bytes": "1000000"})]
        )
        await admin.close()

    async def send(
        self,
        count: int,
        *,
        rate: float = 0.0,
        keys: Iterable[str] | None = None,
        other_topic: bool = False,
        **more: Any,
    ) -> None:
        """Put in `count` events round the keys, one source per key (or the other one), at `rate` a second (0: at once)."""
        names = list(keys or (f"key-{i}" for i in range(self.keys)))
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            began, acks = time.monotonic(), []
            for i in range(count):
                key = names[i % len(names)]
                past = self.sent.setdefault(key, [])
                event_id = f"{key}-{len(past) + 1}"
                value = json.dumps({"id": event_id, "seq": len(past) + 1, **more}).encode()
                own = self.source_of(key)
                topic = own if not other_topic else next(name for name in self.sources if name != own)
                acks.append(await producer.send(topic, value, key=key.encode()))
                past.append(event_id)
                if rate and (late := began + i / rate - time.monotonic()) > 0:
                    await asyncio.sleep(late)
            await asyncio.gather(*acks)
        finally:
            await producer.stop()

    async def feed(self, rate: float) -> None:
        """Put in events round the keys at `rate` a second until `fed` is set; the broker may go and come back."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, request_timeout_ms=20_000
        )
        await producer.start()
        acks: list[Any] = []
        try:
            i, began = 0, time.monotonic()
            while not self.fed.is_set():
                key = f"key-{i % self.keys}"
                past = self.sent.setdefault(key, [])
                event_id = f"{key}-{len(past) + 1}"
                value = json.dumps({"id": event_id, "seq": len(past) + 1}).encode()
                acks.append(await producer.send(self.source_of(key), value, key=key.encode()))
                past.append(event_id)
                i += 1
                if (late := began + i / rate - time.monotonic()) > 0:
                    await asyncio.sleep(late)
            await asyncio.gather(*acks)
        finally:
            await producer.stop()

    async def read(self, topic: str) -> list[Any]:
        """Return every record of a topic, partition by partition."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, i) for i in range(PARTITIONS)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            records: list[Any] = []
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    found = await consumer.getmany(partition, timeout_ms=500)
                    records += [record for batch in found.values() for record in batch]
            return records
        finally:
            await consumer.stop()

    async def rows(self) -> dict[str, dict[str, Any] | None]:
        """Return the rows as a recovery would find them: the last record of each key."""
        return {
            record.key.decode(): None if record.value is None else json.loads(record.value)
            for record in await self.read(self.changelog)
        }

    async def outputs(self) -> dict[str, list[str]]:
        """Return the ids that came out, by key, in order, repeats included."""
        found: dict[str, list[str]] = {}
        for record in await self.read(self.out):
            found.setdefault(record.key.decode(), []).append(record.value.decode().rstrip("x"))
        return found

    async def committed(self) -> int:
        """Return the sum of the offsets the app has committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return sum(found.offset for found in (await admin.list_consumer_group_offsets(self.app)).values())
        finally:
            await admin.close()

    async def all_out(self, limit_s: float = 60.0) -> bool:
        """Wait for every output; say whether they all came."""

        async def complete() -> bool:
            with suppress(KafkaError):  # the broker may be away
                found = await self.outputs()
                if all(set(ids) <= set(found.get(key, ())) for key, ids in self.sent.items()):
                    return True
            self.tend()
            return False

        try:
            return await eventually(complete, limit_s, "every output is there", every_s=0.3)
        except AssertionError:
            return False

    def tend(self) -> None:
        """Start workers again that ended by themselves, as whatever runs them in life does."""
        for worker in self.workers:
            code = worker.ended()
            if code is not None:
                worker.exits.append(code)
                worker.start()

    async def wrong(self) -> list[str]:
        """Return everything that is not as it must be: rows exact, each output there, first copies in order."""
        rows, outputs = await self.rows(), await self.outputs()
        found = []
        for key, ids in self.sent.items():
            folded = 0
            for event_id in ids:
                folded = chain(folded, event_id)
            row = rows.get(key) or {}
            if (row.get("n"), row.get("last"), row.get("chain")) != (len(ids), ids[-1], folded):
                found.append(f"row of {key} is {row.get('n')} events to {row.get('last')}, not {len(ids)} to {ids[-1]}")
            out = outputs.get(key, [])
            if list(dict.fromkeys(out)) != ids:
                missing = [event_id for event_id in ids if event_id not in out]
                found.append(f"outputs of {key}: missing {missing}" if missing else f"outputs of {key}: out of order")
        return found

    async def stop_all(self) -> list[int]:
        """Stop every worker with SIGTERM; return the exit codes."""
        started = [worker for worker in self.workers if worker.process is not None]
        for worker in started:
            worker.signal(signal.SIGCONT)
            await worker.listens()
            worker.signal(signal.SIGTERM)
        return [await worker.wait() for worker in started]


@asynccontextmanager
async def rig_on(bootstrap: str, app: str, folder: Path, **out_configs: str) -> AsyncIterator[Rig]:
    """Make a rig; every process it started is gone at the end."""
    rig = Rig(bootstrap, app, folder)
    await rig.create_topics(**out_configs)
    try:
        yield rig
    finally:
        for worker in rig.workers:
            worker.end()
