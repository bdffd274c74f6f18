"""Touches, deliveries, cards and receipts of one borrower, as the notifier's tests need them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.base import EventData
from schemas.card import LeadCard
from schemas.envelope import Event
from schemas.ids import partition_key, touch_id
from schemas.inbound import ReceiptReceived, ReceiptStatus
from schemas.touches import TouchDue
from services.notifier.domain.delivery import Delivery, RenderedText
from services.policy.directory import Directory, load_directory

LENDER, CALLER, LEAD, SEQUENCE = "larkspur", "+17205550134", "lead-1", "sequence-1"
KEY = f"{LENDER}:{CALLER}"
NUMBER_KEY = "a-number-key-for-tests"
OPEN = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
"""A Tuesday, 10:00 in New York: the branch is open."""
CLOSED = datetime(2026, 3, 3, 3, 0, tzinfo=UTC)
REAL = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DIRECTORY: Directory = load_directory(Path(__file__).parents[3] / "deploy/examples/lender.yaml")
TEXT = RenderedText(
    to=CALLER,
    from_number="+12125550100",
    body="Hi",
    template="missed_call_first",
    version=1,
    variant="busy",
    rule="first-text-variant",
    rule_version=1,
    segments=1,
)


def touch(**more: Any) -> TouchDue:
    """Return a first text, due as the branch is open."""
    step, attempt = more.pop("step", "text-now"), more.pop("attempt", 1)
    due = more.pop("due_at", OPEN)
    return TouchDue(
        **{
            "touch_id": touch_id(SEQUENCE, step, attempt),
            "lead_id": LEAD,
            "caller": CALLER,
            "sequence_id": SEQUENCE,
            "step": step,
            "attempt": attempt,
            "template": "missed_call_first",
            "lane": "urgent",
            "due_at": due,
            "expires_at": due + timedelta(minutes=5),
            "lead_seq": 1,
            "base_at": due,
            "first_of_sequence": True,
            **more,
        }
    )


def event(due: TouchDue | None = None) -> Event[EventData]:
    due = due or touch()
    return Event(
        id=due.touch_id,
        data=due,
        source="test",
        time=due.due_at,
        key=partition_key(LENDER, CALLER),
        lender_id=LENDER,
        branch_id="new-york",
        received_at=REAL,
    )


def delivery(now: datetime = OPEN, **more: Any) -> Delivery:
    return replace(Delivery.of(event(), touch(), now, REAL), **more)


def card(**more: Any) -> dict[str, Any]:
    return {
        "_id": LEAD,
        "lender_id": LENDER,
        "caller": CALLER,
        "branch_id": "new-york",
        "owner_id": "dana-whitfield",
        "status": "attempted_contact",
        "texting": "open",
        "lead_seq": 1,
        "halt_seq": 0,
        "seen": [],
        **more,
    }


def lead_card(**more: Any) -> LeadCard:
    return LeadCard.model_validate(card(**more))


def receipt(sid: str, status: ReceiptStatus, code: int | None = None, touch: str | None = None) -> Event[EventData]:
    data = ReceiptReceived(touch_id=touch, sid=sid, status=status, error_code=code, to=CALLER, received_at=REAL)
    return Event(
        id=f"twilio:{sid}:{status}",
        data=data,
        source="test",
        time=REAL,
        key=partition_key(LENDER, CALLER),
        lender_id=LENDER,
    )
