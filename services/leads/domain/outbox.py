"""Putting an event into a lead's outbox, in the same value that the event is about."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypedDict

from schemas.base import Texting
from schemas.envelope import Event, encode
from schemas.ids import partition_key
from schemas.leads import LeadEvent, LeadSnapshot
from services.leads.domain.model import SEEN_LIMIT, Cause, Lead, OutboxEntry

SOURCE = "ringback/leads"


class CommonFields(TypedDict):
    """The fields that every `leads` event has."""

    lead_id: str
    lead_seq: int
    caller: str
    texting: Texting
    cause: str
    lead: LeadSnapshot


def tell(lead: Lead, event: Callable[[CommonFields], LeadEvent], cause: Cause, now: datetime) -> Lead:
    """Return the lead with one more event to emit, `lead_seq` raised; call it last, for it takes a snapshot.

    Args:
        lead: as it stands after the event.
        event: makes the event of the fields that all have; `lambda common: LeadAssigned(**common, owner_id=owner_id)`.
        cause: what led to it.
        now: virtual; becomes `ce_time`.
    """
    seq = lead.lead_seq + 1
    data = event(
        CommonFields(
            lead_id=lead.lead_id,
            lead_seq=seq,
            caller=lead.caller,
            texting=lead.texting,
            cause=cause.id,
            lead=snapshot(lead),
        )
    )
    envelope = Event(
        id=f"{lead.lead_id}:{seq}",
        data=data,
        source=SOURCE,
        time=now,
        key=partition_key(lead.lender_id, lead.caller),
        lender_id=lead.lender_id,
        branch_id=lead.branch_id,
        received_at=cause.received_at,
        traceparent=cause.traceparent,
    )
    return replace(lead, lead_seq=seq, outbox=(*lead.outbox, OutboxEntry(seq, encode(envelope))))


def snapshot(lead: Lead) -> LeadSnapshot:
    """Return the lead as CRMs and warehouses see it."""
    return LeadSnapshot(
        lead_id=lead.lead_id,
        caller=lead.caller,
        branch_id=lead.branch_id,
        name=lead.name,
        source=lead.source,
        status=lead.status,
        owner_id=lead.owner_id,
        first_contact_at=lead.first_contact_at,
        opened_by_call=lead.opened_by_call,
        task_due=lead.task.due_at if lead.task else None,
    )


def marked(lead: Lead, event_id: str) -> Lead:
    """Return the lead with an event noted as applied."""
    return lead if event_id in lead.seen else replace(lead, seen=(*lead.seen, event_id)[-SEEN_LIMIT:])


def halted(lead: Lead) -> Lead:
    """Return the lead with the event it told last as the one that voids every touch decided before."""
    return replace(lead, halt_seq=lead.lead_seq)
