"""What is done to a delivery: take it in, pass it through the gate, send it, and hear what became of it.

Decisions are `domain`'s, the outside is `adapters`'; here they meet. `dispatcher` decides when and for which delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol
from urllib.parse import quote

import structlog

from schemas.base import EventData, Lane
from schemas.envelope import Event
from schemas.inbound import ReceiptReceived
from schemas.touches import TouchDue
from services.notifier import metrics
from services.notifier.adapters.replies_tail import RepliesTail
from services.notifier.adapters.store import Borrower, DeliveryClaim, DeliveryStore
from services.notifier.adapters.twilio import TextProvider
from services.notifier.budget import Budget
from services.notifier.domain.compose import Unsendable, compose
from services.notifier.domain.delivery import Delivery, DeliveryState
from services.notifier.domain.facts import (
    CameTooLate,
    CannotCompose,
    GateClosed,
    Hold,
    LeftInDoubt,
    NotListed,
    NotSent,
    PostingStarts,
    ProviderAccepted,
    ReceiptCame,
    Refused,
    SendOutcome,
)
from services.notifier.domain.gate import GateVerdict, Open, gate
from services.notifier.domain.machine import decide
from services.notifier.last_look import LastLook
from services.notifier.results import DeliveryResults
from services.policy.directory import Directory, DirectoryError
from services.policy.suppression import suppression_id
from services.runtime.clock import Clock
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, Handled, ignored
from services.runtime.health import Health
from services.runtime.mongo_errors import StoreRefused

log = structlog.get_logger(__name__)

POST_WITHIN_S: Final = 10.0
CLAIM_FOR: Final = timedelta(seconds=15)
VALIDITY_S: Final = (1, 36_000)
LIST_SLACK: Final = timedelta(seconds=30)
"""How much earlier than our note of it a message may seem to have been created: clocks differ, the list has seconds."""


OUTCOME_NAMES: Final[Mapping[type[SendOutcome], str]] = {
    ProviderAccepted: "accepted", NotSent: "not_sent", Refused: "refused", LeftInDoubt: "in_doubt",
}  # fmt: skip


class Room(Protocol):
    """Where deliveries are worked on: a touch that arrives starts at once if there is room, without a look at the store."""

    def has_room(self, lane: Lane) -> bool:
        """Return whether one more of this lane may start at once."""

    def take(self, delivery: Delivery) -> None:
        """Work on a delivery that is claimed for us."""

    def waiting(self) -> None:
        """Say that something was kept that nobody has claimed."""


@dataclass(kw_only=True)
class Shell:
    """The notifier's work, one delivery at a time."""

    store: DeliveryStore
    provider: TextProvider
    results: DeliveryResults
    tail: RepliesTail
    budget: Budget
    directory: Directory
    clock: Clock
    health: Health
    number_key: str
    public_base_url: str
    twilio_retry: str
    instance: str

    def __post_init__(self) -> None:
        # Names this process: its claims must differ from those of the process before it.
        self._life = f"{self.instance}/{int(self.clock.real_now().timestamp() * 1000)}"
        self._claims = 0
        self._half_kept: dict[str, Delivery] = {}

    def warm_up(self) -> None:
        """Compute every branch's calendar now: a year's holidays take long enough to make the tail look stale."""
        for branch in self.directory.branches:
            self.directory.is_open(branch, self.clock.now())

    def new_claim(self) -> DeliveryClaim:
        """Return a claim that begins now, under a name that no other claim has ever had."""
        self._claims += 1
        real_now = self.clock.real_now()
        return DeliveryClaim(by=f"{self._life}/{self._claims}", at_real=real_now, until_real=real_now + CLAIM_FOR)

    async def on_touch(self, event: Event[EventData], room: Room) -> Handled:
        """Keep a touch as a delivery, once; start on it when there is room. The offset may be committed then."""
        if not isinstance(event.data, TouchDue):
            return ignored("not_a_touch")
        now, real_now = self.clock.now(), self.clock.real_now()
        delivery = Delivery.of(event, event.data, now, real_now)
        # Insert it as claimed: a separate claim would cost every first text one more round trip.
        spent = delivery.branch_id in self.budget.spent_branches(delivery.lane)
        mine = delivery.not_before <= now and room.has_room(delivery.lane) and not spent
        if mine:
            claim = self.new_claim()
            delivery = delivery.claimed(claim.by, claim.until_real, claim.at_real)
        try:
            fresh = await self.store.insert(delivery)
        except TransientError:
            self._half_kept.setdefault(delivery.touch_id, delivery)
            raise
        before = self._half_kept.pop(delivery.touch_id, None)
        if not fresh:
            if before is None:
                await self.results.repeat(delivery.touch_id)
                return ignored("duplicate")
            # The write arrived although its answer did not: it is stored under the claim that it was made with.
            delivery, mine = before, before.claim_by is not None
        if mine:
            room.take(delivery)
        else:
            room.waiting()
        return APPLIED

    async def deliver(self, delivery: Delivery) -> None:
        """Take a claimed delivery through the gate to the provider, and save what became of it.

        Raises:
            TransientError: MongoDB is away, and no request has been made; `recover` undoes what was half done.
        """
        read_s = self.clock.monotonic_s()  # before the read: what it returns may be as old as that
        borrower = await self._borrower(delivery)
        verdict = self._gate(delivery, borrower)
        if not isinstance(verdict, Open):
            await self._stop(delivery, verdict)
            return
        try:
            text = compose(delivery, borrower.card, borrower.owner, self.directory, self.clock.now())
        except Unsendable as missing:
            log.error("cannot_compose", touch_id=delivery.touch_id, why=str(missing))
            await self.results.settle(delivery, CannotCompose(str(missing)[:300]))
            return
        if not await self.budget.take(text.from_number, delivery.lane, text.segments):
            await self._stop(delivery, Hold("budget"))
            return
        began_s, real_now = self.clock.monotonic_s(), self.clock.real_now()
        starts = PostingStarts(text, real_now + timedelta(seconds=POST_WITHIN_S))
        posting = decide(delivery, starts, self.clock.now(), real_now).delivery
        try:
            saved = await self.store.save(posting)
        except StoreRefused as refused:
            log.error("cannot_be_stored", touch_id=delivery.touch_id, why=str(refused))
            await self.results.settle(delivery, CannotCompose(f"cannot be stored: {refused}"[:300]))
            return
        if saved == "sent_key_taken":
            await self.results.settle(delivery, GateClosed("already_sent"))
            return
        if saved != "saved":
            return  # another instance has it now
        look = LastLook(
            posting=replace(posting, rev=posting.rev + 1),
            borrower=borrower,
            read_s=read_s,
            write_before_s=began_s + POST_WITHIN_S,
            read=self._borrower,
            gate=self._gate,
            clock=self.clock,
        )
        left_s = int((delivery.expires_at - self.clock.now()).total_seconds())
        touch, before_s = quote(delivery.touch_id), self.clock.monotonic_s()
        answer = await self.provider.send(
            text,
            callback_url=f"{self.public_base_url}/webhooks/twilio/message-status?touch={touch}{self.twilio_retry}",
            validity_s=min(max(left_s, VALIDITY_S[0]), VALIDITY_S[1]),
            last_look=look,
        )
        metrics.PROVIDER_SECONDS.observe(self.clock.monotonic_s() - before_s)
        metrics.PROVIDER_OUTCOMES.labels(OUTCOME_NAMES[type(answer)]).inc()
        self._note(answer)
        posted_real = look.posted_real or look.posting.posted_real
        await self.results.settle_surely(replace(look.posting, posted_real=posted_real), answer)

    async def _borrower(self, delivery: Delivery) -> Borrower:
        suppression = suppression_id(self.number_key, delivery.lender_id, delivery.caller)
        return await self.store.borrower(delivery.lead_id, suppression)

    def _gate(self, delivery: Delivery, borrower: Borrower) -> GateVerdict:
        now = self.clock.now()
        return gate(
            delivery,
            card=borrower.card,
            suppressed=borrower.suppressed,
            tail=self.tail.of(delivery.key),
            policy=self.directory.policies.for_caller(delivery.caller),
            branch_open=self._branch_is_open(borrower.card.branch_id if borrower.card else delivery.branch_id, now),
            now=now,
        )

    def _branch_is_open(self, branch_id: str, now: datetime) -> bool:
        """Return whether a branch is open; one that the directory does not have is closed."""
        try:
            return self.directory.is_open(branch_id, now)
        except DirectoryError:
            return False

    async def _stop(self, delivery: Delivery, verdict: GateClosed | CameTooLate | Hold) -> None:
        if isinstance(verdict, Hold):
            metrics.HELD.labels(verdict.why).inc()
        await self.results.settle(delivery, verdict)

    async def recover(self, touch_id: str, claim_by: str | None) -> Delivery | None:
        """Undo what MongoDB's absence interrupted before any request; return the delivery to go on with, or None."""
        found = await self.store.get(touch_id)
        if found is None or found.claim_by != claim_by:
            return None
        if found.state is DeliveryState.POSTING:
            # Our write arrived although its answer did not, and no request followed.
            await self.results.settle_surely(found, NotSent(reason="interrupted", pause=False))
            return None
        return found if found.state is DeliveryState.ACCEPTED else None

    def _note(self, answer: SendOutcome) -> None:
        if isinstance(answer, NotSent) and answer.configuration:
            self.health.unready("twilio", f"refuses our configuration: {answer.code}")
            log.error("provider_configuration", code=answer.code)
        elif isinstance(answer, ProviderAccepted):
            self.health.ready("twilio")
        elif isinstance(answer, LeftInDoubt):
            log.warning("in_doubt", why=answer.reason)

    async def on_receipt(self, event: Event[EventData]) -> Handled:
        """Fold a receipt into its delivery."""
        receipt = event.data
        if not isinstance(receipt, ReceiptReceived):
            return ignored("not_a_receipt")
        delivery = await self.store.get(receipt.touch_id) if receipt.touch_id else None
        if delivery is None:
            delivery = await self.store.find_by_sid(receipt.sid)
        if delivery is None:
            return ignored("no_delivery")
        if delivery.sid is not None and delivery.sid != receipt.sid:
            return ignored("other_sid")
        decision = await self.results.settle(
            delivery, ReceiptCame(sid=receipt.sid, status=receipt.status, code=receipt.error_code)
        )
        return ignored(decision.ignored) if decision.ignored else APPLIED

    async def resolve(self, delivery: Delivery) -> None:
        """Ask the provider's list about a text in doubt: adopt the match, or say that nobody knows. Never send again.

        Raises:
            TransientError: the list or MongoDB is away; it stays in doubt.
        """
        if delivery.to is None or delivery.from_number is None or delivery.posting_at is None:
            return
        since = delivery.posting_at - LIST_SLACK
        found = await self.provider.listed(delivery.to, delivery.from_number)
        matches = [one for one in found if one.body == delivery.body and one.created_at >= since]
        for match in sorted(matches, key=lambda one: one.created_at):
            decision = await self.results.settle(delivery, ProviderAccepted(match.sid, listed=True))
            if decision.ignored != "sid_of_another_text":
                log.info("doubt_resolved", touch_id=delivery.touch_id, by="list")
                return
        await self.results.settle(delivery, NotListed())
        log.warning("doubt_stays", touch_id=delivery.touch_id)
