"""decode -> load -> decide -> save -> emit: the only caller of both the domain and the adapters.

Every change of a lead goes through `_change` (or `_recover`, which may have to make the lead): read, decide, write on
condition. When another event of the caller has written first, start over: read and decide again. Side documents come
first, under ids that make their repetition harmless. The lead, which says whether an event was applied, comes last, and
then its outbox.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeGuard

import structlog

from schemas.base import EventData
from schemas.calls import CallCompleted, CallFact, CallLegAnswered, CallStarted, VoicemailRecorded, VoicemailTranscribed
from schemas.envelope import Event
from schemas.inbound import ReplyReceived
from schemas.touches import TouchDelivered, TouchResult
from services.leads import metrics
from services.leads.adapters.store import LeadStore
from services.leads.assignment import Assigner
from services.leads.domain import calls, messages, recovery
from services.leads.domain.intents import intents_of
from services.leads.domain.messages import Reply
from services.leads.domain.model import OUTBOX_LIMIT, SEEN_LIMIT, Call, Cause, Lead, LeadChange
from services.leads.domain.replies import apply_reply, in_context
from services.leads.domain.touches import apply_result, is_opt_out
from services.leads.errors import TooMuchContention
from services.leads.recent import Recent
from services.policy.directory import Directory
from services.policy.optout import Keyword, read_keyword
from services.policy.suppression import suppression_id
from services.runtime.clock import Clock
from services.runtime.handled import APPLIED, Handled, ignored
from services.runtime.producer import Producer

log = structlog.get_logger(__name__)

DECISION_LEASE_S = 10.0
"""How long whoever decided a call has to do all it causes, before the settler of any instance does it again."""
TRIES = 20
RECENT_CALLS = 5_000
RECENT_LEADS = 2_000
EARLIER_TEXTS_LIMIT = SEEN_LIMIT - 10
"""How many of a caller's earlier texts a new lead has in `seen`; room is left for what comes with it."""


class Shell:
    """Handles one event at a time per partition, several partitions side by side."""

    def __init__(
        self, store: LeadStore, producer: Producer, directory: Directory, clock: Clock, number_key: str
    ) -> None:
        self._store, self._producer, self._clock, self._number_key = store, producer, clock, number_key
        self._assigner = Assigner(store, directory)
        self._calls: Recent[Call] = Recent(RECENT_CALLS)
        self._leads: Recent[Lead] = Recent(RECENT_LEADS)

    async def handle(self, event: Event[EventData]) -> Handled:
        """Apply one event; the offset may be committed once this returns."""
        if _is_call_fact(event):
            return await self._on_fact(event)
        match event.data:
            case ReplyReceived() as reply:
                return await self._on_reply(event, reply)
            case TouchResult() as result:
                return await self._on_result(event, result)
        return ignored("not_for_us")

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _on_fact(self, event: Event[CallFact]) -> Handled:
        key = calls.new_call(event).key
        async for _ in self._tries("calls"):
            before = self._calls.get(key)
            if before is None and not isinstance(event.data, CallStarted | CallCompleted):
                before = await self._store.find_call(key)  # the others are rarely a call's first fact
            base = before or calls.new_call(event)
            now, real_now = self._clock.now(), self._clock.real_now()
            after = calls.read(base, event, now=now, real_now=real_now, lease_s=DECISION_LEASE_S)
            if after is None:
                await self._consequences(base, base, event)
                return ignored("duplicate")
            if before is None:
                stored = after if await self._store.insert_call(after) else None
            else:
                stored = await self._store.save_call(before, after)
            if stored is not None:
                self._calls.remember(key, stored)
                await self._consequences(base, stored, event)
                return APPLIED
            found = await self._store.find_call(key)
            if found is not None:
                self._calls.remember(key, found)
        raise TooMuchContention(f"call {key}")

    async def _consequences(self, before: Call, call: Call, event: Event[CallFact]) -> None:
        fact = event.data
        if call.outcome is None:
            # At once and not at the call's end: while they talk, no text may go (and a leg may come without a caller).
            if calls.answered(call) and (isinstance(fact, CallLegAnswered) or before.caller is None):
                await self._contact(call)
            return
        if before.outcome is None:
            _count_decision(call)
        if not call.applied:
            await self._carry_out(call, first_try=before.outcome is None)
        elif isinstance(fact, VoicemailRecorded | VoicemailTranscribed) and call.caller is not None:
            await self._change(
                call.lender_id,
                call.caller,
                lambda lead: recovery.add_voicemails(lead, call, event.id, self._clock.now()),
            )
        if call.late_answer:
            if not before.late_answer:
                metrics.LATE_ANSWERS.inc()
                log.warning("answered_after_decision", call_id=call.call_id, outcome=call.outcome)
            await self._contact(call)

    async def settle(self, call: Call) -> None:
        """Decide a claimed call by the facts there are, if nobody has yet, and do all its decision causes."""
        self._calls.forget(call.key)
        first_try = call.outcome is None
        if first_try:
            after = await self._store.save_call(call, calls.settled(call, self._clock.now()))
            if after is None:
                return  # a fact came in between, and with it another settle_at
            _count_decision(after)
            call = after
        await self._carry_out(call, first_try=first_try)

    async def _carry_out(self, call: Call, *, first_try: bool) -> None:
        """Do what a decision causes; may be repeated at any point, `first_try` being true for its decider only."""
        log.info("call_decided", call_id=call.call_id, outcome=call.outcome, by=call.decided_by)
        self._calls.forget(call.key)
        nameless = call.caller is None and not call.withheld
        if call.outcome == "answered":
            await self._contact(call)
        elif call.caller is not None:
            await self._recover(call, call.caller, first_try=first_try)
        # A call whose caller no fact has named yet waits, without a timer, for one that does.
        await self._store.finish_call(call.key, applied=call.outcome == "answered" or not nameless)

    async def _contact(self, call: Call) -> None:
        if call.caller is None:
            return
        found = await self._change(
            call.lender_id, call.caller, lambda lead: recovery.contact(lead, call, self._clock.now())
        )
        if found is not None and not found.ignored:
            metrics.CONTACTED.inc()
            log.info("lead_contacted", call_id=call.call_id, lead_id=found.lead.lead_id)

    # --- leads -------------------------------------------------------------------------------------------------------

    async def _recover(self, call: Call, caller: str, *, first_try: bool) -> None:
        """Make a missed call's lead, or raise the one that is there, and emit what it has to tell."""
        lender_id = call.lender_id
        async for attempt in self._tries("leads"):
            found, opted_out, earlier = await asyncio.gather(
                self._lead(lender_id, caller),
                self._store.is_suppressed(self._suppression(lender_id, caller)),
                self._store.replies_of(lender_id, caller, EARLIER_TEXTS_LIMIT),
            )
            if found is not None:
                self._leads.remember(_whose(lender_id, caller), found)
                await self._call_again(call, caller)
                return
            place, now = self._assigner.place(call, caller, call.branch_id), self._clock.now()
            owner_id = await self._assigner.take(place, call.decision_id, now, first_try=first_try and attempt == 0)
            lead = recovery.open_lead(
                call, caller, place=place, owner_id=owner_id, now=now, opted_out=opted_out, earlier=earlier
            )
            if await self._store.insert_lead(lead, self._clock.real_now()):
                metrics.LEADS_OPENED.inc()
                log.info("lead_opened", call_id=call.call_id, lead_id=lead.lead_id)
                await self.emit(lead)
                await self._apply_texts_of_meanwhile(lead)
                return
        raise TooMuchContention(f"lead of call {call.key}")

    async def _call_again(self, call: Call, caller: str) -> None:
        new_owner: str | None = None
        lead = await self._lead(call.lender_id, caller)
        if lead is not None and lead.owner_id is None and call.decision_id not in lead.seen:
            place = self._assigner.place(call, caller, lead.branch_id)
            new_owner = await self._assigner.take(place, call.decision_id, self._clock.now())

        def change(lead: Lead) -> LeadChange:
            place = self._assigner.place(call, caller, lead.branch_id)
            return recovery.call_again(lead, call, place, new_owner, self._clock.now())

        found = await self._change(call.lender_id, caller, change)
        if found is not None and not found.ignored:
            metrics.CALLED_AGAIN.inc()
            log.info("lead_called_again", call_id=call.call_id, lead_id=found.lead.lead_id)

    async def _apply_texts_of_meanwhile(self, lead: Lead) -> None:
        """Apply texts that came while the lead was made: each side writes before it reads, so one sees the other."""
        for reply in await self._store.replies_of(lead.lender_id, lead.caller, EARLIER_TEXTS_LIMIT):
            if reply.event_id not in lead.seen:
                await self._apply_reply(reply)

    async def _change(self, lender_id: str, caller: str, change: Callable[[Lead], LeadChange]) -> LeadChange | None:
        """Change a caller's lead and emit what it has to tell; None when there is none.

        Args:
            lender_id: whose lead.
            caller: the borrower.
            change: pure; asked again with the newest lead whenever another write came first.
        """
        async for _ in self._tries("leads"):
            lead = await self._lead(lender_id, caller)
            if lead is None:
                return None
            if len(lead.outbox) > OUTBOX_LIMIT // 2:
                await self.emit(lead)  # Kafka is away: this raises, and the event waits with it
            found = change(lead)
            if found.ignored:
                await self.emit(lead)  # a replay finishes what the first try began
                return found
            if found.closed is not None:
                await self._store.log_task(found.lead, found.closed)
            saved = await self._store.save_lead(lead, found.lead, self._clock.real_now())
            if saved is not None:
                await self.emit(saved)
                return replace(found, lead=saved)
            self._leads.forget(_whose(lender_id, caller))
        raise TooMuchContention("lead")

    async def _lead(self, lender_id: str, caller: str) -> Lead | None:
        return self._leads.get(_whose(lender_id, caller)) or await self._store.find_lead(lender_id, caller)

    async def emit(self, lead: Lead) -> None:
        """Send a stored lead's outbox whole and in order, and only when all of it is acknowledged take it out."""
        whose = _whose(lead.lender_id, lead.caller)
        if lead.outbox:
            self._leads.forget(whose)
            await self._producer.send_wire(*(entry.wire for entry in lead.outbox))
            await self._store.pull_outbox(lead.lead_id, lead.outbox[-1].seq)
        self._leads.remember(whose, replace(lead, outbox=(), outbox_since=None))

    # --- texts -------------------------------------------------------------------------------------------------------

    async def _on_reply(self, event: Event[EventData], received: ReplyReceived) -> Handled:
        lender_id, caller = event.lender_id, received.caller
        lead = await self._lead(lender_id, caller)
        if lead is not None and event.id in lead.seen:
            await self.emit(lead)
            return ignored("duplicate")
        keyword, number = read_keyword(received.body, received.opt_out_type), self._suppression(lender_id, caller)
        if keyword is Keyword.YES:
            keyword = in_context(keyword, opted_out=await self._store.is_suppressed(number))
        if lead is None and await self._was_obeyed(event, caller, keyword):
            return ignored("duplicate")
        if keyword is Keyword.STOP:
            await self._store.suppress(number, lender_id, event.time, "keyword", event.id)
        elif keyword is Keyword.START:
            await self._store.unsuppress(number, lender_id, event.time, event.id)
        intents = intents_of(received.body) if keyword is Keyword.NONE else ()
        reply = messages.of_reply(event, received, keyword, intents)
        if await self._store.put_message(reply):
            metrics.REPLIES.labels(keyword.value).inc()
            if keyword is Keyword.STOP:
                metrics.OPT_OUTS.labels("borrower").inc()
            elif keyword is Keyword.START:
                metrics.OPT_INS.inc()
        found = await self._apply_reply(reply)
        return ignored("duplicate") if found is not None and found.ignored else APPLIED

    async def _was_obeyed(self, event: Event[EventData], caller: str, keyword: Keyword) -> bool:
        # Without a lead the stored text says that its keyword was obeyed: a late copy must not undo a later one.
        if keyword not in (Keyword.STOP, Keyword.START):
            return False
        earlier = await self._store.replies_of(event.lender_id, caller, EARLIER_TEXTS_LIMIT)
        return any(reply.event_id == event.id for reply in earlier)

    async def _apply_reply(self, reply: Reply) -> LeadChange | None:
        return await self._change(
            reply.lender_id, reply.caller, lambda lead: apply_reply(lead, reply, self._clock.now())
        )

    # --- touches -----------------------------------------------------------------------------------------------------

    async def _on_result(self, event: Event[EventData], result: TouchResult) -> Handled:
        lead = await self._lead(event.lender_id, result.caller)
        if lead is not None and event.id in lead.seen:
            await self.emit(lead)
            return ignored("duplicate")
        if is_opt_out(result):
            number = self._suppression(event.lender_id, result.caller)
            await self._store.suppress(number, event.lender_id, event.time, "carrier", event.id)
        message = messages.of_result(event, result)
        if message is not None and await self._store.put_message(message) and is_opt_out(result):
            metrics.OPT_OUTS.labels("carrier").inc()
        if isinstance(result, TouchDelivered):
            await self._store.mark_delivered(result.touch_id, result.delivered_at)
        cause = Cause(event.id, event.received_at, event.traceparent)
        found = await self._change(
            event.lender_id, result.caller, lambda lead: apply_result(lead, result, cause, self._clock.now())
        )
        if found is None:
            return ignored("no_lead")
        return ignored(found.ignored) if found.ignored else APPLIED

    # --- shared ------------------------------------------------------------------------------------------------------

    def _suppression(self, lender_id: str, caller: str) -> str:
        return suppression_id(self._number_key, lender_id, caller)

    async def _tries(self, collection: str) -> AsyncIterator[int]:
        """Yield once for each try to decide and write; the pauses keep two deciders from conflicting for ever."""
        for attempt in range(TRIES):
            if attempt:
                metrics.CONFLICTS.labels(collection).inc()
                await asyncio.sleep(random.uniform(0.5, 1.0) * min(0.05, 0.001 * 2**attempt))
            yield attempt


def _is_call_fact(event: Event[EventData]) -> TypeGuard[Event[CallFact]]:
    return isinstance(event.data, CallFact)


def _whose(lender_id: str, caller: str) -> str:
    return f"{lender_id}:{caller}"


def _count_decision(call: Call) -> None:
    if call.test or call.outcome is None or call.decided_by is None:
        return
    metrics.CALLS.labels(call.outcome).inc()
    metrics.DECIDED.labels(call.decided_by).inc()
    if call.outcome != "answered":
        source = "caller" if call.caller else "withheld" if call.withheld else "unknown"
        metrics.MISSED.labels(source).inc()
