"""The sequencer's rate beside a bare aiokafka loop with the same decide and the same writes, one after the other."""

import asyncio
import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console

from deploy.local.kafka import DEFAULT_STATE
from deploy.local.stack import Stack
from deploy.local.system import System, fresh_name
from schemas import ids
from schemas.base import LocalTime
from schemas.envelope import Event, encode
from schemas.leads import CallOfLead, LeadOpened, LeadSnapshot
from schemas.topics import BY_NAME, Topic, topics_of
from services.cli.benching.latency import caller_of
from services.cli.local_run import mongodb_answers
from services.runtime.clock import monotonic_s
from services.runtime.topics_admin import create_topics
from services.sequencer.adapters.cadences import load_cadences
from services.sequencer.shell import handler

AT = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
DONE_LIMIT_S = 180.0
SOURCES = ("leads", "touch-results", "sequencer-ticks")


def opened(n: int) -> Event[LeadOpened]:
    """Return the nth lead's first event."""
    caller = caller_of(n)
    lead, call = ids.lead_id(str(n)), f"CA{n:032x}"
    snapshot = LeadSnapshot(
        lead_id=lead,
        caller=caller,
        branch_id="new-york",
        first_contact_at=AT,
        opened_by_call=call,
        owner_id="dana-whitfield",
    )
    data = LeadOpened(
        lead_id=lead,
        lead_seq=1,
        caller=caller,
        texting="open",
        cause=call,
        lead=snapshot,
        call=CallOfLead(call_id=call, outcome="missed", ended_at=AT),
        local_day=date(2026, 3, 10),
        callback_morning=LocalTime(on=date(2026, 3, 11), at=time(8, 30), zone="America/New_York"),
    )
    return Event(
        id=f"{lead}:1",
        data=data,
        source="bench",
        time=AT + timedelta(milliseconds=n),
        key=ids.partition_key("larkspur", caller),
        lender_id="larkspur",
        branch_id="new-york",
        received_at=AT,
    )


async def measure_sequencer(events: int, console: Console) -> dict[str, Any]:
    """Return events per second of both, from the broker's own append times of what they emitted."""
    folder = (DEFAULT_STATE / "bench-sequencer").absolute()
    stack = Stack(folder / fresh_name(), say=lambda line: console.print(f"  {line}"))
    try:
        await asyncio.to_thread(stack.start)
        await mongodb_answers(stack.mongodb)
        prefix = f"{fresh_name()}-"
        bare_log = Topic("bench-changelog", cleanup="compact")
        await create_topics(stack.kafka, 1, [*topics_of(prefix), bare_log])
        await _fill(stack.kafka, events)
        console.print(f"  {events} events are in Kafka; the bare loop first")
        bare = await _rate(stack.kafka, events, _bare_loop(stack.kafka, bare_log.name, events))
        console.print("  now the sequencer itself")
        system = System(stack.kafka, stack.mongodb, folder, group_prefix=prefix)
        try:
            ours = await _rate(stack.kafka, events, system.start("sequencer"))
        finally:
            await system.stop()
    finally:
        stack.stop()
    return {"events": events, "events_per_s": {"bare aiokafka loop": bare, "sequencer (Faust in its fence)": ours}}


async def _fill(servers: str, events: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    try:
        for start in range(0, events, 1000):
            wires = [encode(opened(n)) for n in range(start, min(events, start + 1000))]
            await asyncio.gather(
                *[await producer.send(wire.topic, wire.value, key=wire.key, headers=wire.headers) for wire in wires]
            )
    finally:
        await producer.stop()


async def _rate(servers: str, events: int, work: Any) -> float:
    """Run work until `events` more touches are in Kafka; return the rate between the first and the last tenth-percent."""
    parts = [TopicPartition("touches", n) for n in range(BY_NAME["touches"].partitions)]
    reader = AIOKafkaConsumer(bootstrap_servers=servers, max_partition_fetch_bytes=8 << 20)
    await reader.start()
    try:
        begin = await reader.end_offsets(parts)
        task = asyncio.ensure_future(work)
        until = monotonic_s() + DONE_LIMIT_S
        while sum((await reader.end_offsets(parts)).values()) - sum(begin.values()) < events:
            if task.done() and task.exception():
                raise task.exception()
            if monotonic_s() > until:
                raise TimeoutError(f"not {events} touches after {DONE_LIMIT_S:.0f} s")
            await asyncio.sleep(0.2)
        await task
        reader.assign(parts)
        for part in parts:
            reader.seek(part, begin[part])
        stamps: list[int] = []
        while len(stamps) < events:
            for records in (await reader.getmany(timeout_ms=500)).values():
                stamps += [record.timestamp for record in records]
        return (events - 1) / max(0.001, (max(stamps) - min(stamps)) / 1000)
    finally:
        await reader.stop()


async def _bare_loop(servers: str, changelog: str, events: int) -> None:
    """The least that does the same work: read, decide on a dict, send, write the row, await the acks, commit."""
    handle = handler(load_cadences())
    rows: dict[bytes, Any] = {}
    consumer = AIOKafkaConsumer(
        *SOURCES,
        bootstrap_servers=servers,
        group_id=fresh_name(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=1)
    await consumer.start()
    await producer.start()
    done = 0
    try:
        while done < events:
            acks = []
            for records in (await consumer.getmany(timeout_ms=200, max_records=256)).values():
                for record in records:
                    out = handle(record.key, record.value, record.headers, rows.get(record.key))
                    for wire in out.sends:
                        acks.append(await producer.send(wire.topic, wire.value, key=wire.key, headers=wire.headers))
                    if out.changed:
                        rows[record.key] = out.row
                        acks.append(await producer.send(changelog, json.dumps(out.row).encode(), key=record.key))
                done += len(records)
            await asyncio.gather(*acks)
            await consumer.commit()
    finally:
        await consumer.stop()
        await producer.stop()
