"""The notifier's part of the model: its real gate and state machine, every effect of a text a step of its own.

A life works on one text at a time and may end after any of its effects: the claim, the save of `posting`, the request at the
provider, its answer, the save of what it means, each result in its outbox. What it had in hand is then gone; the delivery, what
the provider took and what the topics hold stay.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from schemas.base import EventData
from schemas.card import LeadCard
from schemas.envelope import Event
from schemas.touches import TouchDue, TouchResult
from services.notifier.domain.delivery import Delivery, DeliveryState, RenderedText
from services.notifier.domain.facts import (
    DeliveryFact,
    GateClosed,
    LeftInDoubt,
    NotListed,
    NotSent,
    PostingStarts,
    ProviderAccepted,
    ReceiptCame,
    Refused,
)
from services.notifier.domain.gate import GateVerdict, Open, Tail, gate
from services.notifier.domain.machine import decide
from services.policy.directory import CallerPolicy
from tests.unit.sequencer.build import CALLER, LEAD, envelope

Answer = Literal["accepted", "lost", "nothing", "failed", "busy", "refused"]
ANSWERS: Final[tuple[Answer, ...]] = (
    "accepted",
    "accepted",
    "accepted",
    "accepted",
    "accepted",
    "lost",
    "nothing",
    "failed",
    "busy",
    "refused",
)
"""What the provider does: it takes the text and says so, or its word is lost; it never gets it; it answers 5xx, 429, 4xx."""
TAKES: Final = frozenset({"accepted", "lost"})
POST_LIMIT: Final = timedelta(seconds=10)
TEXT: Final = RenderedText(
    to=CALLER, from_number="+12125550100", body="hi", template="t", version=1,
    variant="free", rule="r", rule_version=1, segments=1,
)  # fmt: skip
NO_POLICY: Final = CallerPolicy(after_hours_text=True, second_text_needs_consent=False)


@dataclass(frozen=True, slots=True)
class GateFixes:
    """What protects a text's last moments; a test takes one away.

    Attributes:
        tail: a reply in Kafka that the leads service has not read closes the gate.
        last_look: the gate is asked again right before the request.
        halt_seq: a touch from before a contact is overtaken.
    """

    tail: bool = True
    last_look: bool = True
    halt_seq: bool = True


@dataclass
class Leads:
    """What the leads service has stored of the caller, and what Kafka holds that it has not read.

    `said_stop` is the truth, from the moment at which the word is in Kafka; `contacted_seq` is the newest contact's.
    """

    seq: int = 0
    halt_seq: int = 0
    texting: Literal["open", "stopped"] = "open"
    seen: frozenset[str] = frozenset()
    replies: dict[str, bool] = field(default_factory=dict)
    said_stop: bool = False
    contacted_seq: int = 0

    def card(self, fixes: GateFixes) -> LeadCard:
        """Return what the notifier reads."""
        return LeadCard(
            lead_id=LEAD,
            lender_id="acme",
            caller=CALLER,
            branch_id="nyc",
            status="attempted_contact",
            texting=self.texting,
            lead_seq=self.seq,
            halt_seq=self.halt_seq if fixes.halt_seq else 0,
            seen=tuple(self.seen),
        )


@dataclass(frozen=True)
class Taken:
    """A text that the provider took, and whether the caller had said STOP, or was talked to, before."""

    delivery: Delivery
    after_stop: bool
    after_contact: bool


@dataclass
class Notifier:
    """Deliveries and what the provider holds, which last, and the text in hand, which does not."""

    leads: Leads
    fixes: GateFixes
    now: Callable[[], datetime]
    say: Callable[[Event[EventData]], None]
    kept: dict[str, Delivery] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    hand: Iterator[str] | None = None

    def accept(self, event: Event[EventData], due: TouchDue, *, answers_again: bool) -> None:
        """Keep a touch; say a repeated one's results again."""
        if (known := self.kept.get(due.touch_id)) is None:
            self.kept[due.touch_id] = Delivery.of(event, due, self.now(), self.now())
        elif answers_again:
            for one in known.told:
                self.say(envelope(one.data, one.id, one.time, "ringback/notifier"))

    def waiting(self) -> list[Delivery]:
        """Return what could be taken in hand: texts that may go, and results that are not told."""
        return [
            one
            for one in self.kept.values()
            if one.outbox or (one.state is DeliveryState.ACCEPTED and one.not_before <= self.now())
        ]

    def work(self, answer: Answer, effects: int) -> None:
        """Go on with the text in hand, or take the next; stop after so many effects."""
        for _ in range(effects):
            if self.hand is None:
                if not (waiting := self.waiting()):
                    return
                self.hand = self._deliver(waiting[0].touch_id, answer)
            if next(self.hand, None) is None:
                self.hand = None

    def die(self) -> None:
        """End this life; another will begin with nothing in hand."""
        self.hand = None

    def settle(self) -> None:
        """Look up doubts in the provider's list, once no request for them can be on its way."""
        for one in list(self.kept.values()):
            if one.state is DeliveryState.POSTING and one.post_by_real and one.post_by_real + POST_LIMIT <= self.now():
                listed = any(taken.delivery.touch_id == one.touch_id for taken in self.taken)
                self._save(one.touch_id, ProviderAccepted("SM1", listed=True) if listed else NotListed())

    def receipt(self, nth: int) -> None:
        """Have a receipt come for one of the texts that the provider took."""
        if self.taken:
            taken = self.taken[nth % len(self.taken)].delivery
            self._save(taken.touch_id, ReceiptCame(sid="SM1", status="delivered"))

    def _deliver(self, touch_id: str, answer: Answer) -> Iterator[str]:
        delivery = self.kept[touch_id]
        if delivery.state is DeliveryState.ACCEPTED:
            yield "claim"
            yield from self._send(touch_id, answer)
        while self.kept[touch_id].outbox:
            first, *rest = self.kept[touch_id].outbox
            self.say(envelope(first.data, first.id, first.time, "ringback/notifier"))
            yield "emit"
            told = self.kept[touch_id]
            if told.outbox and told.outbox[0] is first:
                self.kept[touch_id] = replace(told, outbox=tuple(rest), told=(*told.told, first))
            yield "told"

    def _send(self, touch_id: str, answer: Answer) -> Iterator[str]:
        delivery = self.kept[touch_id]
        verdict = self._gate(delivery)
        yield "gate"
        if not isinstance(verdict, Open):
            self._save(touch_id, verdict)
            yield "save"
            return
        others = (one for one in self.kept.values() if one.touch_id != touch_id)
        if any(one.sent_key == delivery.step_key for one in others):
            self._save(touch_id, GateClosed("already_sent"))
            yield "save"
            return
        post_by = self.now() + POST_LIMIT
        self._save(touch_id, PostingStarts(TEXT, post_by))
        yield "posting"
        seen: GateVerdict = self._gate(self.kept[touch_id]) if self.fixes.last_look else Open()
        if self.now() >= post_by or not isinstance(seen, Open):
            self._save(touch_id, NotSent(reason="last_look", pause=False))
            yield "save"
            return
        if answer in TAKES:
            self._take(self.kept[touch_id])
        yield "post"
        self._save(touch_id, _told(answer))
        yield "save"

    def _take(self, delivery: Delivery) -> None:
        leads = self.leads
        overtaken = delivery.lead_seq < leads.contacted_seq
        self.taken.append(Taken(delivery, after_stop=leads.said_stop, after_contact=overtaken))

    def _gate(self, delivery: Delivery) -> GateVerdict:
        replies = frozenset(self.leads.replies) if self.fixes.tail else frozenset()
        return gate(
            delivery,
            card=self.leads.card(self.fixes),
            suppressed=self.leads.texting == "stopped",
            tail=Tail(complete=True, replies=replies),
            policy=NO_POLICY,
            branch_open=True,
            now=self.now(),
        )

    def _save(self, touch_id: str, fact: DeliveryFact) -> None:
        """Decide on what is kept and save it: the store's write is conditional, and a loser decides again."""
        kept = self.kept[touch_id]
        decision = decide(kept, fact, self.now(), self.now())
        self.kept[touch_id] = replace(decision.delivery, rev=kept.rev + 1)


def _told(answer: Answer) -> DeliveryFact:
    match answer:
        case "accepted":
            return ProviderAccepted("SM1")
        case "lost" | "nothing":
            return LeftInDoubt("timeout")
        case "failed":
            return LeftInDoubt("server_error", server_error=True)
        case "busy":
            return NotSent(reason="429", code=20429)
        case "refused":
            return Refused("invalid", 21211)


def results_of(notifier: Notifier) -> list[TouchResult]:
    """Return every result there is, told or not."""
    return [one.data for kept in notifier.kept.values() for one in (*kept.told, *kept.outbox)]
