"""Every use of MongoDB by the notifier: `deliveries`, and leads' documents as the card promises them (read only).

Writes are conditional on `rev`; reads of leads' documents are majority reads on the primary, so that what leads had
acknowledged before it emitted is seen.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from schemas.base import Lane
from schemas.card import COLLECTION, OFFICERS, SUPPRESSIONS, Document, LeadCard, OfficerCard
from schemas.envelope import EVENTS
from services.notifier.domain.delivery import Delivery, Result, State
from services.notifier.errors import NumberKeyDiffers, StoreAway
from services.policy.suppression import KEY_CHECK_ID

Saved = Literal["saved", "moved", "sent_key_taken", "sid_taken"]
"""`moved`: another write came first; `*_taken`: a unique index says another delivery holds it."""

LANES: tuple[Lane, ...] = ("urgent", "normal", "bulk")


@dataclass(frozen=True, slots=True)
class Borrower:
    """What the last gate and the wording need of leads' documents."""

    card: LeadCard | None
    owner: OfficerCard | None
    suppressed: bool


class Store(Protocol):
    """The notifier's documents. Every method may raise StoreAway."""

    async def start(self, key_check: str) -> None:
        """Make the indexes; raise NumberKeyDiffers when `suppressions` were written with another key."""

    async def stop(self) -> None:
        """Let go."""

    async def insert(self, delivery: Delivery) -> bool:
        """Keep a new delivery; False when there is one of this touch already."""

    async def get(self, touch_id: str) -> Delivery | None:
        """Return a delivery."""

    async def find_by_sid(self, sid: str) -> Delivery | None:
        """Return the delivery that the provider calls `sid`."""

    async def save(self, delivery: Delivery) -> Saved:
        """Replace the stored delivery of the same `rev`, whose `rev` becomes one higher."""

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        """Return the lead's card, its owner and whether the number is suppressed, all in one read."""

    async def claim_due(
        self, lanes: Sequence[Lane], limit: int, by: str, now: datetime, real_now: datetime, until_real: datetime
    ) -> list[Delivery]:
        """Claim accepted deliveries that are due and nobody's, lane by lane, earliest first."""

    async def claim_outbox(self, older_than_real: datetime, limit: int) -> list[Delivery]:
        """Return deliveries whose results have waited since before then."""

    async def pull(self, delivery: Delivery, ids: Sequence[str]) -> None:
        """Forget results that the broker has acknowledged."""

    async def in_doubt(self, post_by_before_real: datetime, limit: int) -> list[Delivery]:
        """Return deliveries still posting whose `post_by_real` is before then."""

    async def busy(self, now: datetime) -> str | None:
        """Say what is still to do: something due, posting, or not emitted; None when nothing is."""


def to_doc(delivery: Delivery) -> Document:
    """Return the delivery as stored; what is None is absent, so that sparse indexes stay sparse."""
    doc: Document = {}
    for name in _FIELDS:
        value = getattr(delivery, name)
        if value is not None:
            doc[name] = value
    doc["_id"] = doc.pop("touch_id")
    doc["state"] = delivery.state.value
    doc["outbox"] = [
        {"id": result.id, "type": result.data.TYPE, "data": result.data.model_dump_json(), "time": result.time}
        for result in delivery.outbox
    ]
    if not delivery.outbox:
        doc.pop("outbox_since_real", None)
    return doc


def from_doc(doc: Document) -> Delivery:
    """Return a stored delivery; fields of a newer version are left out."""
    known = {name: doc[name] for name in _FIELDS if name in doc}
    known["touch_id"] = doc["_id"]
    known["state"] = State(doc["state"])
    known["outbox"] = tuple(
        Result(entry["id"], EVENTS[entry["type"]].model_validate_json(entry["data"]), entry["time"])  # type: ignore[arg-type]
        for entry in doc.get("outbox", ())
    )
    return Delivery(**known)


_FIELDS = tuple(found.name for found in fields(Delivery))


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except DuplicateKeyError:
        raise
    except PyMongoError as error:
        raise StoreAway(f"MongoDB: {error!r}"[:300]) from error


class MongoStore:
    """The real one."""

    def __init__(self, url: str, database: str) -> None:
        self._client: Any = AsyncIOMotorClient(
            url, tz_aware=True, tzinfo=UTC, w="majority", journal=True, readConcernLevel="majority",
            serverSelectionTimeoutMS=3000, connectTimeoutMS=3000, socketTimeoutMS=10_000, retryWrites=True,
        )  # fmt: skip
        self._db: Any = self._client[database]
        self._deliveries: Any = self._db["deliveries"]

    async def start(self, key_check: str) -> None:
        """Make the indexes and check the key."""
        async with _answering():
            # Created by whoever starts first, leads or the notifier; afterwards it only ever is compared.
            stored = await self._db[SUPPRESSIONS].find_one_and_update(
                {"_id": KEY_CHECK_ID}, {"$setOnInsert": {"check": key_check}}, upsert=True,
                return_document=ReturnDocument.AFTER,
            )  # fmt: skip
            if stored.get("check") != key_check:
                raise NumberKeyDiffers("RINGBACK_NUMBER_KEY differs from the key that `suppressions` were written with")
            make = self._deliveries.create_index
            await make([("state", ASCENDING), ("lane", ASCENDING), ("not_before", ASCENDING)])
            await make("sid", unique=True, sparse=True)
            await make("sent_key", unique=True, sparse=True)
            await make([("lender_id", ASCENDING), ("caller", ASCENDING), ("at", ASCENDING)])
            await make("post_by_real", sparse=True)
            await make("outbox_since_real", sparse=True)

    async def stop(self) -> None:
        """Close the connections."""
        self._client.close()

    async def insert(self, delivery: Delivery) -> bool:
        """Insert, or find it there."""
        try:
            async with _answering():
                await self._deliveries.insert_one(to_doc(delivery))
        except DuplicateKeyError:
            return False
        return True

    async def get(self, touch_id: str) -> Delivery | None:
        """Return a delivery."""
        return await self._one({"_id": touch_id})

    async def find_by_sid(self, sid: str) -> Delivery | None:
        """Return the delivery that the provider calls `sid`."""
        return await self._one({"sid": sid})

    async def _one(self, query: Document) -> Delivery | None:
        async with _answering():
            doc = await self._deliveries.find_one(query)
        return from_doc(doc) if doc else None

    async def save(self, delivery: Delivery) -> Saved:
        """Replace under the same `rev`."""
        try:
            async with _answering():
                doc = to_doc(delivery)
                doc["rev"] = delivery.rev + 1
                done = await self._deliveries.replace_one({"_id": delivery.touch_id, "rev": delivery.rev}, doc)
        except DuplicateKeyError as error:
            return "sent_key_taken" if "sent_key" in (error.details or {}).get("keyPattern", {}) else "sid_taken"
        return "saved" if done.matched_count else "moved"

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        """Read lead, owner and suppression in one round trip: each costs more than the joins do."""
        pipeline: list[Document] = [
            {"$match": {"_id": lead_id}},
            {"$project": LeadCard.projection()},
            {"$lookup": {"from": OFFICERS, "localField": "owner_id", "foreignField": "_id", "as": "owner"}},
            {"$lookup": {"from": SUPPRESSIONS, "pipeline": [{"$match": {"_id": suppression_id}}], "as": "held"}},
        ]
        async with _answering():
            found = await self._db[COLLECTION].aggregate(pipeline).to_list(1)
            if not found:
                held = await self._db[SUPPRESSIONS].find_one({"_id": suppression_id})
                return Borrower(None, None, suppresses(held))
        doc = found[0]
        owner = OfficerCard.model_validate(doc["owner"][0]) if doc["owner"] else None
        return Borrower(LeadCard.model_validate(doc), owner, any(suppresses(held) for held in doc["held"]))

    async def claim_due(
        self, lanes: Sequence[Lane], limit: int, by: str, now: datetime, real_now: datetime, until_real: datetime
    ) -> list[Delivery]:
        """Find what is due, then claim each with its `rev`; one that another instance took is left out."""
        found: list[Delivery] = []
        async with _answering():
            for lane in lanes:
                if len(found) < limit:
                    cursor = self._deliveries.find(_due(lane, now, real_now)).sort("not_before", ASCENDING)
                    found += [from_doc(doc) for doc in await cursor.limit(limit - len(found)).to_list(limit)]
        claims = [delivery.claimed(by, until_real, real_now) for delivery in found]
        outcomes = await asyncio.gather(*(self.save(claim) for claim in claims))
        return [
            replace(claim, rev=claim.rev + 1)
            for claim, outcome in zip(claims, outcomes, strict=True)
            if outcome == "saved"
        ]

    async def claim_outbox(self, older_than_real: datetime, limit: int) -> list[Delivery]:
        """Return deliveries whose results have waited."""
        return await self._many({"outbox_since_real": {"$lt": older_than_real}}, limit)

    async def in_doubt(self, post_by_before_real: datetime, limit: int) -> list[Delivery]:
        """Return deliveries still posting long after they should have been."""
        return await self._many({"post_by_real": {"$lt": post_by_before_real}, "state": State.POSTING.value}, limit)

    async def _many(self, query: Document, limit: int) -> list[Delivery]:
        async with _answering():
            return [from_doc(doc) for doc in await self._deliveries.find(query).limit(limit).to_list(limit)]

    async def pull(self, delivery: Delivery, ids: Sequence[str]) -> None:
        """Take acknowledged results out; the mark of a waiting outbox goes with the last."""
        left = {"$filter": {"input": "$outbox", "cond": {"$not": {"$in": ["$$this.id", list(ids)]}}}}
        since = {"$cond": [{"$eq": [{"$size": "$outbox"}, 0]}, "$$REMOVE", "$outbox_since_real"]}
        async with _answering():
            await self._deliveries.update_one(
                {"_id": delivery.touch_id},
                [
                    {"$set": {"outbox": left, "rev": {"$add": ["$rev", 1]}}},
                    {"$set": {"outbox_since_real": since}},
                ],
            )

    async def busy(self, now: datetime) -> str | None:
        """Ask for one of each."""
        accepted: Document = {"state": State.ACCEPTED.value, "lane": {"$in": list(LANES)}, "not_before": {"$lte": now}}
        queries: tuple[tuple[str, Document], ...] = (
            ("texts due", accepted),
            ("texts being posted", {"state": State.POSTING.value}),
            ("results not emitted", {"outbox_since_real": {"$exists": True}}),
        )
        async with _answering():
            for what, query in queries:
                if await self._deliveries.find_one(query, {"_id": 1}):
                    return what
        return None


def suppresses(doc: Document | None) -> bool:
    """Return whether a document of `suppressions` stands: it is there, and START has not lifted it."""
    return doc is not None and doc.get("active", True) is True


def _due(lane: Lane, now: datetime, real_now: datetime) -> Document:
    free = [{"claim_until_real": {"$exists": False}}, {"claim_until_real": {"$lte": real_now}}]
    return {"state": State.ACCEPTED.value, "lane": lane, "not_before": {"$lte": now}, "$or": free}


@dataclass
class FakeStore:
    """Documents in memory, with the same unique indexes; `away` makes that many calls fail first."""

    deliveries: dict[str, Document] = field(default_factory=dict)
    leads: dict[str, Document] = field(default_factory=dict)
    officers: dict[str, Document] = field(default_factory=dict)
    suppressions: dict[str, Document] = field(default_factory=dict)
    away: int = 0

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreAway("the fake was told to be away")

    async def start(self, key_check: str) -> None:
        """Check the key."""
        if self.suppressions.setdefault(KEY_CHECK_ID, {"check": key_check})["check"] != key_check:
            raise NumberKeyDiffers("another key")

    async def stop(self) -> None:
        """Nothing to let go."""

    async def insert(self, delivery: Delivery) -> bool:
        """Insert, or find it there."""
        self._answer()
        if delivery.touch_id in self.deliveries:
            return False
        self.deliveries[delivery.touch_id] = to_doc(delivery)
        return True

    async def get(self, touch_id: str) -> Delivery | None:
        """Return a delivery."""
        self._answer()
        doc = self.deliveries.get(touch_id)
        return from_doc(doc) if doc else None

    async def find_by_sid(self, sid: str) -> Delivery | None:
        """Return the delivery with this sid."""
        self._answer()
        return next((from_doc(doc) for doc in self.deliveries.values() if doc.get("sid") == sid), None)

    async def save(self, delivery: Delivery) -> Saved:
        """Replace under the same `rev`."""
        self._answer()
        stored = self.deliveries.get(delivery.touch_id)
        if stored is None or stored["rev"] != delivery.rev:
            return "moved"
        others = [doc for name, doc in self.deliveries.items() if name != delivery.touch_id]
        if delivery.sent_key is not None and any(doc.get("sent_key") == delivery.sent_key for doc in others):
            return "sent_key_taken"
        if delivery.sid is not None and any(doc.get("sid") == delivery.sid for doc in others):
            return "sid_taken"
        self.deliveries[delivery.touch_id] = to_doc(replace(delivery, rev=delivery.rev + 1))
        return "saved"

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        """Read lead, owner and suppression."""
        self._answer()
        doc = self.leads.get(lead_id)
        card = LeadCard.model_validate(doc) if doc else None
        owner = self.officers.get(card.owner_id) if card and card.owner_id else None
        return Borrower(
            card,
            OfficerCard.model_validate(owner) if owner else None,
            suppresses(self.suppressions.get(suppression_id)),
        )

    async def claim_due(
        self, lanes: Sequence[Lane], limit: int, by: str, now: datetime, real_now: datetime, until_real: datetime
    ) -> list[Delivery]:
        """Claim what is due."""
        self._answer()
        claimed: list[Delivery] = []
        for lane in lanes:
            waiting = [d for d in self._all() if d.state is State.ACCEPTED and d.lane == lane and d.not_before <= now]
            free = [d for d in waiting if d.claim_until_real is None or d.claim_until_real <= real_now]
            for delivery in sorted(free, key=lambda d: d.not_before)[: limit - len(claimed)]:
                claim = delivery.claimed(by, until_real, real_now)
                await self.save(claim)
                claimed.append(replace(claim, rev=claim.rev + 1))
        return claimed

    async def claim_outbox(self, older_than_real: datetime, limit: int) -> list[Delivery]:
        """Return deliveries whose results have waited."""
        self._answer()
        return [d for d in self._all() if d.outbox_since_real and d.outbox_since_real < older_than_real][:limit]

    async def in_doubt(self, post_by_before_real: datetime, limit: int) -> list[Delivery]:
        """Return deliveries still posting."""
        self._answer()
        posting = (d for d in self._all() if d.state is State.POSTING and d.post_by_real)
        return [d for d in posting if d.post_by_real and d.post_by_real < post_by_before_real][:limit]

    async def pull(self, delivery: Delivery, ids: Sequence[str]) -> None:
        """Take acknowledged results out."""
        self._answer()
        stored = from_doc(self.deliveries[delivery.touch_id])
        left = tuple(result for result in stored.outbox if result.id not in ids)
        self.deliveries[delivery.touch_id] = to_doc(replace(stored, outbox=left, rev=stored.rev + 1))

    async def busy(self, now: datetime) -> str | None:
        """Look for one of each."""
        self._answer()
        for delivery in self._all():
            if delivery.state is State.ACCEPTED and delivery.not_before <= now:
                return "texts due"
            if delivery.state is State.POSTING:
                return "texts being posted"
            if delivery.outbox:
                return "results not emitted"
        return None

    def _all(self) -> Iterable[Delivery]:
        return [from_doc(doc) for doc in self.deliveries.values()]
