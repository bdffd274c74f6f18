"""The store in memory, for unit tests: documents pass through BSON, so that times and types come back as from MongoDB."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions

from services.leads.adapters.documents import (
    due_call,
    entry_document,
    first_unread_behind,
    from_document,
    left_outbox,
    opted_out,
    to_document,
)
from services.leads.adapters.store import HISTORY_LIMIT, TALKS_LIMIT, UNREAD_REPLY
from services.leads.domain.call_outcome import talked_at
from services.leads.domain.messages import Message, Reply
from services.leads.domain.model import Call, DueCall, Lead, LeftOutbox, OfficerState, Task
from services.policy.suppression import KEY_CHECK_ID
from services.runtime.mongo_errors import StoreAway, StoreRefused

_AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
Documents = dict[str, dict[str, Any]]
NEVER = datetime.max.replace(tzinfo=UTC)
DOCUMENT_LIMIT_BYTES = 16 * 1024 * 1024


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    raw = bson.encode(document)
    if len(raw) > DOCUMENT_LIMIT_BYTES:
        raise StoreRefused(f"a document of {len(raw)} bytes")
    return bson.decode(raw, _AWARE)


class MemoryLeads:
    """Keeps the promises of `LeadStore` in one process.

    Attributes:
        asked: every method called, in order.
        away_after: so many more calls succeed, and the one after them finds the store away; None: it never is.
    """

    def __init__(self) -> None:
        self.calls: Documents = {}
        self.leads: Documents = {}
        self.officers_: Documents = {}
        self.messages: Documents = {}
        self.task_log: Documents = {}
        self.suppressions: Documents = {}
        self.away_after: int | None = None
        self.asked: list[str] = []

    async def _ask(self, what: str) -> None:
        await asyncio.sleep(0)  # others run while we wait, as with the real one
        self.asked.append(what)
        if self.away_after is not None:
            self.away_after -= 1
            if self.away_after < 0:
                self.away_after = None
                raise StoreAway("the fake was told to be away")

    async def find_call(self, key: str) -> Call | None:
        """Return a call."""
        await self._ask("find_call")
        found = self.calls.get(key)
        return from_document(Call, found) if found else None

    async def insert_call(self, call: Call) -> bool:
        """Store a new call."""
        await self._ask("insert_call")
        if call.key in self.calls:
            return False
        self.calls[call.key] = _kept(to_document(call))
        return True

    async def save_call(self, before: Call, after: Call) -> Call | None:
        """Store a changed call."""
        await self._ask("save_call")
        stored = self.calls.get(before.key)
        if stored is None or stored["rev"] != before.rev:
            return None
        said = stored.get("said_undecided", False)
        after = replace(after, rev=before.rev + 1, applied=stored["applied"], said_undecided=said)
        self.calls[before.key] = _kept(to_document(after))
        return after

    async def calls_due(self, now: datetime, partitions: Iterable[int], limit: int) -> list[DueCall]:
        """Return due calls."""
        await self._ask("calls_due")
        mine = {*partitions, None}
        return self._due(now, limit, lambda call: "outcome" in call or call.get("partition") in mine)

    async def calls_undecided(self, since: datetime, limit: int, *, untold: bool = False) -> list[DueCall]:
        """Return calls that were due and are undecided."""
        await self._ask("calls_undecided")
        return self._due(
            since, limit, lambda call: "outcome" not in call and not (untold and call.get("said_undecided"))
        )

    def _due(self, now: datetime, limit: int, fits: Callable[[dict[str, Any]], bool]) -> list[DueCall]:
        due = [call for call in self.calls.values() if "settle_at" in call and call["settle_at"] <= now and fits(call)]
        return [due_call(call) for call in sorted(due, key=lambda one: one["settle_at"])[:limit]]

    async def note_undecided(self, key: str) -> None:
        """Note that a call's caller has a task."""
        await self._ask("note_undecided")
        self.calls[key]["said_undecided"] = True

    async def claim_call(self, key: str, now: datetime, lease_until: datetime) -> Call | None:
        """Claim a due call."""
        await self._ask("claim_call")
        call = self.calls.get(key, {})
        if "settle_at" not in call or call["settle_at"] > now:
            return None
        self.calls[key] = call = _kept({**call, "settle_at": lease_until, "rev": call["rev"] + 1})
        return from_document(Call, call)

    async def finish_call(self, key: str, *, applied: bool) -> None:
        """Finish a call."""
        await self._ask("finish_call")
        call = self.calls[key]
        call.pop("settle_at", None)
        call["applied"] = call["applied"] or applied
        call["rev"] += 1

    async def talks_since(self, lender_id: str, caller: str, since: datetime) -> list[Call]:
        """Return a caller's calls with a later talk."""
        await self._ask("talks_since")
        whose = (lender_id, caller)
        found = [
            from_document(Call, one) for one in self.calls.values() if (one["lender_id"], one.get("caller")) == whose
        ]
        return [call for call in found if (talked := talked_at(call)) is not None and talked >= since][:TALKS_LIMIT]

    async def calls_settling(self) -> int:
        """Count calls that settle."""
        await self._ask("calls_settling")
        return sum("settle_at" in call and "ended_at" in call for call in self.calls.values())

    async def find_lead(self, lender_id: str, caller: str) -> Lead | None:
        """Return a caller's lead."""
        await self._ask("find_lead")
        return self._lead(lender_id, caller)

    def _lead(self, lender_id: str, caller: str) -> Lead | None:
        for lead in self.leads.values():
            if (lead["lender_id"], lead["caller"]) == (lender_id, caller):
                return from_document(Lead, lead)
        return None

    async def lead_by_id(self, lead_id: str) -> Lead | None:
        """Return a lead."""
        await self._ask("lead_by_id")
        found = self.leads.get(lead_id)
        return from_document(Lead, found) if found else None

    async def insert_lead(self, lead: Lead, now: datetime) -> bool:
        """Store a new lead."""
        await self._ask("insert_lead")
        if lead.lead_id in self.leads or self._lead(lead.lender_id, lead.caller):
            return False
        since = now if lead.outbox else None
        self.leads[lead.lead_id] = _kept(to_document(replace(lead, outbox_since=since)))
        return True

    async def save_lead(self, before: Lead, after: Lead, now: datetime) -> Lead | None:
        """Store a changed lead."""
        await self._ask("save_lead")
        stored = self.leads.get(before.lead_id)
        if stored is None or stored["rev"] != before.rev:
            return None
        new = [entry_document(entry) for entry in after.outbox if entry.seq > before.lead_seq]
        document = to_document(replace(after, rev=before.rev + 1, outbox=(), outbox_since=None))
        document["outbox"] = [*stored["outbox"], *new]
        since = stored.get("outbox_since") or (now if new else None)
        if since is not None:
            document["outbox_since"] = since
        self.leads[before.lead_id] = _kept(document)
        return from_document(Lead, self.leads[before.lead_id])

    async def pull_outbox(self, lead_id: str, upto_seq: int) -> None:
        """Take entries out of an outbox."""
        await self._ask("pull_outbox")
        lead = self.leads[lead_id]
        lead["outbox"] = [entry for entry in lead["outbox"] if entry["seq"] > upto_seq]
        if not lead["outbox"]:
            lead.pop("outbox_since", None)

    async def outboxes_left(self, since: datetime, limit: int, after: LeftOutbox | None = None) -> list[LeftOutbox]:
        """Return leads with an old outbox."""
        await self._ask("outboxes_left")
        found = [left_outbox(lead) for lead in self.leads.values() if lead.get("outbox_since", NEVER) <= since]
        behind = (after.since, after.lead_id) if after is not None else None
        found = [one for one in found if behind is None or (one.since, one.lead_id) > behind]
        return sorted(found, key=lambda one: (one.since, one.lead_id))[:limit]

    async def leads_of_others(self, lender_id: str, present: Sequence[str], limit: int, skip: int = 0) -> list[str]:
        """Return leads with a task whose owner has left."""
        await self._ask("leads_of_others")
        found = sorted(
            name
            for name, lead in self.leads.items()
            if lead["lender_id"] == lender_id and "task" in lead and lead.get("owner_id") not in (*present, None)
        )
        return found[skip : skip + limit]

    async def outboxes_pending(self) -> int:
        """Count leads with an outbox."""
        await self._ask("outboxes_pending")
        return sum("outbox_since" in lead for lead in self.leads.values())

    async def officers(self, ids: Sequence[str]) -> dict[str, OfficerState]:
        """Return officers."""
        await self._ask("officers")
        return {i: from_document(OfficerState, self.officers_[i]) for i in ids if i in self.officers_}

    async def save_officer(self, before: OfficerState, after: OfficerState) -> bool:
        """Store a changed officer."""
        await self._ask("save_officer")
        stored = self.officers_.get(before.officer_id)
        if stored is None or stored["rev"] != before.rev:
            return False
        self.officers_[before.officer_id] = _kept(to_document(replace(after, rev=before.rev + 1)))
        return True

    async def add_officers(self, officers: Sequence[OfficerState]) -> None:
        """Store officers that are not there."""
        await self._ask("add_officers")
        for officer in officers:
            self.officers_.setdefault(officer.officer_id, _kept(to_document(officer)))

    async def put_message(self, message: Message) -> bool:
        """Store a message."""
        await self._ask("put_message")
        if message.event_id in self.messages:
            return False
        self.messages[message.event_id] = _kept(to_document(message))
        return True

    async def find_reply(self, event_id: str) -> Reply | None:
        """Return a text."""
        await self._ask("find_reply")
        found = self.messages.get(event_id)
        return from_document(Reply, found) if found else None

    async def replies_of(self, lender_id: str, caller: str, limit: int) -> list[Reply]:
        """Return a caller's own texts."""
        await self._ask("replies_of")
        found = [
            one
            for one in self.messages.values()
            if (one["lender_id"], one["caller"], one["direction"]) == (lender_id, caller, "in")
        ]
        found.sort(key=lambda one: one["at"])
        return [from_document(Reply, one) for one in found[-limit:]]

    async def mark_delivered(self, touch_id: str, at: datetime) -> None:
        """Note a delivery."""
        await self._ask("mark_delivered")
        if message := self.messages.get(f"{touch_id}:sent"):
            message["delivered_at"] = at

    async def log_task(self, lead: Lead, task: Task) -> None:
        """Store a closed task."""
        await self._ask("log_task")
        whose = {"lead_id": lead.lead_id, "lender_id": lead.lender_id, "owner_id": lead.owner_id}
        self.task_log.setdefault(task.task_id, _kept({**to_document(task), **whose}))

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
        await self._ask("suppress")
        stored = self.suppressions.get(suppression_id, {})
        said = stored.get("history", [])
        opted_in_since = unless_opted_in_since and any(not word["active"] and word["at"] > at for word in said)
        if not opted_in_since:
            self._say(suppression_id, lender_id, at, why, event_id, active=True)
        return opted_out(self.suppressions[suppression_id])

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
        await self._ask("unsuppress")
        history = self.suppressions.get(suppression_id, {}).get("history", [])
        if any(word["event_id"] == event_id for word in history):
            return True
        if any(word["active"] and word["why"] != UNREAD_REPLY and word["at"] > at for word in history):
            return False
        behind = first_unread_behind(history, first_stood) if first_stood is not None else None
        if behind is None:
            self._say(suppression_id, lender_id, at, "start", event_id, active=False)
        else:
            word = {"at": at, "active": False, "why": "start", "event_id": event_id}
            history = [*history[:behind], word, *history[behind:]][-HISTORY_LIMIT:]
            self.suppressions[suppression_id] = _kept({**self.suppressions[suppression_id], "history": history})
        return True

    def _say(self, number: str, lender_id: str, at: datetime, why: str, event_id: str, *, active: bool) -> None:
        history = self.suppressions.get(number, {}).get("history", [])
        if any(one["event_id"] == event_id for one in history):
            return
        word = {"at": at, "active": active, "why": why, "event_id": event_id}
        history = [*history, word][-HISTORY_LIMIT:]
        self.suppressions[number] = _kept({"_id": number, "lender_id": lender_id, **word, "history": history})

    async def lift(self, suppression_id: str, event_id: str) -> bool:
        """Take a word out."""
        await self._ask("lift")
        stored = self.suppressions.get(suppression_id, {})
        history = [word for word in stored.get("history", ()) if word["event_id"] != event_id]
        if len(history) == len(stored.get("history", ())):
            return False
        last = history[-1] if history else {"active": False, "why": "lifted", "event_id": event_id}
        self.suppressions[suppression_id] = {**stored, **last, "history": history}
        return True

    async def is_suppressed(self, suppression_id: str) -> bool:
        """Say whether a number is opted out."""
        await self._ask("is_suppressed")
        return opted_out(self.suppressions.get(suppression_id, {}))

    async def was_suppressed(self, suppression_id: str, event_id: str) -> bool:
        """Say whether a number is opted out, or was until an event."""
        await self._ask("was_suppressed")
        stored = self.suppressions.get(suppression_id, {})
        return opted_out(stored) or any(one["event_id"] == event_id for one in stored.get("history", ()))

    async def check_key(self, key_check: str) -> bool:
        """Check the key."""
        await self._ask("check_key")
        stored = self.suppressions.setdefault(KEY_CHECK_ID, {"_id": KEY_CHECK_ID, "check": key_check})
        return bool(stored["check"] == key_check)
