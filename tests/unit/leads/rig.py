"""The leads service over fakes, and what comes out of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from schemas.base import EventData
from schemas.envelope import Event, Wire, decode
from schemas.leads import LeadEvent
from services.leads.adapters.memory import MemoryLeads
from services.leads.assignment import Assigner
from services.leads.outages import Outages
from services.leads.rounds import Settler, Sweeper, Undecided
from services.leads.shell import Shell
from services.policy.directory import Directory, load_directory
from services.runtime.handled import Handled
from services.runtime.health import Health
from services.runtime.producer import FakeProducer
from tests.infra.clock import FakeClock
from tests.unit.leads.events import AT, CALLER, LENDER

NUMBER_KEY = "unit-test-number-key-32-characters"
DIRECTORY = Path(__file__).parents[3] / "deploy" / "examples" / "lender.yaml"


@cache
def directory() -> Directory:
    """Return the example lender."""
    return load_directory(DIRECTORY)


@dataclass
class FakeFactOffsets:
    """How far `call-events` is read: by default all of it is, by us.

    Attributes:
        partitions: of the topic; keys of callers lie in the even ones, those of calls in the odd ones.
        owned: ours; None: all.
        unread: records that are not finished yet, by partition.
        silent: partitions that have no leader, so that nobody knows where they end.
    """

    partitions: int = 12
    owned: frozenset[int] | None = None
    end: int = 100
    unread: dict[int, int] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)

    def mine(self) -> frozenset[int]:
        """Return the partitions that this instance owns."""
        return frozenset(range(self.partitions)) if self.owned is None else self.owned

    def partition_of(self, key: bytes) -> int:
        """Return the partition that a key's records lie in."""
        return 2 * (crc32(key) % (self.partitions // 2)) + (b":call:" in key)

    async def ends(self, partitions: Collection[int]) -> dict[int, int | None]:
        """Return where partitions end."""
        return {one: None if one in self.silent else self.end for one in partitions}

    async def finished(self, partitions: Collection[int]) -> dict[int, int | None]:
        """Return up to where they are finished."""
        return {one: None if one in self.silent else self.end - self.unread.get(one, 0) for one in partitions}


@dataclass
class Rig:
    """A leads service over fakes, and what came out of it."""

    store: MemoryLeads = field(default_factory=MemoryLeads)
    producer: FakeProducer = field(default_factory=FakeProducer)
    clock: FakeClock = field(default_factory=lambda: FakeClock(AT))
    lender: Directory = field(default_factory=directory)
    health: Health = field(default_factory=Health)
    reading: FakeFactOffsets = field(default_factory=FakeFactOffsets)

    def __post_init__(self) -> None:
        self.outages = Outages(clock=self.clock, health=self.health, reading=self.reading)
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not stored, as a new process would."""
        self.shell = self.instance()
        self.settler = self.other_settler(self.shell)
        self.undecided = Undecided(
            store=self.store, shell=self.shell, clock=self.clock, health=self.health, reading=self.reading
        )
        self.sweeper = Sweeper(
            store=self.store, shell=self.shell, clock=self.clock, health=self.health, reading=self.reading
        )

    def instance(self) -> Shell:
        """Return another process's shell on the same store and producer."""
        return Shell(
            store=self.store,
            producer=self.producer,
            directory=self.lender,
            clock=self.clock,
            number_key=NUMBER_KEY,
            partition_of=self.reading.partition_of,
        )

    def other_settler(self, shell: Shell) -> Settler:
        """Return the settler of an instance."""
        return Settler(
            store=self.store,
            shell=shell,
            clock=self.clock,
            health=self.health,
            reading=self.reading,
            outages=self.outages,
        )

    async def seed(self) -> None:
        await Assigner(self.store, self.lender).seed()
        await self.outages.start()

    async def give(self, *events: Event[EventData]) -> list[Handled]:
        return [await self.shell.handle(one) for one in events]

    async def settle(self, after_s: float) -> None:
        """Let time pass, then settle what is due."""
        self.clock.move(after_s)
        await self.outages.round()
        await self.settler.round()

    async def sweep(self, after_s: float) -> None:
        """Let time pass, then emit what was left behind."""
        self.clock.move(after_s)
        await self.sweeper.round()

    @property
    def told(self) -> list[LeadEvent]:
        return leads_in(self.producer.records)

    @property
    def types(self) -> list[str]:
        return [one.TYPE for one in self.told]

    def lead(self, caller: str = CALLER) -> dict[str, Any]:
        return next(lead for lead in self.store.leads.values() if lead["caller"] == caller)

    def call(self, call_id: str = "CA1") -> dict[str, Any]:
        return self.store.calls[f"{LENDER}:twilio:{call_id}"]


def leads_in(records: Sequence[Wire]) -> list[LeadEvent]:
    """Return the first copy of every `leads` event, decoded."""
    found: dict[tuple[str, int], LeadEvent] = {}
    for record in records:
        data = decode(record.key, record.value, record.headers).data
        assert isinstance(data, LeadEvent)
        found.setdefault((data.lead_id, data.lead_seq), data)
    return list(found.values())
