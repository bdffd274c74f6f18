"""The last gate: may this text go, now? Asked after the claim and again right before the request. Pure.

What it is told must be no older than a second; the shell sees to that.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from schemas.card import LeadCard
from services.notifier.domain.delivery import Delivery
from services.notifier.domain.facts import CameTooLate, GateClosed

REPLY_SETTLES: Final = timedelta(seconds=30)
"""How long leads is given to read a reply before the text is tried again."""


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


@dataclass(frozen=True, slots=True)
class Hold:
    """The gate cannot be asked; nothing is sent and nothing is decided."""

    why: Literal["tail_away"]


Verdict = Open | Hold | GateClosed | CameTooLate


def gate(delivery: Delivery, card: LeadCard | None, suppressed: bool, tail: Tail, now: datetime) -> Verdict:
    """Return whether a text may go.

    Args:
        delivery: the text.
        card: the lead as leads has it; None when there is none.
        suppressed: whether the number is in `suppressions`.
        tail: what the tail knows of the caller, read after `card`.
        now: virtual.
    """
    if now >= delivery.expires_at:
        return CameTooLate()
    if delivery.audience == "officer":
        return Open()
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
    if not tail.complete:
        return Hold("tail_away")
    if tail.replies - set(card.seen):
        # leads has not read it yet, and it may be a STOP.
        return GateClosed("reply_in_flight", now + REPLY_SETTLES)
    # Send windows and caps are decided here, with `until`, and nowhere else; they come with the policy.
    return Open()
