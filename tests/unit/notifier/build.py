"""What the notifier's unit tests are built from."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.base import EventData, Lane
from schemas.card import LeadCard
from schemas.envelope import Event
from schemas.ids import partition_key, touch_id
from schemas.inbound import ReceiptReceived, ReceiptStatus
from schemas.touches import TouchDue
from services.notifier.adapters.documents import from_document
from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.adapters.replies_tail import FakeTail
from services.notifier.adapters.store import LANES
from services.notifier.adapters.twilio import FakeProvider
from services.notifier.domain.delivery import Delivery, RenderedText
from services.notifier.results import DeliveryResults
from services.notifier.shell import Shell
from services.policy.directory import Directory, load_directory
from services.policy.suppression import suppression_id
from services.runtime.health import Health
from services.runtime.producer import FakeProducer

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
    return TouchDue(**{
        "touch_id": touch_id(SEQUENCE, step, attempt), "lead_id": LEAD, "caller": CALLER, "sequence_id": SEQUENCE,
        "step": step, "attempt": attempt, "template": "missed_call_first", "lane": "urgent", "due_at": due,
        "expires_at": due + timedelta(minutes=5), "lead_seq": 1, "base_at": due, "first_of_sequence": True, **more,
    })  # fmt: skip


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
        "_id": LEAD, "lender_id": LENDER, "caller": CALLER, "branch_id": "new-york", "owner_id": "dana-whitfield",
        "status": "attempted_contact", "texting": "open", "lead_seq": 1, "halt_seq": 0, "seen": [], **more,
    }  # fmt: skip


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


@dataclass
class FakeClock:
    """Three clocks that stand still until moved."""

    virtual: datetime = OPEN
    real: datetime = REAL
    mono_s: float = 1e9  # far beyond the machine's own: nothing is ever too late for the fake provider
    is_file: bool = True

    def now(self) -> datetime:
        return self.virtual

    def real_now(self) -> datetime:
        return self.real

    def monotonic_s(self) -> float:
        return self.mono_s

    async def sleep_until(self, when: datetime) -> None:
        self.virtual = max(self.virtual, when)


@dataclass
class Bench:
    """A shell among fakes, and a Room that keeps what it is given."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: MemoryDeliveries = field(default_factory=MemoryDeliveries)
    provider: FakeProvider = field(default_factory=FakeProvider)
    producer: FakeProducer = field(default_factory=FakeProducer)
    tail: FakeTail = field(default_factory=FakeTail)
    health: Health = field(default_factory=Health)
    directory: Directory = DIRECTORY
    taken: list[Delivery] = field(default_factory=list)
    full: bool = False
    told: int = 0

    def __post_init__(self) -> None:
        results = DeliveryResults(
            store=self.store,
            producer=self.producer,
            directory=self.directory,
            clock=self.clock,
            health=self.health,
            retry_s=0.0,
        )
        self.shell = Shell(
            store=self.store,
            provider=self.provider,
            results=results,
            tail=self.tail,
            directory=self.directory,
            clock=self.clock,
            health=self.health,
            number_key=NUMBER_KEY,
            public_base_url="https://hooks.example.com",
            instance="0",
        )
        self.store.leads[LEAD] = card()
        self.store.officers["dana-whitfield"] = {"_id": "dana-whitfield", "status": "busy"}

    # Room
    def has_room(self, lane: Lane) -> bool:
        return not self.full

    def take(self, delivery: Delivery) -> None:
        self.taken.append(delivery)

    def waiting(self) -> None:
        self.told += 1

    async def run(self, due: TouchDue | None = None) -> Delivery:
        """Take a touch in and work on it; return what is stored then."""
        due = due or touch()
        await self.shell.on_touch(event(due), self)
        await self.shell.deliver(self.taken.pop())
        return self.stored(due)

    async def again(self) -> None:
        """DeliveryClaim what is due and work on it, as the dispatcher does."""
        for lane in LANES:
            for one in await self.store.claim_due(lane, 9, self.shell.new_claim(), self.clock.now()):
                if isinstance(one, Delivery):
                    await self.shell.deliver(one)

    def stored(self, due: TouchDue | None = None) -> Delivery:
        return from_document(self.store.deliveries[(due or touch()).touch_id])

    def suppress(self) -> None:
        name = suppression_id(NUMBER_KEY, LENDER, CALLER)
        self.store.suppressions[name] = {"_id": name}

    def said(self) -> list[str]:
        """Return the types of what was emitted, in order."""
        return [one.data.TYPE for one in self.producer.sent]


Change = Callable[[Bench], None]
