"""A worker ends, or a read is slow, right before or while a request is made: nothing goes that must not, nothing is left."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from schemas.touches import TouchTaskRequested
from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.adapters.store import Borrower
from services.notifier.adapters.twilio import FakeProvider, MayWrite
from services.notifier.dispatcher import Dispatcher, DoubtSweep
from services.notifier.domain.delivery import Delivery, DeliveryState, RenderedText
from services.notifier.domain.facts import SendOutcome
from services.notifier.last_look import READ_FRESH_S
from services.notifier.shell import CLAIM_FOR, POST_WITHIN_S
from tests.infra.clock import FakeClock
from tests.infra.polling import eventually
from tests.unit.notifier.build import OPEN, REAL, event
from tests.unit.notifier.rig import Rig

DOUBT_S = 60.0


@dataclass
class EndsWhilePosting(FakeProvider):
    """Its process ends once the request has been written."""

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        assert await last_look() is None
        raise asyncio.CancelledError


async def test_text_whose_worker_ended_while_it_was_posted_is_found_and_becomes_a_task() -> None:
    rig = Rig(provider=EndsWhilePosting())
    with suppress(asyncio.CancelledError):
        await rig.run()
    assert rig.stored().state is DeliveryState.POSTING
    sweep = DoubtSweep(rig.shell, DOUBT_S)
    rig.clock.move_real(POST_WITHIN_S)
    await sweep.round()
    assert rig.stored().state is DeliveryState.POSTING, "its receipt may still come"
    rig.clock.move_real(DOUBT_S + 1)
    await sweep.round()
    assert rig.stored().state is DeliveryState.UNKNOWN
    assert [type(one.data) for one in rig.producer.sent] == [TouchTaskRequested]


@dataclass
class SlowTwice(MemoryDeliveries):
    """Every read takes longer than what it tells stays fresh; a STOP comes right after the second began."""

    clock: FakeClock = field(kw_only=True)
    reads: int = 0

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        self.reads += 1
        found = await super().borrower(lead_id, suppression_id)
        self.clock.mono_s += READ_FRESH_S + 0.1
        if self.reads == 2:
            self.suppressions[suppression_id] = {"_id": suppression_id}
        return found


async def test_slow_read_at_the_last_look_counts_from_before_it_and_nothing_is_sent() -> None:
    clock = FakeClock(OPEN, real=REAL)
    rig = Rig(clock=clock, store=SlowTwice(clock=clock))
    stored = await rig.run()
    assert (stored.state, stored.reason, rig.provider.texts) == (DeliveryState.ACCEPTED, "too_late", [])


async def test_no_text_of_a_borrower_is_claimed_while_the_whole_tail_is_away() -> None:
    """It could only be put back, thousands of times; officers' texts and those that have expired are still found."""
    rig = Rig(full=True)
    rig.tail.complete = False
    await rig.shell.on_touch(event(), rig)
    dispatcher = Dispatcher(rig.shell, senders=4)
    await dispatcher.round()
    assert (rig.stored().claim_by, rig.stored().rev) == (None, 1)
    rig.tail.complete = True
    await dispatcher.round()
    await eventually(lambda: rig.stored().state is DeliveryState.SENT, why="it goes once the tail is back")
    await dispatcher.stop()


async def test_worker_that_hears_from_mongodb_again_leaves_a_text_that_another_is_posting() -> None:
    """Its claim has lapsed meanwhile: what it would undo is not its own, and the text would go twice."""
    rig = Rig(provider=EndsWhilePosting(), full=True)
    await rig.shell.on_touch(event(), rig)
    [mine] = await rig.store.claim_due("urgent", 1, rig.shell.new_claim(), rig.clock.now())
    assert isinstance(mine, Delivery)
    rig.clock.move_real(CLAIM_FOR.total_seconds() + 1)
    with suppress(asyncio.CancelledError):
        await rig.again()
    assert rig.stored().state is DeliveryState.POSTING
    assert await rig.shell.recover(mine.touch_id, mine.claim_by) is None
    assert rig.stored().state is DeliveryState.POSTING
