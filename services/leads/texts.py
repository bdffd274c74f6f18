"""Borrowers' texts: the opt-out first, then the text itself, then what it makes of the lead, or a lead of its own."""

import asyncio
from datetime import datetime

import structlog

from schemas.base import EventData
from schemas.envelope import Event
from schemas.inbound import ReplyReceived
from services.leads import metrics
from services.leads.adapters.store import LeadStore
from services.leads.assignment import Assigner
from services.leads.changes import LeadChanges, tries
from services.leads.domain import messages
from services.leads.domain.intents import intents_of
from services.leads.domain.messages import Reply
from services.leads.domain.model import SEEN_LIMIT, Cause, Lead, LeadChange
from services.leads.domain.recovery import reassign
from services.leads.domain.replies import apply_reply, in_context, open_by_text
from services.leads.errors import TooMuchContention
from services.policy.optout import Keyword, read_keyword
from services.policy.suppression import suppression_id
from services.runtime.clock import Clock
from services.runtime.handled import APPLIED, Handled, ignored

log = structlog.get_logger(__name__)

EARLIER_TEXTS_LIMIT = SEEN_LIMIT - 10
"""How many of a caller's earlier texts a new lead has in `seen`; room is left for what comes with it."""


class Texts:
    """What a borrower's text does, whether or not there is a lead."""

    def __init__(
        self, *, store: LeadStore, changes: LeadChanges, assigner: Assigner, clock: Clock, number_key: str
    ) -> None:
        self._store, self._changes, self._assigner = store, changes, assigner
        self._clock, self._number_key = clock, number_key

    async def on_reply(self, event: Event[EventData], received: ReplyReceived) -> Handled:
        """Apply one text; every part of it may be repeated."""
        keyword = read_keyword(received.body, received.opt_out_type)
        if keyword in (Keyword.STOP, Keyword.START, Keyword.YES):
            keyword = await self._steer(event, received, keyword)
        intents = intents_of(received.body) if keyword is Keyword.NONE else ()
        reply = messages.of_reply(event, received, keyword, intents)
        is_new = await self._store.put_message(reply)
        if is_new:
            metrics.REPLIES.labels(keyword.value).inc()
            if keyword is Keyword.STOP:
                metrics.OPT_OUTS.labels("borrower").inc()
            elif keyword is Keyword.START:
                metrics.OPT_INS.inc()
        found = await self._apply(reply)
        if found is None:
            return APPLIED if is_new else ignored("duplicate")
        return ignored(found.ignored) if found.ignored else APPLIED

    async def _steer(self, event: Event[EventData], received: ReplyReceived, keyword: Keyword) -> Keyword:
        """Do what a word does to the number; return what it means, the same at every try and for a webhook after a list."""
        number = self.suppression(event.lender_id, received.caller)
        said_at = min(event.time, received.received_at)
        kept = await self._store.find_reply(event.id)
        if kept is not None:
            keyword = kept.keyword
        elif received.listed and keyword in (Keyword.START, Keyword.YES):
            keyword = Keyword.NONE  # a STOP that was sent after it may be known already: a person reads it
        elif keyword is Keyword.YES:
            keyword = in_context(keyword, opted_out=await self._store.was_suppressed(number, event.id))
        if keyword is Keyword.STOP:
            at = said_at if received.listed else event.time
            stopped = await self._store.suppress(
                number, event.lender_id, at, "keyword", event.id, unless_opted_in_since=received.listed
            )
            if received.listed and kept is None and not stopped:
                log.warning("stop_older_than_start", event_id=event.id)
                keyword = Keyword.NONE  # a START that was sent after it is known already: a person reads it
        elif keyword is Keyword.START:
            started = await self._store.unsuppress(
                number, event.lender_id, said_at, event.id, first_stood=event.first_stood
            )
            if not started:
                # It was replayed after a STOP that was said later: a person reads it.
                log.warning("start_older_than_stop", event_id=event.id)
                keyword = Keyword.NONE
        return keyword

    async def _apply(self, reply: Reply) -> LeadChange | None:
        async for _ in tries("leads"):
            found = await self._changes.change(
                reply.lender_id, reply.caller, lambda lead: apply_reply(lead, reply, self._clock.now())
            )
            if found is not None:
                return await self._owned(found, reply)
            if reply.keyword is not Keyword.NONE:
                return None  # a word that only steers texting makes no lead
            lead = await self._open(reply)
            if lead is not None:
                return LeadChange(lead)
        raise TooMuchContention("lead of a text")

    async def _open(self, reply: Reply) -> Lead | None:
        """Make the lead of a text from someone without one; None when another event makes it at this moment."""
        earlier = await self._store.replies_of(reply.lender_id, reply.caller, EARLIER_TEXTS_LIMIT)
        place = self._assigner.place(reply.at, reply.caller, dialled=reply.to)
        # After the texts: whoever has put a STOP there has suppressed the number before.
        opted_out, owner_id = await asyncio.gather(
            self._store.is_suppressed(self.suppression(reply.lender_id, reply.caller)),
            self._assigner.take(place, reply.event_id, self._clock.now()),
        )
        lead = open_by_text(
            reply, place=place, owner_id=owner_id, now=self._clock.now(), opted_out=opted_out, earlier=earlier
        )
        if not await self._store.insert_lead(lead, self._clock.real_now()):
            return None
        metrics.LEADS_OPENED.inc()
        log.info("lead_opened_by_text", lead_id=lead.lead_id)
        await self._changes.emit_or_leave(lead)
        await self.apply_others(lead)
        return lead

    async def apply_others(self, lead: Lead) -> None:
        """Apply texts that came while the lead was made: each side writes before it reads, so one sees the other."""
        for reply in await self._store.replies_of(lead.lender_id, lead.caller, EARLIER_TEXTS_LIMIT):
            if reply.event_id not in lead.seen:
                await self._apply(reply)

    async def _owned(self, found: LeadChange, reply: Reply) -> LeadChange:
        await self.own(found.lead, reply.cause, reply.at, dialled=reply.to)
        return found

    async def own(self, lead: Lead, cause: Cause, at: datetime, *, dialled: str | None) -> bool:
        """Give a lead to somebody where it has nobody, or an officer who has left; return whether it has somebody now."""
        if self._assigner.is_here(lead.owner_id):
            return True
        gone, place = lead.owner_id, self._assigner.place(at, lead.caller, lead.branch_id, dialled=dialled)
        owner_id = await self._assigner.take(place, f"{cause.id}:owner", self._clock.now())
        if owner_id is not None:
            await self._changes.change(
                lead.lender_id,
                lead.caller,
                lambda newest: reassign(newest, owner_id, in_place_of=gone, cause=cause, now=self._clock.now()),
            )
        return owner_id is not None

    def suppression(self, lender_id: str, caller: str) -> str:
        """Return the id under which a number is suppressed."""
        return suppression_id(self._number_key, lender_id, caller)
