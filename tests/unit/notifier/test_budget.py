"""A sending number's budget: bounded over all instances, cheap for each, and never used up by bulk texts."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.budget import Budget
from services.notifier.dispatcher import Dispatcher
from services.notifier.domain.delivery import Delivery, DeliveryState
from services.runtime.mongo_errors import StoreAway
from tests.infra.clock import FakeClock
from tests.infra.polling import eventually
from tests.unit.notifier.build import DIRECTORY, OPEN, TEXT, delivery, event, touch
from tests.unit.notifier.rig import Rig

NUMBER = TEXT.from_number


@dataclass
class CountsAsking(MemoryDeliveries):
    """Counts round trips for tokens, and what they brought; others may run before an answer arrives."""

    asked: int = 0
    granted: int = 0

    async def take_tokens(self, number: str, want: int, *, leave: float, rate: float, burst: float) -> int:
        self.asked += 1
        granted = await super().take_tokens(number, want, leave=leave, rate=rate, burst=burst)
        self.granted += granted
        await asyncio.sleep(0)
        return granted


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> CountsAsking:
    return CountsAsking(seconds=clock.monotonic_s)


@pytest.mark.parametrize("rate", [0.5, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("instances", [1, 2, 5])
async def test_instances_together_send_no_faster_than_a_numbers_rate_and_hardly_slower(
    store: CountsAsking, clock: FakeClock, rate: float, instances: int
) -> None:
    budgets = [Budget(store, DIRECTORY, clock, rate) for _ in range(instances)]
    sent = 0
    for _ in range(6_000):
        clock.move(0.01)
        for budget in budgets:
            sent += await budget.take(NUMBER, "bulk", 1)
    burst, per_minute = budgets[0].burst, 60 * rate
    assert sent <= burst + per_minute
    held = instances * budgets[0].ahead
    assert sent >= per_minute - held - 2 * rate


async def test_urgent_text_has_its_token_though_bulk_texts_have_used_up_what_is_theirs(
    store: CountsAsking, clock: FakeClock
) -> None:
    ours, others = Budget(store, DIRECTORY, clock, 10.0), Budget(store, DIRECTORY, clock, 10.0)
    while await others.take(NUMBER, "bulk", 1):
        pass
    assert not await ours.take(NUMBER, "normal", 1)
    assert await ours.take(NUMBER, "urgent", 2)


async def test_number_without_a_bound_costs_no_round_trip(clock: FakeClock) -> None:
    store = CountsAsking(away=1)
    assert await Budget(store, DIRECTORY, clock, 0.0).take(NUMBER, "urgent", 9)
    assert store.asked == 0


async def test_tokens_are_taken_some_at_a_time(store: CountsAsking, clock: FakeClock) -> None:
    budget = Budget(store, DIRECTORY, clock, 100.0)
    assert [await budget.take(NUMBER, "urgent", 1) for _ in range(100)] == [True] * 100
    assert store.asked == 2


async def test_senders_that_ask_at_once_lose_no_token_and_use_none_twice(store: CountsAsking, clock: FakeClock) -> None:
    budget = Budget(store, DIRECTORY, clock, 10.0)
    assert all(await asyncio.gather(*(budget.take(NUMBER, "urgent", 1) for _ in range(10))))
    assert store.asked == 2
    sent = 10
    for _ in range(100):
        clock.move(0.5)
        at_once = await asyncio.gather(*(budget.take(NUMBER, "urgent", n) for n in (1, 2, 1, 1, 3)))
        sent += sum(n for n, went in zip((1, 2, 1, 1, 3), at_once, strict=True) if went)
    assert sent <= store.granted <= sent + budget.ahead
    assert sent >= 10 + 100 * 5 - budget.burst


async def test_number_that_has_nothing_left_is_not_asked_about_again_at_once_and_its_branches_are_left_out(
    store: CountsAsking, clock: FakeClock
) -> None:
    budget = Budget(store, DIRECTORY, clock, 1.0)
    while await budget.take(NUMBER, "bulk", 1):
        pass
    asked = store.asked
    assert not await budget.take(NUMBER, "bulk", 1)
    assert store.asked == asked
    assert budget.spent_branches("bulk") == ["new-york"]
    assert budget.spent_branches("urgent") == []
    clock.move(1.0)
    assert budget.spent_branches("bulk") == []
    assert await budget.take(NUMBER, "bulk", 1)


async def test_long_text_gathers_its_tokens_and_goes(store: CountsAsking, clock: FakeClock) -> None:
    budget = Budget(store, DIRECTORY, clock, 1.0)
    while await budget.take(NUMBER, "bulk", 1):
        pass
    waited = 0
    while not await budget.take(NUMBER, "bulk", 4):
        clock.move(1.0)
        waited += 1
    assert waited == 4


async def test_text_over_the_budget_is_put_back_unsent_and_goes_when_there_is_some(rig: Rig) -> None:
    rig = Rig(rate=1.0)
    rig.store.senders[NUMBER] = 0.0, rig.clock.mono_s
    waiting = await rig.run()
    assert (waiting.state, waiting.claim_by, rig.provider.texts) == (DeliveryState.ACCEPTED, None, [])
    rig.clock.move(2.0)
    await rig.again()
    assert rig.said() == ["touch.sent"]


async def test_old_text_that_waited_for_the_budget_goes_before_one_that_has_just_come() -> None:
    rig = Rig(rate=1.0)
    rig.clock.move(60.0)
    rig.store.senders[NUMBER] = 0.0, rig.clock.mono_s
    old, fresh = touch(step="old"), touch(step="fresh", due_at=rig.clock.virtual)
    await rig.run(old)
    assert await claimed(rig) == [], "it is looked at again only after a pause"
    await rig.shell.on_touch(event(fresh), rig)
    rig.clock.move(0.5)
    assert await claimed(rig) == [old.touch_id]


async def claimed(rig: Rig) -> list[str]:
    """Return what one claim for one sender finds."""
    found = await rig.store.claim_due("urgent", 1, rig.shell.new_claim(), rig.clock.now())
    return [one.touch_id for one in found]


@pytest.mark.parametrize("bucket", ["full", "empty"])
async def test_expired_texts_become_tasks_however_low_the_rate_and_wait_for_no_token(bucket: str) -> None:
    """One look of the dispatcher, while the clock stands: at one segment a second, one text a number may be looked at."""
    rig = Rig(rate=1.0)
    if bucket == "empty":
        rig.store.senders[NUMBER] = 0.0, rig.clock.mono_s
        assert not await rig.shell.budget.take(NUMBER, "bulk", 1)
    for n in range(20):
        await rig.store.insert(bulk(f"live-{n:02}", expires_at=OPEN + timedelta(days=1)))
        await rig.store.insert(bulk(f"expired-{n:02}", expires_at=OPEN))
    dispatcher = Dispatcher(rig.shell, senders=32)
    await dispatcher.start()
    await dispatcher.round()
    await eventually(lambda: rig.said().count("touch.task_requested") == 20, timeout_s=3)
    assert len(rig.provider.texts) <= rig.shell.budget.room("bulk", 32) == 3
    await dispatcher.stop()


def bulk(name: str, expires_at: datetime) -> Delivery:
    return delivery(touch_id=name, step=name, lane="bulk", first_of_sequence=False, expires_at=expires_at)


async def test_budget_that_cannot_be_read_sends_nothing(rig: Rig) -> None:
    rig = Rig(rate=1.0)
    await rig.shell.on_touch(event(touch()), rig)
    rig.store.take_tokens = unanswered  # type: ignore[method-assign]
    with pytest.raises(StoreAway):
        await rig.shell.deliver(rig.taken.pop())
    assert rig.provider.texts == []


async def unanswered(*_: object, **__: object) -> int:
    raise StoreAway("told to be away")
