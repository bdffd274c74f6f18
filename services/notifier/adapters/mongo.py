"""Every use of MongoDB by the notifier: `deliveries`, and leads' documents as the card promises them (read only).

Writes are conditional on `rev`; reads of leads' documents are majority reads on the primary, so that what leads had
acknowledged before it emitted is seen.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError

from schemas.base import Lane
from schemas.card import COLLECTION, OFFICERS, SUPPRESSIONS, Document, LeadCard
from services.notifier.adapters.documents import borrower_of, delivery_or_broken, from_document, to_document
from services.notifier.adapters.store import LANES, Borrower, BrokenDelivery, DeliveryClaim, Found, Saved
from services.notifier.domain.delivery import Delivery, DeliveryState
from services.notifier.errors import NumberKeyDiffers
from services.policy.suppression import KEY_CHECK_ID
from services.runtime.mongo_errors import StoreAway, StoreRefused, mongo_errors

BROKEN_LIMIT: Final = 1_000
"""A search passes over about this many documents that it cannot read, not more: it must end."""

MotorCollection = Any
"""Motor has no types; its objects stay inside this file."""


class MongoDeliveries:
    """The real store."""

    def __init__(self, url: str, database: str) -> None:
        self._client: Any = AsyncIOMotorClient(
            url,
            tz_aware=True,
            tzinfo=UTC,
            w="majority",
            journal=True,
            readConcernLevel="majority",
            serverSelectionTimeoutMS=3000,
            connectTimeoutMS=3000,
            socketTimeoutMS=10_000,
            retryWrites=True,
        )
        self._db: Any = self._client[database]
        self._deliveries: MotorCollection = self._db["deliveries"]
        # A bucket that a failover sets back is at most full again, so its writes wait for no second server.
        self._senders: MotorCollection = self._db.get_collection("senders", write_concern=WriteConcern(w=1))

    async def start(self, key_check: str) -> None:
        """Make the indexes and check the key."""
        with mongo_errors():
            # The first to start, the leads service or the notifier, creates it; after that it is only compared.
            stored = await self._db[SUPPRESSIONS].find_one_and_update(
                {"_id": KEY_CHECK_ID},
                {"$setOnInsert": {"check": key_check}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            if stored.get("check") != key_check:
                raise NumberKeyDiffers("RINGBACK_NUMBER_KEY differs from the key that `suppressions` were written with")
            make = self._deliveries.create_index
            # `branch_id` comes last: the many of a branch that may send no more now are passed over in the index.
            await make([("state", ASCENDING), ("lane", ASCENDING), ("not_before", ASCENDING), ("branch_id", ASCENDING)])
            accepted = {"state": DeliveryState.ACCEPTED.value}
            await make(
                [("state", ASCENDING), ("lane", ASCENDING), ("expires_at", ASCENDING)], partialFilterExpression=accepted
            )
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
        with mongo_errors():
            try:
                await self._deliveries.insert_one(to_document(delivery))
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
        with mongo_errors():
            doc = await self._deliveries.find_one(query)
        return from_document(doc) if doc else None

    async def save(self, delivery: Delivery) -> Saved:
        """Replace under the same `rev`."""
        doc = to_document(replace(delivery, rev=delivery.rev + 1))
        with mongo_errors():
            try:
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
        with mongo_errors():
            found = await self._db[COLLECTION].aggregate(pipeline).to_list(1)
            if not found:
                held = await self._db[SUPPRESSIONS].find_one({"_id": suppression_id})
                return borrower_of(None, None, [held] if held else [])
        lead = found[0]
        return borrower_of(lead, next(iter(lead["owner"]), None), lead["held"])

    async def take_tokens(self, number: str, want: int, *, leave: float, rate: float, burst: float) -> int:
        """Fill up by the server's time and take, in one update."""
        passed_s = {"$divide": [{"$subtract": ["$$NOW", {"$ifNull": ["$at", "$$NOW"]}]}, 1000]}
        gained = {"$multiply": [rate, {"$max": [0, passed_s]}]}  # a new primary's clock may be behind
        tokens = {"$min": [burst, {"$add": [{"$ifNull": ["$tokens", burst]}, gained]}]}
        granted = {"$max": [0, {"$min": [want, {"$floor": {"$subtract": ["$tokens", leave]}}]}]}
        with mongo_errors():
            found = await self._senders.find_one_and_update(
                {"_id": number},
                [
                    {"$set": {"tokens": tokens, "at": "$$NOW"}},
                    {"$set": {"granted": granted}},
                    {"$set": {"tokens": {"$subtract": ["$tokens", "$granted"]}}},
                ],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return int(found["granted"])

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
        """Find what is due, then claim each with its `rev`; one that another instance took is left out."""
        free = [{"claim_until_real": {"$exists": False}}, {"claim_until_real": {"$lte": claim.at_real}}]
        either: list[Document] = [{"$or": free}]
        if borrowers_held:
            either.append({"$or": [{"audience": "officer"}, {"expires_at": {"$lte": now}}]})
        if without:
            either.append({"branch_id": {"$nin": list(without)}})
        if expired_only:
            either.append({"expires_at": {"$lte": now}})
        due = {"state": DeliveryState.ACCEPTED.value, "lane": lane, "not_before": {"$lte": now}, "$and": either}
        found = await self._many(due, "expires_at" if expired_only else "not_before", limit)
        readable = [one for one in found if isinstance(one, Delivery)]
        broken = [one for one in found if isinstance(one, BrokenDelivery)]
        claims = [one.claimed(claim.by, claim.until_real, claim.at_real) for one in readable]
        outcomes = await asyncio.gather(*(self._claim(one) for one in claims), return_exceptions=True)
        taken = [one for one in outcomes if isinstance(one, Delivery)]
        for one, outcome in zip(claims, outcomes, strict=True):
            if isinstance(outcome, StoreRefused):
                broken.append(BrokenDelivery(one.touch_id, str(outcome)))
            elif isinstance(outcome, BaseException) and not (taken and isinstance(outcome, StoreAway)):
                # Those that are claimed must not be lost with it: the others are found again in a moment.
                raise outcome
        return [*taken, *broken]

    async def _claim(self, claimed: Delivery) -> Delivery | None:
        return replace(claimed, rev=claimed.rev + 1) if await self.save(claimed) == "saved" else None

    async def outboxes(self, older_than_real: datetime, limit: int, skip: int = 0) -> Found:
        """Return deliveries whose results have waited."""
        return await self._many({"outbox_since_real": {"$lt": older_than_real}}, "outbox_since_real", limit, skip)

    async def in_doubt(self, post_by_before_real: datetime, limit: int) -> Found:
        """Return deliveries still posting long after they should have been."""
        query = {"post_by_real": {"$lt": post_by_before_real}, "state": DeliveryState.POSTING.value}
        return await self._many(query, "post_by_real", limit)

    async def _many(self, query: Document, order: str, limit: int, skip: int = 0) -> Found:
        broken: list[BrokenDelivery] = []
        while True:
            passed = {"_id": {"$nin": [one.touch_id for one in broken]}} if broken else {}
            with mongo_errors():
                cursor = self._deliveries.find({**query, **passed}).sort(order, ASCENDING).skip(skip).limit(limit)
                found = [delivery_or_broken(doc) for doc in await cursor.to_list(limit)]
            readable = [one for one in found if isinstance(one, Delivery)]
            broken += [one for one in found if isinstance(one, BrokenDelivery)]
            if len(readable) == len(found) or len(broken) >= BROKEN_LIMIT:
                return [*readable, *broken]

    async def pull(self, delivery: Delivery, ids: Sequence[str]) -> None:
        """Move acknowledged results; the mark of a waiting outbox goes with the last."""
        acknowledged: Document = {"$in": ["$$this.id", list(ids)]}
        left = {"$filter": {"input": "$outbox", "cond": {"$not": acknowledged}}}
        moved = {"$filter": {"input": "$outbox", "cond": acknowledged}}
        told = {"$concatArrays": [{"$ifNull": ["$told", []]}, moved]}
        since = {"$cond": [{"$eq": [{"$size": "$outbox"}, 0]}, "$$REMOVE", "$outbox_since_real"]}
        with mongo_errors():
            await self._deliveries.update_one(
                {"_id": delivery.touch_id},
                [
                    {"$set": {"told": told, "outbox": left, "rev": {"$add": ["$rev", 1]}}},
                    {"$set": {"outbox_since_real": since}},
                ],
            )

    async def busy(self, now: datetime) -> str | None:
        """Ask for one of each."""
        accepted: Document = {
            "state": DeliveryState.ACCEPTED.value,
            "lane": {"$in": list(LANES)},
            "not_before": {"$lte": now},
        }
        queries: tuple[tuple[str, Document], ...] = (
            ("texts due", accepted),
            ("texts being posted", {"state": DeliveryState.POSTING.value}),
            ("results not emitted", {"outbox_since_real": {"$exists": True}}),
        )
        with mongo_errors():
            for what, query in queries:
                if await self._deliveries.find_one(query, {"_id": 1}):
                    return what
        return None
