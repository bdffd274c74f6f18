"""Reading what a run left behind: MongoDB, the topics, the changelog and the sandbox, into one history."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from motor.motor_asyncio import AsyncIOMotorClient

from deploy.local.system import System
from schemas.topics import BY_NAME, TOPICS, Topic, topics_of
from services.sequencer.adapters.fence.table import digest
from tests.chaos.system.history import Appended, Away, History, Posted
from tests.chaos.system.load import Load

COLLECTIONS = {
    "leads": "lead_documents", "calls": "call_documents", "messages": "message_documents",
    "deliveries": "delivery_documents", "task_log": "task_log",
}  # fmt: skip
READ_LIMIT_MS = 2000


@dataclass(kw_only=True)
class Held:
    """What was asked of live processes; see `History`."""

    row_digests: dict[str, Mapping[int, str]] = field(default_factory=dict)
    reconciled: Mapping[str, int] = field(default_factory=dict)
    unsafe: int = 0
    died_unsafe: frozenset[str] = frozenset()
    away: Sequence[Away] = ()
    twiml_limit_s: float = 3.0


def unsafe_in(log: Iterable[str]) -> tuple[int, frozenset[str]]:
    """Return, of the log of one ingest over its lives, how many calls went on without a safe event, and which events died.

    An event died where its life ended while it was in memory and said nothing: only kill -9 does that. A life that is told to
    stop names what it loses (`unsafe_event_lost`), and no such event is forgiven.
    """
    calls, held, died = 0, set[str](), set[str]()
    for line in log:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # a traceback, or a line that a kill cut off
        match said.get("event"):
            case "settings":  # the first line of a life
                died |= held
                held = set()
            case "call_goes_on_unsafe":
                calls += 1
                held |= set(said["ids"])
            case "unsafe_made_safe" | "unsafe_event_lost":
                held.discard(said["id"])
    return calls, frozenset(died)


async def collect(system: System, kafka: str, mongodb: str, load: Load, held: Held) -> History:
    """Return the history of a run that has come to rest.

    Args:
        system: any instance.
        kafka: bootstrap servers.
        mongodb: URL.
        load: what was sent in.
        held: what only processes that were alive could tell.
    """
    client: Any = AsyncIOMotorClient(mongodb, tz_aware=True)
    try:
        db = client[system.database]
        found = {field: [d async for d in db[name].find({})] for name, field in COLLECTIONS.items()}
        pending = [document async for document in db.timers.find({"state": "pending"})]
    finally:
        client.close()
    changelog = next(topic for topic in topics_of(system.group_prefix) if topic.cleanup == "compact")
    kept: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    for record in await _read(kafka, changelog):
        key = record.key or b""
        if record.value is None:
            kept[record.partition].pop(key, None)
        else:
            kept[record.partition][key] = record.value
    rows = {key.decode(): json.loads(value) for found_ in kept.values() for key, value in found_.items()}
    digests = {partition: digest(found_.items()) for partition, found_ in kept.items() if found_}
    appended = [
        _appended(record) for name in ("call-events", "replies") for record in await _read(kafka, BY_NAME[name])
    ]
    letters = {topic.name: len(await _read(kafka, topic)) for topic in TOPICS if topic.name.endswith(".dlq")}
    return History(
        calls=load.calls,
        texts=load.texts,
        webhooks=load.webhooks,
        posted=await _posted(system.sandbox_url),
        appended=appended,
        pending_timers=pending,
        rows=rows,
        row_digests={"the changelog": digests, **held.row_digests},
        reconciled=held.reconciled,
        unsafe=held.unsafe,
        died_unsafe=held.died_unsafe,
        away=held.away,
        twiml_limit_s=held.twiml_limit_s,
        dead_letters=letters,
        **found,
    )


async def _read(kafka: str, topic: Topic) -> list[ConsumerRecord[bytes, bytes]]:
    """Return every record of a topic, in the order of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, n) for n in range(topic.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[ConsumerRecord[bytes, bytes]] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=READ_LIMIT_MS)).values():
                found.extend(records)
        return found
    finally:
        await consumer.stop()


def _appended(record: ConsumerRecord[bytes, bytes]) -> Appended:
    head = {name: value.decode() for name, value in record.headers}
    data = json.loads(record.value or b"{}")
    return Appended(
        event_id=head["ce_id"],
        type=head["ce_type"],
        caller=(record.key or b"").decode().rpartition(":")[2],
        call_id=data.get("call_id", ""),
        body=data.get("body", ""),
        status=data.get("status", ""),
        at_s=record.timestamp / 1000,
    )


async def _posted(sandbox_url: str) -> list[Posted]:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{sandbox_url}/_control/requests") as answer:
            requests: list[dict[str, Any]] = (await answer.json())["requests"]
        async with http.get(f"{sandbox_url}/_control/messages", params={"direction": "outbound-api"}) as answer:
            messages = {message["sid"]: message for message in (await answer.json())["messages"]}
    return [
        _post(request, messages.get(request.get("sid", "")))
        for request in requests
        if request["method"] == "POST" and request["path"].endswith("/Messages.json")
    ]


def _post(request: Mapping[str, Any], message: Mapping[str, Any] | None) -> Posted:
    at_s, to = request["received_real_epoch"], request.get("to", "")
    virtual = datetime.fromisoformat(request["virtual_at"])
    if message is None:
        return Posted(to=to, at_s=at_s, virtual_at=virtual)
    query = parse_qs(urlsplit(message["status_callback"] or "").query)
    return Posted(
        to=to,
        at_s=at_s,
        virtual_at=virtual,
        sid=message["sid"],
        error_code=message["error_code"],
        touch_id=next(iter(query.get("touch", [])), None),
    )
