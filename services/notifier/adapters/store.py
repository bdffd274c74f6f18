"""What the notifier asks of its store: `mongo.MongoDeliveries` keeps it for real, `memory.MemoryDeliveries` for unit tests.

Both stand under one contract. Every change is conditional on `rev`; one that was decided on an older `rev` changes
nothing and says so.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from schemas.base import Lane
from schemas.card import LeadCard, OfficerCard
from services.notifier.domain.delivery import Delivery

Saved = Literal["saved", "moved", "sent_key_taken", "sid_taken"]
"""`moved`: another write came first; `*_taken`: a unique index says another delivery holds it."""

LANES: Final[tuple[Lane, ...]] = ("urgent", "normal", "bulk")


@dataclass(frozen=True, slots=True)
class Borrower:
    """What the last gate and the wording need of leads' documents."""

    card: LeadCard | None
    owner: OfficerCard | None
    suppressed: bool


@dataclass(frozen=True, slots=True)
class BrokenDelivery:
    """A delivery that cannot be worked on: its document cannot be read, or MongoDB refuses to have it claimed."""

    touch_id: str
    why: str


Found = Sequence[Delivery | BrokenDelivery]
"""What a search found. Broken ones take none of the places that its limit leaves to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryClaim:
    """Who takes a delivery, and until when (real) nobody else may."""

    by: str
    at_real: datetime
    until_real: datetime


class DeliveryStore(Protocol):
    """The notifier's documents. Methods raise StoreAway, StoreRefused or UnreadableDocument, nothing of the driver's."""

    async def start(self, key_check: str) -> None:
        """Make the indexes; raise NumberKeyDiffers when `suppressions` were written with another key."""

    async def stop(self) -> None:
        """Close the connections."""

    async def insert(self, delivery: Delivery) -> bool:
        """Keep a new delivery; False when there is one of this touch already."""

    async def get(self, touch_id: str) -> Delivery | None:
        """Return a delivery."""

    async def find_by_sid(self, sid: str) -> Delivery | None:
        """Return the delivery that the provider calls `sid`."""

    async def save(self, delivery: Delivery) -> Saved:
        """Replace the stored delivery of the same `rev`, whose `rev` becomes one higher."""

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        """Return the lead's card, its owner and whether the number is suppressed, all in one read."""

    async def claim_due(
        self,
        lane: Lane,
        limit: int,
        claim: DeliveryClaim,
        now: datetime,
        *,
        borrowers_held: bool = False,
        without: Collection[str] = (),
        expired_only: bool = False,
    ) -> Found:
        """Claim accepted deliveries of a lane that are due at `now` and nobody's, earliest first.

        With `borrowers_held` only those are claimed that can end now all the same: officers' texts and expired ones. Texts
        of the branches in `without` are left. With `expired_only` the longest expired come first.
        """

    async def take_tokens(self, number: str, want: int, *, leave: float, rate: float, burst: float) -> int:
        """Take up to `want` whole tokens of a sending number's bucket, but leave so many in it; return how many.

        It is full at first, holds `burst` and gains `rate` a second, in real time.
        """

    async def outboxes(self, older_than_real: datetime, limit: int, skip: int = 0) -> Found:
        """Return deliveries whose results have waited since before then, the longest waiting first, after so many others."""

    async def pull(self, delivery: Delivery, ids: Sequence[str]) -> None:
        """Move results that the broker has acknowledged from `outbox` to `told`."""

    async def in_doubt(self, post_by_before_real: datetime, limit: int) -> Found:
        """Return deliveries still posting whose `post_by_real` is before then, the oldest first."""

    async def busy(self, now: datetime) -> str | None:
        """Say what is still to do: something due, posting, or not emitted; None when nothing is."""
