"""Putting an event into a lead's outbox, in the same value that the event is about."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from schemas.envelope import Event, encode
from schemas.ids import partition_key
from schemas.leads import LeadEvent, LeadSnapshot
from services.leads.domain.model import SEEN_LIMIT, Cause, Entry, Lead

SOURCE = "ringback/leads"


def tell(lead: Lead, event: type[LeadEvent], cause: Cause, now: datetime, **more: Any) -> Lead:
    """Return the lead with one more event to emit, `lead_seq` raised; call it last, for it takes a snapshot.

    Args:
        lead: as it stands after the event.
        event: its type.
        cause: what led to it.
        now: virtual; becomes `ce_time`.
        more: the event's own fields.
    """
    seq = lead.lead_seq + 1
    data = event(
        lead_id=lead.lead_id,
        lead_seq=seq,
        caller=lead.caller,
        texting=lead.texting,
        cause=cause.id,
        lead=snapshot(lead),
        **more,
    )
    envelope = Event(
        f"{lead.lead_id}:{seq}",
        data,
        SOURCE,
        now,
        partition_key(lead.lender_id, lead.caller),
        lead.lender_id,
        lead.branch_id,
        cause.received_at,
        cause.traceparent,
    )
    return replace(lead, lead_seq=seq, outbox=(*lead.outbox, Entry(seq, encode(envelope))))


def snapshot(lead: Lead) -> LeadSnapshot:
    """Return the lead as CRMs and warehouses see it."""
    assert lead.first_contact_at is not None, "a lead begins with a contact"  # noqa: S101
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
    """Return the lead with the event just told as the newest that makes older touches wrong."""
    return replace(lead, halt_seq=lead.lead_seq)
