"""CloudEvents 1.0 in Kafka's binary mode: attributes as headers, the event's data as the JSON value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from pydantic import ValidationError

from schemas.base import EventData
from schemas.calls import CALL_EVENTS
from schemas.inbound import ReceiptReceived, ReplyLookedAt, ReplyReceived
from schemas.leads import LEAD_EVENTS
from schemas.problems import problems_of
from schemas.touches import TOUCH_EVENTS

Headers = list[tuple[str, bytes]]
T = TypeVar("T", bound=EventData, covariant=True)

_INBOUND: tuple[type[EventData], ...] = (ReplyReceived, ReplyLookedAt, ReceiptReceived)
_MODELS: tuple[type[EventData], ...] = (*CALL_EVENTS, *_INBOUND, *LEAD_EVENTS, *TOUCH_EVENTS)
STOOD: Final = "ce_ringbackstood"
EVENTS: Mapping[str, type[EventData]] = {model.TYPE: model for model in _MODELS}
"""Every event type there is, by its `ce_type`."""


class UndecodableEvent(Exception):
    """The bytes are not an event of ours; the message names the header or field and the reason. Permanent."""


class UnknownEventType(UndecodableEvent):
    """Its type is none of this version's: a newer version wrote it, and this one has nothing to do with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[T]):
    """One event with its envelope."""

    id: str
    data: T
    source: str
    time: datetime
    key: bytes
    lender_id: str
    branch_id: str = ""
    received_at: datetime | None = None
    traceparent: str = ""
    first_stood: tuple[int, int] | None = None
    """Of a text that was replayed from a dead letter: the partition and offset at which it stood first."""

    @property
    def type(self) -> str:
        """The CloudEvents type."""
        return self.data.TYPE

    @property
    def topic(self) -> str:
        """The topic it is sent to."""
        return self.data.TOPIC

    def caused(
        self, id_: str, data: EventData, source: str, time: datetime, key: bytes | None = None
    ) -> "Event[EventData]":
        """Return a new event that this one caused: it keeps lender, branch, trace and the time of the deciding webhook."""
        return Event(
            id=id_,
            data=data,
            source=source,
            time=time,
            key=key or self.key,
            lender_id=self.lender_id,
            branch_id=self.branch_id,
            received_at=self.received_at,
            traceparent=self.traceparent,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """An event as Kafka carries it."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


def encode(event: Event[EventData]) -> Wire:
    """Return the Kafka record of an event."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", event.source.encode()),
        ("ce_time", event.time.isoformat().encode()),
        ("ce_lenderid", event.lender_id.encode()),
        ("content-type", b"application/json"),
    ]
    if event.branch_id:
        headers.append(("ce_branchid", event.branch_id.encode()))
    if event.received_at is not None:
        headers.append(("ce_ringbackreceived", event.received_at.isoformat().encode()))
    if event.traceparent:
        headers.append(("traceparent", event.traceparent.encode()))
    if event.first_stood is not None:
        headers.append(stood_at(*event.first_stood))
    return Wire(topic=event.topic, key=event.key, value=event.data.model_dump_json().encode(), headers=headers)


def stood_at(partition: int, offset: int) -> tuple[str, bytes]:
    """Return the header that says where a replayed record stood first."""
    return (STOOD, f"{partition}/{offset}".encode())


def decode(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]] | None) -> Event[EventData]:
    """Return the event in a Kafka record.

    Raises:
        UnknownEventType: it is an event of a type that this version does not know.
        UndecodableEvent: it is not an event of ours, or its data does not fit the schema.
    """
    head = {name: raw for name, raw in headers or () if isinstance(raw, bytes)}
    try:
        text = {name: raw.decode() for name, raw in head.items()}
        if (model := EVENTS.get(text["ce_type"])) is None:
            raise UnknownEventType(f"event type {text['ce_type']!r} is unknown")
        time = datetime.fromisoformat(text["ce_time"])
        received = datetime.fromisoformat(text["ce_ringbackreceived"]) if "ce_ringbackreceived" in text else None
        partition, _, offset = text.get(STOOD, "").partition("/")
        first_stood = (int(partition), int(offset)) if partition else None
        event_id, source, lender = text["ce_id"], text["ce_source"], text["ce_lenderid"]
    except KeyError as error:
        raise UndecodableEvent(f"header {error.args[0]!r} is missing") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise UndecodableEvent(f"a header does not parse: {error}") from error
    if time.tzinfo is None or (received is not None and received.tzinfo is None):
        raise UndecodableEvent("ce_time and ce_ringbackreceived need an offset")
    if not key or value is None or not event_id or not lender:
        raise UndecodableEvent("key, value, ce_id and ce_lenderid must not be empty")
    try:
        data = model.model_validate_json(value)
    except ValidationError as error:
        where, why = problems_of(error)[0]
        raise UndecodableEvent(f"{model.TYPE}: {where or 'value'}: {why}") from error
    return Event(
        id=event_id,
        data=data,
        source=source,
        time=time,
        key=key,
        lender_id=lender,
        branch_id=text.get("ce_branchid", ""),
        received_at=received,
        traceparent=text.get("traceparent", ""),
        first_stood=first_stood,
    )
