"""Domain values as MongoDB documents and back: field names are the same, what is None is not stored.

Tuples are arrays, local dates are ISO text (BSON has no date without a time), `_id` is the field that IDS names.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from typing import Any, TypeVar

from schemas.card import Document
from schemas.envelope import Wire
from services.leads.domain.model import Call, Entry, Lead, Leg, OfficerState, Report, Task, Touch, Voicemail

IDS: Mapping[type, str] = {Call: "key", Lead: "lead_id", OfficerState: "officer_id", Task: "task_id"}
_NESTED: Mapping[tuple[type, str], type] = {
    (Call, "legs"): Leg,
    (Call, "voicemails"): Voicemail,
    (Call, "report"): Report,
    (Lead, "task"): Task,
    (Lead, "touches"): Touch,
    (Lead, "outbox"): Entry,
    (Task, "voicemails"): Voicemail,
}
_DAYS = frozenset({(Lead, "local_day"), (OfficerState, "day")})
_MODELS = (Call, Lead, OfficerState, Task, Leg, Voicemail, Report, Touch)
_FIELDS: Mapping[type, tuple[tuple[str, str], ...]] = {
    model: tuple((field.name, "_id" if field.name == IDS.get(model) else field.name) for field in fields(model))
    for model in _MODELS
}

_PLAIN = frozenset({str, int, bool, float, datetime})

T = TypeVar("T", Call, Lead, OfficerState, Task)


def to_document(value: Call | Lead | OfficerState | Task) -> Document:
    """Return the document of a value."""
    found: Document = _store(value)
    return found


def from_document(model: type[T], document: Mapping[str, Any]) -> T:
    """Return the value in a document; fields of a newer version are left out."""
    found: T = _read(model, document)
    return found


def entry_document(entry: Entry) -> Document:
    """Return an outbox entry as stored: text, so that a person can read what waits."""
    wire = entry.wire
    return {
        "seq": entry.seq,
        "topic": wire.topic,
        "key": wire.key.decode(),
        "value": wire.value.decode(),
        "headers": [[name, raw.decode()] for name, raw in wire.headers],
    }


def _entry(document: Mapping[str, Any]) -> Entry:
    headers = [(name, text.encode()) for name, text in document["headers"]]
    wire = Wire(document["topic"], document["key"].encode(), document["value"].encode(), headers)
    return Entry(document["seq"], wire)


def _store(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Entry):
        return entry_document(value)
    if (names := _FIELDS.get(type(value))) is not None:
        return {stored: _store(found) for name, stored in names if (found := getattr(value, name)) is not None}
    if isinstance(value, tuple):
        return [_store(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _store(one) for key, one in value.items()}
    return value.isoformat() if isinstance(value, date) else value


def _read(model: type, document: Mapping[str, Any]) -> Any:
    if model is Entry:
        return _entry(document)
    found: dict[str, Any] = {}
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
        else:
            found[name] = date.fromisoformat(value) if (model, name) in _DAYS else value
    return model(**found)


def difference(before: Document, after: Document, leave: frozenset[str] = frozenset()) -> dict[str, Document]:
    """Return the `$set` and `$unset` that make one document of the other; fields in `leave` are left alone."""
    changed = {name: value for name, value in after.items() if name not in leave and before.get(name, _NONE) != value}
    gone = {name: "" for name in before if name not in after and name not in leave}
    return {**({"$set": changed} if changed else {}), **({"$unset": gone} if gone else {})}


_NONE = object()
