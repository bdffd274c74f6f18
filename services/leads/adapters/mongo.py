"""The leads service's store on MongoDB: majority and journaled writes, majority reads, every write conditional."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from schemas.card import COLLECTION, OFFICERS, SUPPRESSIONS, Document
from services.leads.adapters.documents import (
    DUE_PROJECTION,
    LEFT_PROJECTION,
    difference,
    due_call,
    entry_document,
    first_unread_behind,
    from_document,
    left_outbox,
    left_query,
    opted_out,
    to_document,
)
from services.leads.adapters.store import HISTORY_LIMIT, TALKS_LIMIT, UNREAD_REPLY
from services.leads.domain.messages import Message, Reply
from services.leads.domain.model import Call, DueCall, Lead, LeftOutbox, OfficerState, Task
from services.policy.suppression import KEY_CHECK_ID
from services.runtime.mongo_errors import mongo_errors

TIMEOUT_MS = 5_000

OUTBOXES = [("outbox_since", ASCENDING), ("_id", ASCENDING)]
Collection = Any
"""Motor has no types; its collections stay inside this file."""


class MongoLeads:
    """The real store.

    Args:
        url: of a replica set; a standalone cannot acknowledge by majority.
        database: its name.
    """

    def __init__(self, url: str, database: str) -> None:
        self._client: Any = AsyncIOMotorClient(
            url,
            tz_aware=True,
            tzinfo=UTC,
            appname="ringback-leads",
            w="majority",
            journal=True,
            readConcernLevel="majority",
            serverSelectionTimeoutMS=TIMEOUT_MS,
            connectTimeoutMS=TIMEOUT_MS,
            socketTimeoutMS=2 * TIMEOUT_MS,
            maxPoolSize=50,
        )
        db = self._client[database]
        self._calls: Collection = db["calls"]
        self._leads: Collection = db[COLLECTION]
        self._messages: Collection = db["messages"]
        self._task_log: Collection = db["task_log"]
        self._officers: Collection = db[OFFICERS]
        self._suppressions: Collection = db[SUPPRESSIONS]

    async def start(self) -> None:
        """Make the indexes; those that are there stay."""
        up = ASCENDING
        with mongo_errors():
            calls, leads = self._calls.create_index, self._leads.create_index
            await calls([("lender_id", up), ("caller", up), ("started_at", up)])
            await calls([("branch_id", up), ("started_at", up)])
            await calls([("settle_at", up)], partialFilterExpression={"settle_at": {"$exists": True}})
            await leads([("lender_id", up), ("caller", up)], unique=True)
            await leads(OUTBOXES, partialFilterExpression={"outbox_since": {"$exists": True}})
            await leads([("branch_id", up), ("task.state", up), ("task.due_at", up)])
            await leads([("owner_id", up), ("task.state", up)])
            await self._messages.create_index([("lender_id", up), ("caller", up), ("at", up)])
            await self._task_log.create_index([("lead_id", up), ("closed_at", up)])

    async def stop(self) -> None:
        """Close the connections."""
        self._client.close()

    async def find_call(self, key: str) -> Call | None:
        """Return a call."""
        with mongo_errors():
            found = await self._calls.find_one({"_id": key})
        return from_document(Call, found) if found else None

    async def insert_call(self, call: Call) -> bool:
        """Store a new call."""
        return await self._insert(self._calls, to_document(call))

    async def save_call(self, before: Call, after: Call) -> Call | None:
        """Store a changed call."""
        change = difference(
            to_document(before), to_document(after), leave=frozenset({"_id", "rev", "applied", "said_undecided"})
        )
        if not await self._update(self._calls, before.key, before.rev, change):
            return None
        return replace(after, rev=before.rev + 1, applied=before.applied)

    async def calls_due(self, now: datetime, partitions: Iterable[int], limit: int) -> list[DueCall]:
        """Return due calls."""
        mine = {"$or": [{"outcome": {"$exists": True}}, {"partition": {"$in": [*partitions, None]}}]}
        return await self._due(now, mine, limit)

    async def calls_undecided(self, since: datetime, limit: int, *, untold: bool = False) -> list[DueCall]:
        """Return calls that were due and are undecided."""
        only = {"said_undecided": {"$ne": True}} if untold else {}
        return await self._due(since, {"outcome": {"$exists": False}, **only}, limit)

    async def _due(self, now: datetime, only: Document, limit: int) -> list[DueCall]:
        with mongo_errors():
            cursor = self._calls.find({"settle_at": {"$lte": now}, **only}, DUE_PROJECTION).sort("settle_at", ASCENDING)
            return [due_call(found) for found in await cursor.limit(limit).to_list(limit)]

    async def note_undecided(self, key: str) -> None:
        """Note that a call's caller has a task."""
        with mongo_errors():
            await self._calls.update_one({"_id": key}, {"$set": {"said_undecided": True}})

    async def claim_call(self, key: str, now: datetime, lease_until: datetime) -> Call | None:
        """Claim a due call."""
        with mongo_errors():
            found = await self._calls.find_one_and_update(
                {"_id": key, "settle_at": {"$lte": now}},
                {"$set": {"settle_at": lease_until}, "$inc": {"rev": 1}},
                return_document=ReturnDocument.AFTER,
            )
        return from_document(Call, found) if found else None

    async def finish_call(self, key: str, *, applied: bool) -> None:
        """Finish a call."""
        change: Document = {"$unset": {"settle_at": ""}, "$inc": {"rev": 1}}
        if applied:
            change["$set"] = {"applied": True}
        with mongo_errors():
            await self._calls.update_one({"_id": key}, change)

    async def talks_since(self, lender_id: str, caller: str, since: datetime) -> list[Call]:
        """Return a caller's calls with a later talk."""
        reported = {"report.answered": True, "report.talk_time_s": {"$gt": 0}, "ended_at": {"$gte": since}}
        proved = {"$or": [{"legs.answered_at": {"$gte": since}}, reported]}
        with mongo_errors():
            found = await self._calls.find({"lender_id": lender_id, "caller": caller, **proved}).to_list(TALKS_LIMIT)
        return [from_document(Call, one) for one in found]

    async def calls_settling(self) -> int:
        """Count calls that settle."""
        with mongo_errors():
            return int(
                await self._calls.count_documents({"settle_at": {"$exists": True}, "ended_at": {"$exists": True}})
            )

    async def find_lead(self, lender_id: str, caller: str) -> Lead | None:
        """Return a caller's lead."""
        with mongo_errors():
            found = await self._leads.find_one({"lender_id": lender_id, "caller": caller})
        return from_document(Lead, found) if found else None

    async def lead_by_id(self, lead_id: str) -> Lead | None:
        """Return a lead."""
        with mongo_errors():
            found = await self._leads.find_one({"_id": lead_id})
        return from_document(Lead, found) if found else None

    async def insert_lead(self, lead: Lead, now: datetime) -> bool:
        """Store a new lead."""
        return await self._insert(self._leads, to_document(replace(lead, outbox_since=now if lead.outbox else None)))

    async def save_lead(self, before: Lead, after: Lead, now: datetime) -> Lead | None:
        """Store a changed lead."""
        leave = frozenset({"_id", "rev", "outbox", "outbox_since"})
        change = difference(to_document(before), to_document(after), leave=leave)
        if new := [entry_document(entry) for entry in after.outbox if entry.seq > before.lead_seq]:
            change["$push"] = {"outbox": {"$each": new}}
            change["$min"] = {"outbox_since": now}  # keeps the date of the oldest entry; sets it where there is none
        with mongo_errors():
            found = await self._leads.find_one_and_update(
                {"_id": before.lead_id, "rev": before.rev},
                {**change, "$inc": {"rev": 1}},
                return_document=ReturnDocument.AFTER,
            )
        return from_document(Lead, found) if found else None

    async def pull_outbox(self, lead_id: str, upto_seq: int) -> None:
        """Take entries out of an outbox."""
        left = {"$filter": {"input": "$outbox", "cond": {"$gt": ["$$this.seq", upto_seq]}}}
        since = {"$cond": [{"$eq": [{"$size": "$outbox"}, 0]}, "$$REMOVE", "$outbox_since"]}
        with mongo_errors():
            await self._leads.update_one(
                {"_id": lead_id}, [{"$set": {"outbox": left}}, {"$set": {"outbox_since": since}}]
            )

    async def outboxes_left(self, since: datetime, limit: int, after: LeftOutbox | None = None) -> list[LeftOutbox]:
        """Return leads with an old outbox."""
        with mongo_errors():
            cursor = self._leads.find(left_query(since, after), LEFT_PROJECTION).sort(OUTBOXES)
            return [left_outbox(found) for found in await cursor.limit(limit).to_list(limit)]

    async def leads_of_others(self, lender_id: str, present: Sequence[str], limit: int, skip: int = 0) -> list[str]:
        """Return leads with a task whose owner has left, in the index's order."""
        others = {
            "owner_id": {"$nin": [*present, None]},
            "task.state": {"$in": ["open", "claimed"]},
            "lender_id": lender_id,
        }
        with mongo_errors():
            cursor = self._leads.find(others, {"_id": 1}).sort("owner_id", ASCENDING).skip(skip).limit(limit)
            return [found["_id"] for found in await cursor.to_list(limit)]

    async def outboxes_pending(self) -> int:
        """Count leads with an outbox."""
        with mongo_errors():
            return int(await self._leads.count_documents({"outbox_since": {"$exists": True}}))

    async def officers(self, ids: Sequence[str]) -> dict[str, OfficerState]:
        """Return officers."""
        with mongo_errors():
            found = await self._officers.find({"_id": {"$in": list(ids)}}).to_list(None)
        return {one["_id"]: from_document(OfficerState, one) for one in found}

    async def save_officer(self, before: OfficerState, after: OfficerState) -> bool:
        """Store a changed officer."""
        change = difference(to_document(before), to_document(after), leave=frozenset({"_id", "rev"}))
        return await self._update(self._officers, before.officer_id, before.rev, change)

    async def add_officers(self, officers: Sequence[OfficerState]) -> None:
        """Store officers that are not there."""
        for officer in officers:
            await self._insert(self._officers, to_document(officer))

    async def put_message(self, message: Message) -> bool:
        """Store a message."""
        return await self._insert(self._messages, to_document(message))

    async def find_reply(self, event_id: str) -> Reply | None:
        """Return a text."""
        with mongo_errors():
            found = await self._messages.find_one({"_id": event_id})
        return from_document(Reply, found) if found else None

    async def replies_of(self, lender_id: str, caller: str, limit: int) -> list[Reply]:
        """Return a caller's own texts."""
        query = {"lender_id": lender_id, "caller": caller, "direction": "in"}
        with mongo_errors():
            found = await self._messages.find(query).sort("at", -1).limit(limit).to_list(limit)
        return [from_document(Reply, one) for one in reversed(found)]

    async def mark_delivered(self, touch_id: str, at: datetime) -> None:
        """Note a delivery."""
        with mongo_errors():
            await self._messages.update_one({"_id": f"{touch_id}:sent"}, {"$set": {"delivered_at": at}})

    async def log_task(self, lead: Lead, task: Task) -> None:
        """Store a closed task."""
        whose = {"lead_id": lead.lead_id, "lender_id": lead.lender_id, "owner_id": lead.owner_id}
        await self._insert(self._task_log, {**to_document(task), **whose})

    async def suppress(
        self,
        suppression_id: str,
        lender_id: str,
        at: datetime,
        why: str,
        event_id: str,
        *,
        unless_opted_in_since: bool = False,
    ) -> bool:
        """Store an opt-out."""
        word = {"at": at, "active": True, "why": why, "event_id": event_id}
        opted_in = {"history": {"$elemMatch": {"active": False, "at": {"$gt": at}}}}
        since = {"$nor": [opted_in]} if unless_opted_in_since else {}
        return opted_out(await self._say(suppression_id, lender_id, word, since))

    async def unsuppress(
        self,
        suppression_id: str,
        lender_id: str,
        at: datetime,
        event_id: str,
        *,
        first_stood: tuple[int, int] | None = None,
    ) -> bool:
        """Take an opt-out back."""
        word = {"at": at, "active": False, "why": "start", "event_id": event_id}
        later = {"active": True, "why": {"$ne": UNREAD_REPLY}, "at": {"$gt": at}}
        only: Document = {"$nor": [{"history": {"$elemMatch": later}}]}
        if first_stood is not None:
            await self._put_in(suppression_id, word, only, first_stood)
        found = await self._say(suppression_id, lender_id, word, only)
        return any(taken["event_id"] == event_id for taken in found["history"])

    async def _put_in(self, number: str, word: Document, only: Document, first_stood: tuple[int, int]) -> None:
        """Put a replayed word before the unread texts that came after it, which go on deciding; nothing without them."""
        tried: list[Document] | None = None
        with mongo_errors():
            while True:
                history: list[Document] = (await self._suppressions.find_one({"_id": number}) or {}).get("history", [])
                behind = first_unread_behind(history, first_stood)
                if behind is None or history == tried:
                    return  # where it did not fit and nothing has changed, `_say` finds out why
                tried = history
                done = await self._suppressions.update_one(
                    {
                        "_id": number,
                        "history.event_id": {"$ne": word["event_id"]},
                        f"history.{behind}.event_id": history[behind]["event_id"],
                        **only,
                    },
                    {"$push": {"history": {"$each": [word], "$position": behind, "$slice": -HISTORY_LIMIT}}},
                )
                if done.matched_count:
                    return

    async def _say(self, number: str, lender_id: str, word: Document, only: Document) -> Document:
        """Take a word once; return the number's document as it is then."""
        history = {"history": {"$each": [word], "$slice": -HISTORY_LIMIT}}
        with mongo_errors():
            try:
                found: Document = await self._suppressions.find_one_and_update(
                    {"_id": number, "history.event_id": {"$ne": word["event_id"]}, **only},
                    {"$set": {"lender_id": lender_id, **word}, "$push": history},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
                return found
            except DuplicateKeyError:
                # The number is there and does not fit: it has taken this word, or a later one; or two of us have met.
                stored: Document | None = await self._suppressions.find_one({"_id": number, **_passed(word, only)})
                if stored is None:
                    raise
                return stored

    async def lift(self, suppression_id: str, event_id: str) -> bool:
        """Take a word out."""
        left = {"$filter": {"input": "$history", "as": "word", "cond": {"$ne": ["$$word.event_id", event_id]}}}
        stands: Document = {
            "active": {"$ifNull": [{"$last": "$history.active"}, False]},
            "why": {"$ifNull": [{"$last": "$history.why"}, "lifted"]},
            "event_id": {"$ifNull": [{"$last": "$history.event_id"}, event_id]},
            "at": {"$ifNull": [{"$last": "$history.at"}, "$at"]},
        }
        with mongo_errors():
            done = await self._suppressions.update_one(
                {"_id": suppression_id, "history.event_id": event_id}, [{"$set": {"history": left}}, {"$set": stands}]
            )
        return bool(done.matched_count)

    async def is_suppressed(self, suppression_id: str) -> bool:
        """Say whether a number is opted out."""
        with mongo_errors():
            found = await self._suppressions.find_one({"_id": suppression_id})
        return opted_out(found or {})

    async def was_suppressed(self, suppression_id: str, event_id: str) -> bool:
        """Say whether a number is opted out, or was until an event."""
        with mongo_errors():
            found = await self._suppressions.find_one({"_id": suppression_id}) or {}
        return opted_out(found) or any(word["event_id"] == event_id for word in found.get("history", ()))

    async def check_key(self, key_check: str) -> bool:
        """Check the key; the leads service or the notifier may be the first to store it."""
        with mongo_errors():
            found = await self._suppressions.find_one_and_update(
                {"_id": KEY_CHECK_ID},
                {"$setOnInsert": {"check": key_check}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return bool(found["check"] == key_check)

    async def _insert(self, collection: Collection, document: Document) -> bool:
        with mongo_errors():
            try:
                await collection.insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    async def _update(self, collection: Collection, key: str, rev: int, change: Document) -> bool:
        with mongo_errors():
            done = await collection.update_one({"_id": key, "rev": rev}, {**change, "$inc": {"rev": 1}})
        return bool(done.matched_count)


def _passed(word: Document, only: Document) -> Document:
    """Return what is true of a number that does not take a word for good."""
    taken = {"history.event_id": word["event_id"]}
    return {"$or": [taken, *only["$nor"]]} if "$nor" in only else taken
