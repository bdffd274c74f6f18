"""The store in memory, for unit tests: documents go through BSON, so that times and types come back as MongoDB's do."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions

from schemas.base import Lane
from schemas.card import Document
from services.notifier.adapters.documents import borrower_of, delivery_or_broken, from_document, to_document
from services.notifier.adapters.store import Borrower, BrokenDelivery, DeliveryClaim, Found, Saved
from services.notifier.domain.delivery import Delivery, DeliveryState
from services.notifier.errors import NumberKeyDiffers
from services.policy.suppression import KEY_CHECK_ID
from services.runtime.clock import monotonic_s
from services.runtime.mongo_errors import StoreAway, StoreRefused

Documents = dict[str, Document]
DOCUMENT_LIMIT_BYTES: Final = 16 * 1024 * 1024
_AWARE: Final[CodecOptions[dict[str, Any]]] = CodecOptions(tz_aware=True, tzinfo=UTC)


def _kept(delivery: Delivery) -> Document:
    raw = bson.encode(to_document(delivery))
    if len(raw) > DOCUMENT_LIMIT_BYTES:
        raise StoreRefused(f"a document of {len(raw)} bytes")
    return bson.decode(raw, _AWARE)


@dataclass
class MemoryDeliveries:
    """Keeps the promises of `DeliveryStore` in one process; `away` makes that many calls fail first; `seconds` is its clock."""

    deliveries: Documents = field(default_factory=dict)
    leads: Documents = field(default_factory=dict)
    officers: Documents = field(default_factory=dict)
    suppressions: Documents = field(default_factory=dict)
    senders: dict[str, tuple[float, float]] = field(default_factory=dict)
    away: int = 0
    seconds: Callable[[], float] = monotonic_s

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreAway("the memory store was told to be away")

    async def start(self, key_check: str) -> None:
        """Check the key."""
        if self.suppressions.setdefault(KEY_CHECK_ID, {"check": key_check})["check"] != key_check:
            raise NumberKeyDiffers("another key")

    async def stop(self) -> None:
        """Nothing to close."""

    async def insert(self, delivery: Delivery) -> bool:
        """Insert, or find it there."""
        self._answer()
        if delivery.touch_id in self.deliveries:
            return False
        self.deliveries[delivery.touch_id] = _kept(delivery)
        return True

    async def get(self, touch_id: str) -> Delivery | None:
        """Return a delivery."""
        self._answer()
        doc = self.deliveries.get(touch_id)
        return from_document(doc) if doc else None

    async def find_by_sid(self, sid: str) -> Delivery | None:
        """Return the delivery with this sid."""
        self._answer()
        return next((from_document(doc) for doc in self.deliveries.values() if doc.get("sid") == sid), None)

    async def save(self, delivery: Delivery) -> Saved:
        """Replace under the same `rev`."""
        self._answer()
        doc = _kept(replace(delivery, rev=delivery.rev + 1))
        stored = self.deliveries.get(delivery.touch_id)
        if stored is None or stored["rev"] != delivery.rev:
            return "moved"
        others = [other for name, other in self.deliveries.items() if name != delivery.touch_id]
        if delivery.sent_key is not None and any(other.get("sent_key") == delivery.sent_key for other in others):
            return "sent_key_taken"
        if delivery.sid is not None and any(other.get("sid") == delivery.sid for other in others):
            return "sid_taken"
        self.deliveries[delivery.touch_id] = doc
        return "saved"

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        """Read lead, owner and suppression."""
        self._answer()
        lead, held = self.leads.get(lead_id), self.suppressions.get(suppression_id)
        owner = self.officers.get(lead.get("owner_id") or "") if lead else None
        return borrower_of(lead, owner, [held] if held else [])

    async def take_tokens(self, number: str, want: int, *, leave: float, rate: float, burst: float) -> int:
        """Take what is there."""
        self._answer()
        now_s = self.seconds()
        tokens, at_s = self.senders.get(number, (burst, now_s))
        tokens = min(burst, tokens + max(0.0, now_s - at_s) * rate)
        granted = max(0, min(want, int(tokens - leave)))
        self.senders[number] = tokens - granted, now_s
        return granted

    async def claim_due(
        self,
        lane: Lane,
        limit: int,
        claim: DeliveryClaim,
        now: datetime,
        *,
        borrowers_held: bool = False,
        without: Collection[str] = (),
        expired_only: bool = False,
    ) -> Found:
        """Claim what is due."""
        self._answer()
        due = [
            doc
            for doc in self._in_state(DeliveryState.ACCEPTED)
            if doc.get("lane") == lane and doc["not_before"] <= now and _free(doc, claim.at_real)
            if doc.get("branch_id") not in without
            if not borrowers_held or doc["audience"] == "officer" or doc["expires_at"] <= now
            if not expired_only or doc["expires_at"] <= now
        ]
        order = "expires_at" if expired_only else "not_before"
        found: list[Delivery | BrokenDelivery] = []
        for one in _first(sorted(due, key=lambda doc: doc[order]), limit):
            if isinstance(one, BrokenDelivery):
                found.append(one)
                continue
            claimed = one.claimed(claim.by, claim.until_real, claim.at_real)
            if await self.save(claimed) == "saved":
                found.append(replace(claimed, rev=claimed.rev + 1))
        return found

    async def outboxes(self, older_than_real: datetime, limit: int, skip: int = 0) -> Found:
        """Return deliveries whose results have waited."""
        self._answer()
        waiting = [doc for doc in self.deliveries.values() if "outbox_since_real" in doc]
        old = [doc for doc in waiting if doc["outbox_since_real"] < older_than_real]
        return _first(sorted(old, key=lambda doc: (doc["outbox_since_real"], doc["_id"]))[skip:], limit)

    async def in_doubt(self, post_by_before_real: datetime, limit: int) -> Found:
        """Return deliveries still posting."""
        self._answer()
        posting = [doc for doc in self._in_state(DeliveryState.POSTING) if "post_by_real" in doc]
        late = [doc for doc in posting if doc["post_by_real"] < post_by_before_real]
        return _first(sorted(late, key=lambda doc: doc["post_by_real"]), limit)

    async def pull(self, delivery: Delivery, ids: Sequence[str]) -> None:
        """Move acknowledged results."""
        self._answer()
        doc = self.deliveries[delivery.touch_id]
        left = [entry for entry in doc["outbox"] if entry["id"] not in ids]
        told = [*doc.get("told", ()), *(entry for entry in doc["outbox"] if entry["id"] in ids)]
        changed = {**doc, "told": told, "outbox": left, "rev": doc["rev"] + 1}
        if not left:
            changed.pop("outbox_since_real", None)
        self.deliveries[delivery.touch_id] = changed

    async def busy(self, now: datetime) -> str | None:
        """Look for one of each."""
        self._answer()
        if any(doc["not_before"] <= now for doc in self._in_state(DeliveryState.ACCEPTED)):
            return "texts due"
        if self._in_state(DeliveryState.POSTING):
            return "texts being posted"
        if any("outbox_since_real" in doc for doc in self.deliveries.values()):
            return "results not emitted"
        return None

    def _in_state(self, state: DeliveryState) -> list[Document]:
        return [doc for doc in self.deliveries.values() if doc["state"] == state.value]


def _free(doc: Document, real_now: datetime) -> bool:
    return "claim_until_real" not in doc or doc["claim_until_real"] <= real_now


def _first(docs: Iterable[Document], limit: int) -> Found:
    """Return the first `limit` that can be read, and the broken ones before them."""
    found: list[Delivery | BrokenDelivery] = []
    readable = 0
    for doc in docs:
        if readable == limit:
            break
        found.append(delivery_or_broken(doc))
        readable += isinstance(found[-1], Delivery)
    return found
