"""Lives of the notifier on one store and one provider: each effect on the outside is a step that may be the last.

A life ends (`Died`) or fails for a dependency's sake right before or right after one of its effects. What lasts is in
`World`: the documents, what the provider took, and what Kafka holds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeVar

from schemas.base import EventData
from schemas.envelope import Event
from schemas.inbound import ReceiptStatus
from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.adapters.store import Borrower, Saved
from services.notifier.adapters.twilio import FakeProvider, Listed, MayWrite
from services.notifier.dispatcher import Dispatcher, DoubtSweep, OutboxSweep
from services.notifier.domain.delivery import Delivery, RenderedText
from services.notifier.domain.facts import LeftInDoubt, ProviderAccepted, SendOutcome
from services.runtime.errors import TransientError
from services.runtime.mongo_errors import StoreAway
from services.runtime.producer import FakeProducer
from tests.infra.clock import FakeClock
from tests.unit.notifier.build import OPEN, REAL, event, receipt, touch
from tests.unit.notifier.rig import Rig

T = TypeVar("T")
When = Literal["before", "after"]
Ends = Literal["dies", "fails"]
Answer = Literal["accepted", "lost", "dropped", "5xx"]
"""What the provider does with the first request: takes it and answers; takes it, and the answer is lost; loses it; fails."""
Tells = Literal["nothing", "list", "receipts twice"]
"""How the provider shows later what it took."""

STEPS: Final = ("keep", "gate read", "posting", "last look", "post", "answer saved", "emit", "forget")
"""The effects of one touch that is sent, in their order."""
STATUSES: Final[tuple[ReceiptStatus, ...]] = ("sent", "delivered", "sent", "delivered")
DOUBT_WAIT_S: Final = 60.0


class Died(BaseException):
    """The process ended here."""


@dataclass
class Effects:
    """Counts a life's effects, and ends it at one of them."""

    at: tuple[int, When, Ends] | None = None
    names: list[str] = field(default_factory=list)
    dead: bool = False

    async def around(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do one effect, unless the life ends before it; or end after it."""
        number = len(self.names)
        self.names.append(name)
        self._point(number, "before")
        done = await act()
        self._point(number, "after")
        return done

    def _point(self, number: int, when: When) -> None:
        if self.dead:
            raise Died
        if self.at is None or self.at[:2] != (number, when):
            return
        if self.at[2] == "dies":
            self.dead = True
            raise Died
        raise StoreAway(f"{self.names[number]}: told to fail")


@dataclass
class Store(MemoryDeliveries):
    """The documents, through a life's effects."""

    effects: Effects = field(default_factory=Effects)

    async def insert(self, delivery: Delivery) -> bool:
        return await self.effects.around("keep", lambda: MemoryDeliveries.insert(self, delivery))

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        name = "last look" if "posting" in self.effects.names else "gate read"
        return await self.effects.around(name, lambda: MemoryDeliveries.borrower(self, lead_id, suppression_id))

    async def save(self, delivery: Delivery) -> Saved:
        name = "answer saved" if "post" in self.effects.names else "posting"
        return await self.effects.around(name, lambda: MemoryDeliveries.save(self, delivery))

    async def pull(self, delivery: Delivery, ids: list[str]) -> None:  # type: ignore[override]
        await self.effects.around("forget", lambda: MemoryDeliveries.pull(self, delivery, ids))


@dataclass
class Producer(FakeProducer):
    """Kafka, through a life's effects."""

    effects: Effects = field(default_factory=Effects)

    async def send(self, *events: Event[EventData]) -> None:
        await self.effects.around("emit", lambda: FakeProducer.send(self, *events))


@dataclass
class Provider(FakeProvider):
    """Takes texts, through a life's effects; connecting takes so long that the last look reads again."""

    world: "World" = field(kw_only=True)
    effects: Effects = field(default_factory=Effects)

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        self.world.clock.move(2.0)
        if refusal := await last_look():
            return refusal
        answer = await self.effects.around("post", lambda: self.world.take(text))
        if self.world.meanwhile is not None:
            meanwhile, self.world.meanwhile = self.world.meanwhile, None
            await meanwhile()
        return answer

    async def listed(self, to: str, from_number: str) -> list[Listed]:
        shown = self.world.tells == "list"
        return [Listed(sid, text.body, OPEN) for sid, text in self.world.taken.items()] if shown else []


@dataclass
class World:
    """What outlives a life."""

    answer: Answer = "accepted"
    tells: Tells = "list"
    clock: FakeClock = field(default_factory=lambda: FakeClock(OPEN, real=REAL))
    store: MemoryDeliveries = field(default_factory=MemoryDeliveries)
    topic: list[Event[EventData]] = field(default_factory=list)
    taken: dict[str, RenderedText] = field(default_factory=dict)
    asked: int = 0
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What happens once, after a request has arrived and before its answer does."""

    async def take(self, text: RenderedText) -> SendOutcome:
        """Do what the provider does with a request that arrived: the first as told, any other well."""
        self.asked += 1
        answer = self.answer if self.asked == 1 else "accepted"
        if answer in ("accepted", "lost"):
            self.taken[f"SM{len(self.taken):032x}"] = text
        if answer == "accepted":
            return ProviderAccepted(list(self.taken)[-1])
        return LeftInDoubt("answered 503", server_error=True) if answer == "5xx" else LeftInDoubt("TimeoutError")

    def life(self, at: tuple[int, When, Ends] | None = None) -> "Life":
        """Begin a life that ends there."""
        effects = Effects(at)
        kept = self.store
        store = Store(kept.deliveries, kept.leads, kept.officers, kept.suppressions, effects=effects)
        producer = Producer(self.topic, effects=effects)
        return Life(self, effects, Rig(self.clock, store, Provider(world=self, effects=effects), producer))


class Senders(Dispatcher):
    """The dispatcher, which also names the tasks that it has begun."""

    def take(self, delivery: Delivery) -> None:
        before = asyncio.all_tasks()
        super().take(delivery)
        self.begun: set[asyncio.Task[None]] = asyncio.all_tasks() - before


@dataclass
class Life:
    """One process of the notifier, worked by hand."""

    world: World
    effects: Effects
    rig: Rig

    def __post_init__(self) -> None:
        self.dispatcher = Senders(self.rig.shell, senders=4)
        self.dispatcher.begun = set()

    async def hear(self) -> None:
        """Read the touch, again while a dependency is away, as the consumer loop does; work on it to its end."""
        while not self.effects.dead:
            try:
                await self.rig.shell.on_touch(event(), self.dispatcher)
                break
            except TransientError:
                continue
            except Died:
                return
        await self._rest()

    async def _rest(self) -> None:
        if self.dispatcher.begun:
            await asyncio.wait(self.dispatcher.begun)

    async def look(self) -> None:
        """Do what the rounds do; one that a dependency fails comes again with the next look."""
        with suppress(TransientError):
            await self.dispatcher.round()
        await self._rest()
        for sweep in (OutboxSweep(self.rig.shell, lambda _: 0), DoubtSweep(self.rig.shell, DOUBT_WAIT_S)):
            with suppress(TransientError):
                await sweep.round()

    async def hear_receipts(self) -> None:
        """Read the receipts of what the provider took, each twice."""
        for sid in self.world.taken if self.world.tells == "receipts twice" else ():
            for status in STATUSES:
                with suppress(TransientError):
                    await self.rig.shell.on_receipt(receipt(sid, status, touch=touch().touch_id))

    async def settle(self, *, again: bool) -> None:
        """Live on until nothing is left to do: the touch may come again, receipts come, claims lapse, doubts come due."""
        if again:
            await self.hear()
        for wait_s in (5, 16, 80, 5, 20, 80):
            self.world.clock.move(wait_s)
            await self.hear_receipts()
            await self.look()
        self.world.clock.virtual += timedelta(hours=1)
        await self.look()
