"""The notifier's shell with everything around it in memory."""

from dataclasses import dataclass, field

from schemas.base import Lane
from schemas.touches import TouchDue
from services.notifier.adapters.documents import from_document
from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.adapters.replies_tail import FakeTail
from services.notifier.adapters.store import LANES
from services.notifier.adapters.twilio import FakeProvider
from services.notifier.budget import Budget
from services.notifier.domain.delivery import Delivery
from services.notifier.results import DeliveryResults
from services.notifier.shell import Shell
from services.policy.directory import Directory
from services.policy.suppression import suppression_id
from services.runtime.health import Health
from services.runtime.producer import FakeProducer
from tests.infra.clock import FakeClock
from tests.unit.notifier.build import CALLER, DIRECTORY, LEAD, LENDER, NUMBER_KEY, OPEN, REAL, card, event, touch


@dataclass
class Rig:
    """A shell among fakes, and a `Room` that keeps what it is given."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(OPEN, real=REAL))
    store: MemoryDeliveries = field(default_factory=MemoryDeliveries)
    provider: FakeProvider = field(default_factory=FakeProvider)
    producer: FakeProducer = field(default_factory=FakeProducer)
    tail: FakeTail = field(default_factory=FakeTail)
    health: Health = field(default_factory=Health)
    directory: Directory = DIRECTORY
    taken: list[Delivery] = field(default_factory=list)
    full: bool = False
    rate: float = 0.0
    told: int = 0

    def __post_init__(self) -> None:
        self.store.seconds = self.clock.monotonic_s
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
            budget=Budget(self.store, self.directory, self.clock, self.rate),
            directory=self.directory,
            clock=self.clock,
            health=self.health,
            number_key=NUMBER_KEY,
            public_base_url="https://hooks.example.com",
            twilio_retry="#rc=5&rp=all",
            instance="0",
        )
        self.store.leads[LEAD] = card()
        self.store.officers["dana-whitfield"] = {"_id": "dana-whitfield", "status": "busy"}

    # what the shell asks of its `Room`

    def has_room(self, lane: Lane) -> bool:
        return not self.full

    def take(self, delivery: Delivery) -> None:
        self.taken.append(delivery)

    def waiting(self) -> None:
        self.told += 1

    # what a test does

    async def run(self, due: TouchDue | None = None) -> Delivery:
        """Take a touch in and work on it; return what is stored then."""
        due = due or touch()
        await self.shell.on_touch(event(due), self)
        await self.shell.deliver(self.taken.pop())
        return self.stored(due)

    async def again(self) -> None:
        """Claim what is due and work on it, as the dispatcher does."""
        for lane in LANES:
            for one in await self.store.claim_due(lane, 9, self.shell.new_claim(), self.clock.now()):
                if isinstance(one, Delivery):
                    await self.shell.deliver(one)

    def stored(self, due: TouchDue | None = None) -> Delivery:
        """Return what is stored of a touch."""
        return from_document(self.store.deliveries[(due or touch()).touch_id])

    def suppress(self) -> None:
        """Have the borrower's number in `suppressions`."""
        name = suppression_id(NUMBER_KEY, LENDER, CALLER)
        self.store.suppressions[name] = {"_id": name}

    def said(self) -> list[str]:
        """Return the types of what was emitted, in order."""
        return [one.data.TYPE for one in self.producer.sent]
