"""decode -> load -> decide -> save -> emit: the only caller of both the domain and the adapters.

Every change of a lead goes through `LeadChanges.change`, or makes the lead: read, decide, write on condition. When
another event of the caller has written first, start over: read and decide again. Side documents come first, under ids
that make their repetition harmless. The lead, which says whether an event was applied, comes last, and then its outbox.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeGuard

import structlog

from schemas.base import EventData
from schemas.calls import CallCompleted, CallFact, CallLegAnswered, CallStarted, VoicemailRecorded, VoicemailTranscribed
from schemas.envelope import Event
from schemas.ids import partition_key
from schemas.inbound import ReplyLookedAt, ReplyReceived
from schemas.touches import TouchDelivered, TouchResult
from services.leads import metrics
from services.leads.adapters.store import LeadStore
from services.leads.assignment import Assigner
from services.leads.call_cache import CallCache
from services.leads.changes import LeadChanges, tries
from services.leads.domain import call_outcome, messages, recovery
from services.leads.domain.model import Call, Cause, Lead, LeadChange
from services.leads.domain.touches import apply_result, is_opt_out
from services.leads.errors import NobodyTakesIt, TooMuchContention
from services.leads.texts import EARLIER_TEXTS_LIMIT, Texts
from services.leads.unread import Unread
from services.policy.directory import Directory
from services.runtime.clock import Clock
from services.runtime.handled import APPLIED, Handled, ignored
from services.runtime.producer import Producer

log = structlog.get_logger(__name__)

DECISION_LEASE_S = 10.0
"""How long whoever decided a call has to do all it causes, before the settler of any instance does it again."""
RECENT_CALLS = 5_000


class Shell:
    """Handles one event at a time per partition, several partitions side by side."""

    def __init__(
        self,
        *,
        store: LeadStore,
        producer: Producer,
        directory: Directory,
        clock: Clock,
        number_key: str,
        partition_of: Callable[[bytes], int],
    ) -> None:
        self._store, self._clock, self._partition_of = store, clock, partition_of
        self._assigner = Assigner(store, directory)
        self._changes = LeadChanges(store, producer, clock, partition_of)
        self._texts = Texts(
            store=store, changes=self._changes, assigner=self._assigner, clock=clock, number_key=number_key
        )
        self._unread = Unread(store, clock, number_key)
        self._calls = CallCache(RECENT_CALLS)

    async def handle(self, event: Event[EventData]) -> Handled:
        """Apply one event; the offset may be committed once this returns."""
        if _is_call_fact(event):
            return await self._on_fact(event)
        match event.data:
            case ReplyReceived() as reply:
                return await self._texts.on_reply(event, reply)
            case ReplyLookedAt() as looked_at:
                return await self._unread.on_looked_at(event.key, looked_at)
            case TouchResult() as result:
                return await self._on_result(event, result)
        return ignored("not_for_us")

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _on_fact(self, event: Event[CallFact]) -> Handled:
        key = call_outcome.new_call(event).key
        async for _ in tries("calls"):
            before = self._calls.get(key)
            if before is None and not isinstance(event.data, CallStarted | CallCompleted):
                before = await self._store.find_call(key)  # the others are rarely a call's first fact
            base = before or call_outcome.new_call(event)
            now, real_now = self._clock.now(), self._clock.real_now()
            after = call_outcome.read(base, event, now=now, real_now=real_now, lease_s=DECISION_LEASE_S)
            if after is None:
                await self._consequences(base, base, event)
                return ignored("duplicate")
            key_of = partition_key(after.lender_id, after.caller, after.call_id)
            after = replace(after, partition=self._partition_of(key_of))
            if before is None:
                stored = after if await self._store.insert_call(after) else None
            else:
                stored = await self._store.save_call(before, after)
            if stored is not None:
                self._calls.remember(stored)
                await self._consequences(base, stored, event)
                return APPLIED
            found = await self._store.find_call(key)
            if found is not None:
                self._calls.remember(found)
        raise TooMuchContention(f"call {key}")

    async def _consequences(self, before: Call, call: Call, event: Event[CallFact]) -> None:
        fact = event.data
        if call.outcome is None:
            # At once and not at the call's end: while they talk, no text may go (and a leg may come without a caller).
            if call_outcome.answered(call) and (isinstance(fact, CallLegAnswered) or before.caller is None):
                await self._contact(call)
            return
        if before.outcome is None:
            _count_decision(call)
        if not call.applied:
            await self._carry_out(call, first_try=before.outcome is None)
        # Whoever decided the call may be making its lead at this moment, from the call as it was without the recording.
        is_late = before.outcome is not None and isinstance(fact, VoicemailRecorded | VoicemailTranscribed)
        if is_late and call.caller is not None:
            await self._changes.change(
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
            after = await self._store.save_call(call, call_outcome.settled(call, self._clock.now()))
            if after is None:
                return  # a fact came in between, and with it another settle_at
            _count_decision(after)
            call = after
        await self._carry_out(call, first_try=first_try)

    async def say_undecided(self, key: str) -> None:
        """Give a call that nobody can decide to a person: a task, and no text. It is still decided once it can be."""
        call = await self._store.find_call(key)
        if call is None or call.outcome is not None:
            return
        if call.caller is not None:
            await self._in_doubt(call, call.caller)
        await self._store.note_undecided(key)
        self._calls.forget(key)
        metrics.SAID_UNDECIDED.inc()
        log.warning("call_not_decided", call_id=call.call_id)

    async def _in_doubt(self, call: Call, caller: str) -> None:
        """Give a call to a person of which nobody knows whether it was answered; a lead made for it starts no texts."""

        def change(lead: Lead) -> LeadChange:
            place = self._assigner.place(call.over_at, caller, lead.branch_id, dialled=call.dialled)
            return recovery.in_doubt(lead, call, place, self._clock.now())

        async for _ in tries("leads"):
            if await self._talks_since(call, caller):
                log.info("talked_since", call_id=call.call_id)
                return
            found = await self._changes.change(call.lender_id, caller, change)
            if found is not None:
                await self._texts.own(found.lead, recovery.cause_of_doubt(call), call.over_at, dialled=call.dialled)
                if found.lead.opened_by_call == call.key:  # a try that failed has made it
                    await self._catch_up(found.lead, call)
                return
            now = self._clock.now()
            place = self._assigner.place(call.over_at, caller, call.branch_id, dialled=call.dialled)
            # The texts first: whoever has put a STOP there has suppressed the number before.
            earlier = await self._store.replies_of(call.lender_id, caller, EARLIER_TEXTS_LIMIT)
            opted_out, owner_id = await asyncio.gather(
                self._store.is_suppressed(self._texts.suppression(call.lender_id, caller)),
                self._assigner.take(place, call.decision_id, now),
            )
            lead = recovery.open_for_task(
                call, caller, place=place, owner_id=owner_id, now=now, opted_out=opted_out, earlier=earlier
            )
            if await self._store.insert_lead(lead, self._clock.real_now()):
                metrics.LEADS_OPENED.inc()
                await self._changes.emit_or_leave(lead)
                await self._catch_up(lead, call)
                return
        raise TooMuchContention(f"lead of a call in doubt {call.key}")

    async def _carry_out(self, call: Call, *, first_try: bool) -> None:
        """Do what a decision causes; may be repeated at any point, `first_try` being true for its decider only."""
        log.info("call_decided", call_id=call.call_id, outcome=call.outcome, by=call.decided_by)
        self._calls.forget(call.key)
        nameless = call.caller is None and not call.withheld
        if call.outcome == "answered":
            await self._contact(call)
        elif call.caller is not None and call.decided_by == "reconciler":
            await self._in_doubt(call, call.caller)
        elif call.caller is not None:
            await self._recover(call, call.caller, first_try=first_try)
        # A call whose caller no fact has named yet waits, without a timer, for one that does.
        await self._store.finish_call(call.key, applied=not nameless)

    async def _contact(self, call: Call) -> None:
        if call.caller is None:
            return
        found = await self._changes.change(
            call.lender_id, call.caller, lambda lead: recovery.contact(lead, call, self._clock.now())
        )
        if found is not None and not found.ignored:
            metrics.CONTACTED.inc()
            log.info("lead_contacted", call_id=call.call_id, lead_id=found.lead.lead_id)

    # --- leads -------------------------------------------------------------------------------------------------------

    async def _recover(self, call: Call, caller: str, *, first_try: bool) -> None:
        """Make a missed call's lead, or raise the one that is there, and emit what it has to tell.

        A miss that is decided after a person of ours has talked to the caller causes nothing.
        """
        lender_id = call.lender_id
        async for attempt in tries("leads"):
            found, earlier, talks = await asyncio.gather(
                self._store.find_lead(lender_id, caller),
                self._store.replies_of(lender_id, caller, EARLIER_TEXTS_LIMIT),
                self._talks_since(call, caller),
            )
            if talks and (found is None or call.decision_id not in found.seen):
                log.info("talked_since", call_id=call.call_id)
                return
            if found is not None:
                await self._texts.own(found, call_outcome.cause_of_decision(call), call.over_at, dialled=call.dialled)
                await self._call_again(call, caller)
                if found.opened_by_call == call.key:  # a try that failed has made it
                    await self._catch_up(found, call)
                return
            place = self._assigner.place(call.over_at, caller, call.branch_id, dialled=call.dialled)
            now = self._clock.now()
            # The suppression after the texts: whoever has put a STOP there has suppressed the number before.
            opted_out, owner_id = await asyncio.gather(
                self._store.is_suppressed(self._texts.suppression(lender_id, caller)),
                self._assigner.take(place, call.decision_id, now, first_try=first_try and attempt == 0),
            )
            lead = recovery.open_lead(
                call, caller, place=place, owner_id=owner_id, now=now, opted_out=opted_out, earlier=earlier
            )
            if await self._store.insert_lead(lead, self._clock.real_now()):
                metrics.LEADS_OPENED.inc()
                log.info("lead_opened", call_id=call.call_id, lead_id=lead.lead_id)
                await self._changes.emit_or_leave(lead)
                await self._catch_up(lead, call)
                return
        raise TooMuchContention(f"lead of call {call.key}")

    async def _talks_since(self, call: Call, caller: str) -> list[Call]:
        """Return the caller's calls in which a person of ours has talked since this one began."""
        talks = await self._store.talks_since(call.lender_id, caller, call_outcome.began_at(call))
        return [talk for talk in talks if talk.key != call.key]

    async def _catch_up(self, lead: Lead, call: Call) -> None:
        """Apply what came while the lead was made: each side writes before it reads, so one sees the other."""
        talks, _ = await asyncio.gather(self._talks_since(call, lead.caller), self._texts.apply_others(lead))
        for talk in talks:
            await self._contact(talk)

    async def _call_again(self, call: Call, caller: str) -> None:
        def change(lead: Lead) -> LeadChange:
            place = self._assigner.place(call.over_at, caller, lead.branch_id, dialled=call.dialled)
            return recovery.call_again(lead, call, place, self._clock.now())

        found = await self._changes.change(call.lender_id, caller, change)
        if found is not None and not found.ignored:
            metrics.CALLED_AGAIN.inc()
            log.info("lead_called_again", call_id=call.call_id, lead_id=found.lead.lead_id)

    async def emit(self, lead: Lead) -> None:
        """Send a stored lead's outbox; for the sweeper."""
        await self._changes.emit(lead)

    async def replace_owner(self, lead_id: str) -> None:
        """Give a lead with an open task to somebody of its branch, if its owner has left.

        Raises:
            NobodyTakesIt: its branch has no officers.
        """
        lead = await self._store.lead_by_id(lead_id)
        if lead is None or lead.task is None:
            return
        cause = Cause(f"{lead_id}:{lead.owner_id}:left")
        if not await self._texts.own(lead, cause, self._clock.now(), dialled=None):
            raise NobodyTakesIt(f"lead {lead_id} of branch {lead.branch_id}")

    # --- touches -----------------------------------------------------------------------------------------------------

    async def _on_result(self, event: Event[EventData], result: TouchResult) -> Handled:
        taken = False
        if is_opt_out(result):
            number = self._texts.suppression(event.lender_id, result.caller)
            taken = await self._store.suppress(
                number, event.lender_id, event.time, "carrier", event.id, unless_opted_in_since=True
            )
        message = messages.of_result(event, result)
        if message is not None and await self._store.put_message(message) and taken:
            metrics.OPT_OUTS.labels("carrier").inc()
        if isinstance(result, TouchDelivered):
            await self._store.mark_delivered(result.touch_id, result.delivered_at)
        cause = Cause(event.id, event.received_at, event.traceparent)
        found = await self._changes.change(
            event.lender_id,
            result.caller,
            lambda lead: apply_result(lead, result, cause, at=event.time, now=self._clock.now()),
        )
        if found is None:
            return ignored("no_lead")
        return ignored(found.ignored) if found.ignored else APPLIED


def _is_call_fact(event: Event[EventData]) -> TypeGuard[Event[CallFact]]:
    return isinstance(event.data, CallFact)


def _count_decision(call: Call) -> None:
    if call.test or call.outcome is None or call.decided_by is None:
        return
    metrics.DECIDED.labels(call.decided_by).inc()
    if call.decided_by == "reconciler":
        return  # it may have been answered: it is in no rate
    metrics.CALLS.labels(call.outcome).inc()
    if call.outcome != "answered":
        source = "caller" if call.caller else "withheld" if call.withheld else "unknown"
        metrics.MISSED.labels(source).inc()
