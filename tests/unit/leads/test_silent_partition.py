"""One partition of `leads` without a leader holds up its own callers, and nobody else."""

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest

from schemas.envelope import Wire
from schemas.ids import partition_key
from services.leads import rounds
from services.leads.changes import SILENT_S
from services.policy.suppression import suppression_id
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED
from services.runtime.producer import FakeProducer
from tests.infra.polling import eventually
from tests.unit.leads.events import LENDER, InboundCall, text
from tests.unit.leads.rig import NUMBER_KEY, FakeFactOffsets, Rig

PARTITION_OF = FakeFactOffsets().partition_of
SILENT = PARTITION_OF(partition_key(LENDER, InboundCall().caller))
CALLERS = [f"+1718555{n:04d}" for n in range(200, 260)]
THEIRS = [caller for caller in CALLERS if PARTITION_OF(partition_key(LENDER, caller)) == SILENT]
OTHERS = [caller for caller in CALLERS if caller not in THEIRS]


@dataclass
class DeafProducer(FakeProducer):
    """Some partitions take nothing: a send gives up, or hangs for as long as a test wants."""

    silent: set[int] = field(default_factory=lambda: {SILENT})
    tries: int = 0
    hangs: asyncio.Event | None = None

    async def send_wire(self, *records: Wire) -> None:
        """Keep records, or give up."""
        if PARTITION_OF(records[0].key) in self.silent:
            self.tries += 1
            if self.hangs is not None:
                await self.hangs.wait()
            raise TransientError("no acknowledgement within 5 s")
        await super().send_wire(*records)


@pytest.fixture
async def deaf() -> DeafProducer:
    return DeafProducer()


@pytest.fixture
async def rig(deaf: DeafProducer) -> Rig:
    """A leads service one of whose partitions has no leader."""
    found = Rig(producer=deaf)
    await found.seed()
    return found


def _calls(callers: list[str], name: str = "CA") -> list[InboundCall]:
    return [InboundCall(f"{name}{caller}", caller, legs=1) for caller in callers]


async def _fill(rig: Rig, deaf: DeafProducer, *callers: list[str]) -> None:
    """Leave an outbox of each caller behind, in that order, as an instance without Kafka would."""
    deaf.silent, silent = set(range(12)), deaf.silent
    for group in callers:
        for call in _calls(group):
            with contextlib.suppress(TransientError):
                await rig.give(*call.missed())
        rig.clock.move(1)
    deaf.silent, deaf.tries = silent, 0
    rig.restart()


def _told(rig: Rig) -> set[str]:
    return {one.caller for one in rig.told}


async def test_sweeper_leaves_a_silent_partition_after_its_first_time_out_and_emits_all_others(
    rig: Rig, deaf: DeafProducer
) -> None:
    await _fill(rig, deaf, THEIRS, OTHERS)
    with pytest.raises(TransientError, match=rf"leads\[{SILENT}\]"):
        await rig.sweep(3)
    assert (_told(rig), deaf.tries) == (set(OTHERS), 1)
    deaf.silent.clear()
    await rig.sweep(3)
    assert _told(rig) == set(CALLERS)


async def test_other_partitions_are_swept_while_the_silent_one_is_waited_for(rig: Rig, deaf: DeafProducer) -> None:
    await _fill(rig, deaf, THEIRS, OTHERS)
    deaf.hangs = asyncio.Event()
    rig.clock.move(3)
    sweeping = asyncio.create_task(rig.sweeper.round())
    await eventually(lambda: _told(rig) == set(OTHERS))
    assert not sweeping.done()
    deaf.hangs.set()
    with pytest.raises(TransientError):
        await sweeping


async def test_more_outboxes_of_a_silent_partition_than_a_batch_hide_no_others(
    rig: Rig, deaf: DeafProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "SWEEP_BATCH", 3)
    await _fill(rig, deaf, THEIRS, OTHERS)
    assert len(THEIRS) > 3
    with pytest.raises(TransientError):
        await rig.sweep(3)
    assert _told(rig) == set(OTHERS)


async def test_sweeper_asks_for_no_more_outboxes_once_every_partition_is_silent(
    rig: Rig, deaf: DeafProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "SWEEP_BATCH", 10)
    monkeypatch.setattr(rig.reading, "partition_of", lambda key: PARTITION_OF(key) // 6)
    rig.reading.partitions = 2
    await _fill(rig, deaf, CALLERS)
    deaf.silent = set(range(12))
    rig.store.asked.clear()
    with pytest.raises(TransientError):
        await rig.sweep(3)
    assert (rig.store.asked.count("outboxes_left"), deaf.tries) == (1, 2)


async def test_settler_decides_the_calls_of_all_partitions_though_one_takes_nothing(
    rig: Rig, deaf: DeafProducer
) -> None:
    for callers in (THEIRS, OTHERS):
        for call in _calls(callers):
            await rig.give(call.started(), call.ended(4))
        rig.clock.move(0.1)
    await rig.settle(4)
    assert _told(rig) == set(OTHERS)
    assert {call["outcome"] for call in rig.store.calls.values()} == {"missed"}
    assert all(call["applied"] for call in rig.store.calls.values())


async def test_event_of_a_caller_whose_partition_is_silent_is_done_once_its_lead_is_saved(
    rig: Rig, deaf: DeafProducer
) -> None:
    """A recording is keyed by its call: the partition it lies in must not wait for that of its caller."""
    call = InboundCall()
    assert await rig.give(*call.missed(), call.recorded(), text("STOP")) == [APPLIED] * 6
    assert deaf.tries == 1, "the others did not wait for a time-out of their own"
    assert (rig.lead()["texting"], rig.lead()["voicemail"], rig.call()["applied"]) == ("stopped", True, True)
    assert await rig.store.is_suppressed(suppression_id(NUMBER_KEY, LENDER, call.caller or ""))
    deaf.silent.clear()
    await rig.sweep(3)
    assert rig.types == ["lead.opened", "lead.assigned", "lead.opted_out"]
    await rig.give(text("hello", "SM2", 300))
    assert rig.types[-1] == "lead.replied", "the partition answers again, so nothing is left to the sweeper"


async def test_partition_that_another_instance_has_swept_is_tried_again_after_a_while(
    rig: Rig, deaf: DeafProducer
) -> None:
    await rig.give(*InboundCall().missed())
    deaf.silent.clear()
    await rig.instance().emit((await rig.store.find_lead(LENDER, InboundCall().caller or "")) or pytest.fail("no lead"))
    await rig.give(text("hello"))
    assert len(rig.types) == 2, "left to the sweeper"
    rig.clock.move(SILENT_S + 1)
    await rig.give(text("are you there", "SM2"))
    assert rig.types[2:] == ["lead.replied", "lead.replied"]


async def test_lead_whose_outbox_is_half_full_waits_for_its_partition(rig: Rig) -> None:
    """A document must not grow without bound: from there on its events wait, as while all of Kafka is away."""
    await rig.give(*InboundCall().missed())
    for n in range(31):
        await rig.give(text("hello", f"SM{n}"))
    assert len(rig.lead()["outbox"]) == 33
    with pytest.raises(TransientError):
        await rig.give(text("hello", "SM31"))
    assert len(rig.lead()["outbox"]) == 33
