"""Domain values as MongoDB documents and back: field names are the same, what is None is not stored.

Tuples are arrays, local dates are ISO text (BSON has no date without a time), enumerations are their values. STORED_AS
names the fields that are called differently in the document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from enum import Enum
from typing import Final, TypeVar, cast

from schemas.card import Document
from schemas.envelope import Wire
from schemas.ids import partition_key
from services.leads.adapters.store import UNREAD_REPLY
from services.leads.domain.messages import Reply, TouchRecord
from services.leads.domain.model import (
    Call,
    DueCall,
    Lead,
    LeftOutbox,
    Leg,
    OfficerState,
    OutboxEntry,
    ReportedTalk,
    StepStanding,
    Task,
    Voicemail,
)
from services.policy.optout import Keyword

STORED_AS: Final[Mapping[tuple[type, str], str]] = {
    (Call, "key"): "_id",
    (Lead, "lead_id"): "_id",
    (OfficerState, "officer_id"): "_id",
    (Task, "task_id"): "_id",
    (Reply, "event_id"): "_id",
    (TouchRecord, "event_id"): "_id",
    (TouchRecord, "from_number"): "from",
}
_NESTED: Final[Mapping[tuple[type, str], type]] = {
    (Call, "legs"): Leg,
    (Call, "voicemails"): Voicemail,
    (Call, "report"): ReportedTalk,
    (Lead, "task"): Task,
    (Lead, "task_closed"): Task,
    (Lead, "touches"): StepStanding,
    (Lead, "outbox"): OutboxEntry,
    (Task, "voicemails"): Voicemail,
}
_DAYS: Final = frozenset({(Lead, "local_day"), (OfficerState, "day")})
_ENUMS: Final[Mapping[tuple[type, str], type[Enum]]] = {(Reply, "keyword"): Keyword}
_MODELS: Final = (Call, Lead, OfficerState, Task, Leg, Voicemail, ReportedTalk, StepStanding, Reply, TouchRecord)
_FIELDS: Final[Mapping[type, tuple[tuple[str, str], ...]]] = {
    model: tuple((field.name, STORED_AS.get((model, field.name), field.name)) for field in fields(model))
    for model in _MODELS
}
_PLAIN: Final = frozenset({str, int, bool, float, datetime})

Stored = Call | Lead | OfficerState | Task | Reply | TouchRecord
T = TypeVar("T", Call, Lead, OfficerState, Task, Reply, TouchRecord)


def to_document(value: Stored) -> Document:
    """Return the document of a value."""
    return _fields_of(value)


def from_document(model: type[T], document: Document) -> T:
    """Return the value in a document; fields of a newer version are left out."""
    return cast("T", _read(model, document))


DUE_PROJECTION: Final = dict.fromkeys(("settle_at", "lender_id", "call_id", "caller", "outcome", "said_undecided"), 1)


def due_call(document: Document) -> DueCall:
    """Return what a settler needs of a due call; a document that lacks the rest keeps nobody from the others."""
    return DueCall(
        key=document["_id"],
        settle_at=document["settle_at"],
        lender_id=document.get("lender_id", ""),
        call_id=document.get("call_id", ""),
        caller=document.get("caller"),
        is_decided="outcome" in document,
        said_undecided=document.get("said_undecided", False),
    )


LEFT_PROJECTION: Final = dict.fromkeys(("lender_id", "caller", "outbox_since"), 1)


def left_outbox(document: Document) -> LeftOutbox:
    """Return what the sweeper needs of a lead before it reads all of it."""
    key = partition_key(document.get("lender_id", ""), document.get("caller"))
    return LeftOutbox(document["_id"], key, document["outbox_since"])


def left_query(since: datetime, after: LeftOutbox | None) -> Document:
    """Return what finds old outboxes behind one of them, in the order of `outbox_since` and `_id`."""
    if after is None:
        return {"outbox_since": {"$lte": since}}
    passed = {"outbox_since": after.since, "_id": {"$lte": after.lead_id}}
    return {"outbox_since": {"$gte": after.since, "$lte": since}, "$nor": [passed]}


def opted_out(suppression: Document) -> bool:
    """Return whether a number has opted out: the newest of its own words decides, not a text that nobody could read."""
    said = [word["active"] for word in suppression.get("history", ()) if word["why"] != UNREAD_REPLY]
    return bool(said and said[-1])


def unread_id(topic: str, partition: int, offset: int) -> str:
    """Return the id under which a record's suppression is kept; the record's own id may be unreadable."""
    return f"unread:{topic}:{partition}:{offset}"


def first_unread_behind(history: Sequence[Document], first_stood: tuple[int, int]) -> int | None:
    """Return where in a number's history the texts begin that nobody has read and that came after a record; None without.

    A text of another partition, from before the topic got more, counts as later: it may be.
    """
    partition, offset = first_stood
    for n, word in enumerate(history):
        if word["why"] == UNREAD_REPLY:
            _, of, at = word["event_id"].rsplit(":", 2)
            if int(of) != partition or int(at) > offset:
                return n
    return None


def entry_document(entry: OutboxEntry) -> Document:
    """Return an outbox entry as stored: text, so that a person can read what waits."""
    wire = entry.wire
    return {
        "seq": entry.seq,
        "topic": wire.topic,
        "key": wire.key.decode(),
        "value": wire.value.decode(),
        "headers": [[name, raw.decode()] for name, raw in wire.headers],
    }


def _entry(document: Document) -> OutboxEntry:
    headers = [(name, text.encode()) for name, text in document["headers"]]
    wire = Wire(
        topic=document["topic"], key=document["key"].encode(), value=document["value"].encode(), headers=headers
    )
    return OutboxEntry(document["seq"], wire)


def _fields_of(value: object) -> Document:
    names = _FIELDS[type(value)]
    return {stored: _store(found) for name, stored in names if (found := getattr(value, name)) is not None}


def _store(value: object) -> object:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, OutboxEntry):
        return entry_document(value)
    if type(value) in _FIELDS:
        return _fields_of(value)
    if isinstance(value, tuple):
        return [_store(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _store(one) for key, one in value.items()}
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, date) else value


def _read(model: type, document: Document) -> object:
    """Return a value of `model`, which only its caller can name as a type."""
    if model is OutboxEntry:
        return _entry(document)
    found: dict[str, object] = {}
    for name, stored in _FIELDS[model]:
        value = document.get(stored)
        if value is None:
            continue
        nested = _NESTED.get((model, name))
        if isinstance(value, list):
            found[name] = tuple(_read(nested, one) for one in value) if nested else tuple(value)
        elif nested is not None and name == "touches":
            found[name] = {step: _read(nested, one) for step, one in value.items()}
        elif nested is not None:
            found[name] = _read(nested, value)
        elif (enum := _ENUMS.get((model, name))) is not None:
            found[name] = enum(value)
        else:
            found[name] = date.fromisoformat(value) if (model, name) in _DAYS else value
    return model(**found)


def difference(before: Document, after: Document, leave: frozenset[str] = frozenset()) -> dict[str, Document]:
    """Return the `$set` and `$unset` that make one document of the other; fields in `leave` are left alone."""
    changed = {name: value for name, value in after.items() if name not in leave and before.get(name, _NONE) != value}
    gone = {name: "" for name in before if name not in after and name not in leave}
    return {**({"$set": changed} if changed else {}), **({"$unset": gone} if gone else {})}


_NONE: Final = object()
