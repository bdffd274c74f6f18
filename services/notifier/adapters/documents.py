"""Deliveries as MongoDB keeps them, and what the notifier reads of leads' documents."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from schemas.card import Document, LeadCard, OfficerCard
from schemas.envelope import EVENTS
from schemas.touches import TouchResult
from services.notifier.adapters.store import Borrower, BrokenDelivery
from services.notifier.domain.delivery import Delivery, DeliveryState, Result
from services.notifier.errors import UnreadableDocument

_FIELDS: Final = tuple(found.name for found in fields(Delivery))


def to_document(delivery: Delivery) -> Document:
    """Return the delivery as stored; what is None is absent, so that sparse indexes stay sparse."""
    doc: Document = {}
    for name in _FIELDS:
        value = getattr(delivery, name)
        if value is not None:
            doc[name] = value
    doc["_id"] = doc.pop("touch_id")
    doc["state"] = delivery.state.value
    doc["told"], doc["outbox"] = _entries(delivery.told), _entries(delivery.outbox)
    if not delivery.outbox:
        doc.pop("outbox_since_real", None)
    return doc


def _entries(results: Iterable[Result]) -> list[Document]:
    return [
        {"id": result.id, "type": result.data.TYPE, "data": result.data.model_dump_json(), "time": result.time}
        for result in results
    ]


def from_document(doc: Document) -> Delivery:
    """Return a stored delivery; fields of a newer version are left out.

    Raises:
        UnreadableDocument: a field is missing or has a value that this version does not know.
    """
    try:
        known = {name: doc[name] for name in _FIELDS if name in doc}
        known["touch_id"] = doc["_id"]
        known["state"] = DeliveryState(doc["state"])
        for name in ("told", "outbox"):
            known[name] = tuple(_result(entry) for entry in doc.get(name, ()))
        return Delivery(**known)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableDocument(f"delivery {doc.get('_id')}: {type(error).__name__}: {str(error)[:300]}") from error


def _result(entry: dict[str, Any]) -> Result:
    data = EVENTS[entry["type"]].model_validate_json(entry["data"])
    if not isinstance(data, TouchResult):
        raise ValueError(f"{entry['type']} is no result")
    return Result(entry["id"], data, entry["time"])


def delivery_or_broken(doc: Document) -> Delivery | BrokenDelivery:
    """Return a stored delivery, or why it cannot be read: one document must not hide the others of a search."""
    try:
        return from_document(doc)
    except UnreadableDocument as error:
        return BrokenDelivery(str(doc.get("_id")), str(error))


def borrower_of(lead: Document | None, owner: Document | None, held: Iterable[Document]) -> Borrower:
    """Return what leads' documents say of a borrower.

    Args:
        lead: the lead; None when there is none.
        owner: the officer that the lead names, if that one is stored.
        held: the documents of `suppressions` with the borrower's id.

    Raises:
        UnreadableDocument: the lead or the officer is not as the card promises.
    """
    try:
        return Borrower(
            card=LeadCard.model_validate(lead) if lead else None,
            owner=OfficerCard.model_validate(owner) if owner else None,
            # It is there, and START has not lifted it.
            suppressed=any(doc.get("active", True) is True for doc in held),
        )
    except ValueError as error:
        raise UnreadableDocument(f"the card of lead {(lead or {}).get('_id')}: {str(error)[:300]}") from error
