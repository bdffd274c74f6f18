"""Where the time of each first text went, from the events' own append times in Kafka and the delivery's own stages."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.envelope import UndecodableEvent, decode
from schemas.leads import LeadCalledAgain, LeadOpened
from schemas.topics import BY_NAME
from schemas.touches import TouchDue

# "notifier" is until the touch is in `deliveries`, "gate" until the request at the provider.
STAGES = ("ingest", "leads", "sequencer", "notifier", "gate", "provider")


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTextTiming:
    """Where one first text's time went, in milliseconds by stage; real time."""

    caller: str
    touch_id: str
    received: datetime
    stages: Mapping[str, float]

    @property
    def to_request_ms(self) -> float:
        """From the deciding webhook's receipt to the request at the provider."""
        return sum(ms for stage, ms in self.stages.items() if stage != "provider")

    @property
    def to_accepted_ms(self) -> float:
        """From the deciding webhook's receipt to the provider's acceptance."""
        return sum(self.stages.values())


async def read_topic(bootstrap_servers: str, topic: str) -> list[Any]:
    """Return every record of a topic, in the order of its partitions."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", max_partition_fetch_bytes=8 << 20
    )
    await consumer.start()
    try:
        parts = [TopicPartition(topic, n) for n in range(BY_NAME[topic].partitions)]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        left = {part for part, end in ends.items() if end > 0}
        records: list[Any] = []
        while left:
            for part, batch in (await consumer.getmany(*left, timeout_ms=500)).items():
                records += batch
                if batch[-1].offset + 1 >= ends[part]:
                    left.discard(part)
            for part in list(left):
                if await consumer.position(part) >= ends[part]:
                    left.discard(part)
        return records
    finally:
        await consumer.stop()


def _at(record: Any) -> datetime:
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


async def first_text_timings(bootstrap_servers: str, deliveries: Iterable[Mapping[str, Any]]) -> list[FirstTextTiming]:
    """Return the timing of every first text that the provider was asked to send.

    Append times have a resolution of one millisecond, so a stage may be off by one.
    """
    calls, leads, touches = await asyncio.gather(
        *(read_topic(bootstrap_servers, topic) for topic in ("call-events", "leads", "touches"))
    )
    decided: dict[str, datetime] = {}
    opened: dict[tuple[str, int], tuple[str, datetime]] = {}
    due: dict[str, datetime] = {}
    for record in calls:
        head = dict(record.headers)
        if raw := head.get("ce_ringbackreceived"):
            decided.setdefault(raw.decode(), _at(record))
    for record in (*leads, *touches):
        try:
            event = decode(record.key, record.value, record.headers)
        except UndecodableEvent:
            continue
        if isinstance(event.data, LeadOpened | LeadCalledAgain) and event.received_at is not None:
            received_iso = event.received_at.isoformat()
            opened.setdefault((event.data.lead_id, _ms(received_iso)), (received_iso, _at(record)))
        elif isinstance(event.data, TouchDue):
            due.setdefault(event.data.touch_id, _at(record))
    timings = []
    for doc in deliveries:
        received = doc.get("received_real")
        if not doc.get("first_of_sequence") or received is None or doc.get("posted_real") is None:
            continue
        # MongoDB keeps milliseconds, the header microseconds.
        found = opened.get((doc["lead_id"], _ms(received.isoformat())))
        if found is None:
            continue
        iso, told = found
        marks = [
            received,
            decided.get(iso, received),
            told,
            due.get(doc["_id"], told),
            doc["accepted_real"],
            doc["posted_real"],
            doc.get("answered_real") or doc["posted_real"],
        ]
        spans = [max(0.0, (b - a).total_seconds() * 1000) for a, b in pairwise(marks)]
        stages = dict(zip(STAGES, spans, strict=True))
        timings.append(FirstTextTiming(caller=doc["caller"], touch_id=doc["_id"], received=received, stages=stages))
    return timings


def _ms(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp() * 1000)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed (nearest rank); 0.0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
