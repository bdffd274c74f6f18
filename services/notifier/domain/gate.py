"""The last gate: whether a text may go now. It runs after the claim, and again right before the request. Pure.

What it is given must be no older than a second; the shell makes sure of that.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from schemas.card import LeadCard
from schemas.touches import SuppressReason
from services.notifier.domain.delivery import Delivery
from services.notifier.domain.facts import CameTooLate, GateClosed, Hold
from services.policy.directory import CallerPolicy

REPLY_SETTLES: Final = timedelta(seconds=30)
"""How long the leads service has to read a reply before the text is tried again."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What the tail of `replies` knows of one caller.

    `complete`: it had everything that was in Kafka a second ago. `replies`: ids of the caller's replies of the last
    hour.
    """

    complete: bool
    replies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Open:
    """It may go."""


GateVerdict = Open | Hold | GateClosed | CameTooLate


def gate(
    delivery: Delivery,
    *,
    card: LeadCard | None,
    suppressed: bool,
    tail: Tail,
    policy: CallerPolicy,
    branch_open: bool,
    now: datetime,
) -> GateVerdict:
    """Return whether a text may go.

    Checks what the borrower said first (opted out, paused, overtaken), then what the lender decided. Both are final, and
    a text that would never have gone is not late: only then its age is asked, so that an outage makes no urgent task of a
    borrower who was reached or opted out. A reply that the leads service may not have read comes last, because that
    changes within seconds.

    Args:
        delivery: the text.
        card: the lead; None when there is none.
        suppressed: whether the number is in `suppressions`.
        tail: what the tail knows of the caller, read after `card`.
        policy: what the lender decided for this caller.
        branch_open: whether the lead's branch is open at `now`.
        now: virtual.
    """
    late = now >= delivery.expires_at
    if delivery.audience == "officer":
        return CameTooLate() if late else Open()
    if suppressed:
        return GateClosed("opted_out")
    if card is None:
        return GateClosed("no_lead")
    if card.texting == "stopped":
        return GateClosed("opted_out")
    if card.texting == "paused":
        return GateClosed("paused")
    if delivery.lead_seq < card.halt_seq:
        return GateClosed("overtaken")
    if refused := _refused_by(policy, delivery, card, branch_open=branch_open):
        return GateClosed(refused)
    if late:
        return CameTooLate()
    if not tail.complete:
        return Hold("tail_away")
    if tail.replies - set(card.seen):
        # The leads service has not read it yet, and it may be a STOP.
        return GateClosed("reply_in_flight", now + REPLY_SETTLES)
    # Send windows and caps are decided here, with `until`, and nowhere else; they come with the policy.
    return Open()


def _refused_by(
    policy: CallerPolicy, delivery: Delivery, card: LeadCard, *, branch_open: bool
) -> SuppressReason | None:
    """Return why the lender's policy keeps this text of a cadence from ever going; None when it lets it go."""
    if not delivery.of_cadence:
        return None
    if delivery.first_of_sequence:
        return None if branch_open or policy.after_hours_text else "after_hours_policy"
    if not policy.second_text_needs_consent:
        return None
    # A reply during the sequence is no consent to its later texts: it ends them. So only an earlier one counts, and a
    # touch that does not say when its sequence began cannot show one.
    replied, began = card.first_reply_at, delivery.base_at
    return None if replied and began and replied < began else "consent_needed"
