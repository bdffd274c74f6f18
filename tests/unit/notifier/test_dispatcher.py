"""The dispatcher and its sweeps: who is worked on first, and what is found afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from schemas.base import Lane
from schemas.touches import TouchDue
from services.notifier import dispatcher as dispatching
from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.adapters.store import Found, Saved
from services.notifier.adapters.twilio import FakeProvider, Listed, MayWrite
from services.notifier.dispatcher import Dispatcher, DoubtSweep, OutboxSweep
from services.notifier.domain.delivery import Delivery, DeliveryState, RenderedText
from services.notifier.domain.facts import LeftInDoubt, ProviderAccepted, SendOutcome
from services.notifier.domain.machine import HOLD_PAUSE_S
from services.notifier.shell import CLAIM_FOR
from services.runtime.mongo_errors import StoreAway
from services.runtime.stopping import ROUND_LIMIT_S
from tests.infra.polling import eventually
from tests.unit.notifier.build import KEY, LEAD, delivery, event, touch
from tests.unit.notifier.rig import Rig


class SlowProvider(FakeProvider):
    """Answers when told."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.started: list[str] = []
        self.may_answer = asyncio.Event()
        rig.shell.provider = self

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        touch_id = callback_url.split("touch=", 1)[1].split("#")[0]
        self.started.append(touch_id)
        await self.may_answer.wait()
        return ProviderAccepted(f"SM-{touch_id}")


@pytest.fixture
async def dispatcher(rig: Rig) -> AsyncIterator[Dispatcher]:
    """A running dispatcher with its sweeps, as the service runs them."""
    made = Dispatcher(rig.shell, senders=4)
    parts = [made, OutboxSweep(rig.shell, lambda _: 0), DoubtSweep(rig.shell, wait_s=0)]
    for part in parts:
        part.period_s = 0.02
        await part.start()
    tasks = [asyncio.create_task(part.run()) for part in parts]
    yield made
    for part in parts:
        await part.stop()
    await asyncio.gather(*tasks)


@asynccontextmanager
async def running(made: Dispatcher) -> AsyncIterator[Dispatcher]:
    """A dispatcher that runs without its sweeps."""
    made.period_s = 0.02
    await made.start()
    task = asyncio.create_task(made.run())
    yield made
    await made.stop()
    await task


async def test_touch_is_worked_on_at_once(rig: Rig, dispatcher: Dispatcher) -> None:
    await rig.shell.on_touch(event(), dispatcher)
    await eventually(lambda: rig.said() == ["touch.sent"])
    assert await rig.health.busy_with() == []


async def test_slow_bulk_texts_leave_a_sender_to_the_urgent_one(rig: Rig, dispatcher: Dispatcher) -> None:
    slow = SlowProvider(rig)
    for n in range(6):
        await rig.shell.on_touch(event(touch(step=f"bulk-{n}", lane="bulk")), dispatcher)
    await eventually(lambda: len(slow.started) == 3)
    first = touch()
    await rig.shell.on_touch(event(first), dispatcher)
    await eventually(lambda: first.touch_id in slow.started)
    assert len(slow.started) == 4
    slow.may_answer.set()
    await eventually(lambda: rig.said().count("touch.sent") == 7)


async def test_what_nobody_claimed_is_found_by_looking(rig: Rig, dispatcher: Dispatcher) -> None:
    rig.full = True
    await rig.shell.on_touch(event(), rig)
    await eventually(lambda: rig.said() == ["touch.sent"])


async def test_results_that_waited_are_emitted_by_the_sweeper(rig: Rig, dispatcher: Dispatcher) -> None:
    rig.producer.fail = 1
    await rig.shell.on_touch(event(), dispatcher)
    await eventually(lambda: rig.stored().outbox)
    assert await rig.health.busy_with() == ["results not emitted"]
    rig.clock.real += timedelta(seconds=10)
    await eventually(lambda: rig.said() == ["touch.sent"])


async def test_doubt_is_looked_into_after_its_time_and_not_before(rig: Rig, dispatcher: Dispatcher) -> None:
    rig.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    await rig.shell.on_touch(event(), dispatcher)
    await eventually(lambda: rig.stored().reason == "SocketTimeoutError")
    rig.provider.list_of = [Listed("SM8", rig.stored().body or "", rig.clock.virtual)]
    for _ in range(2):  # between two beats lies a whole round, before its time
        await eventually(partial(has_turned, rig, "doubt sweep", rig.health.beats["doubt sweep"]))
    assert rig.stored().state is DeliveryState.POSTING
    rig.clock.real += timedelta(seconds=11)
    await eventually(lambda: rig.stored().state is DeliveryState.SENT)
    assert len(rig.provider.texts) == 1


async def test_list_that_is_away_is_counted_and_leaves_the_notifier_ready(rig: Rig, dispatcher: Dispatcher) -> None:
    rig.provider.answers, rig.provider.away = [LeftInDoubt("SocketTimeoutError")], True
    await rig.shell.on_touch(event(), dispatcher)
    await eventually(partial(is_in_doubt, rig, touch()))
    before = failures("doubt sweep")
    rig.clock.real += timedelta(seconds=11)
    await eventually(lambda: failures("doubt sweep") >= before + 2)
    await eventually(partial(has_turned, rig, "doubt sweep", rig.health.beats["doubt sweep"]))
    assert "doubt sweep" not in rig.health.not_ready
    rig.provider.away = False
    await eventually(lambda: rig.stored().state is DeliveryState.UNKNOWN)


async def test_mongo_away_is_waited_for_and_the_text_goes_once(rig: Rig, dispatcher: Dispatcher) -> None:
    await rig.shell.on_touch(event(), rig)
    rig.store.away = 2
    dispatcher.take(rig.taken[0])
    await eventually(lambda: rig.said() == ["touch.sent"])
    assert len(rig.provider.texts) == 1
    assert "mongo" not in rig.health.not_ready


@dataclass
class AwayOnce(MemoryDeliveries):
    """Fails each touch once, and answers no question about one of them before it is told to."""

    slow: str = ""
    failed: set[str] = field(default_factory=set)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, touch_id: str) -> Delivery | None:
        if touch_id == self.slow:
            await self.may_answer.wait()
        return await super().get(touch_id)

    async def save(self, delivery: Delivery) -> Saved:
        if delivery.touch_id not in self.failed:
            self.failed.add(delivery.touch_id)
            raise StoreAway("away once")
        return await super().save(delivery)


async def test_text_that_goes_again_leaves_the_notifier_unready_while_another_waits_for_mongo() -> None:
    waits, goes_on = touch(step="waits"), touch()
    store = AwayOnce(slow=waits.touch_id)
    rig = Rig(store=store)
    async with running(Dispatcher(rig.shell, senders=4)) as dispatcher:
        await rig.shell.on_touch(event(waits), dispatcher)
        await eventually(lambda: "mongo" in rig.health.not_ready)
        await rig.shell.on_touch(event(goes_on), dispatcher)
        await eventually(lambda: rig.said() == ["touch.sent"])
        await eventually(partial(_under_way, rig, 1))
        assert store.failed == {waits.touch_id, goes_on.touch_id}
        assert "mongo" in rig.health.not_ready
        store.may_answer.set()
        await eventually(lambda: "mongo" not in rig.health.not_ready)
        await eventually(lambda: rig.stored(waits).state is DeliveryState.SENT)


async def _under_way(rig: Rig, count: int) -> bool:
    return await rig.health.busy_with() == [f"{count} texts under way"]


async def test_stop_finishes_what_is_under_way_and_takes_nothing_more(rig: Rig, dispatcher: Dispatcher) -> None:
    slow = SlowProvider(rig)
    await rig.shell.on_touch(event(), dispatcher)
    await eventually(lambda: slow.started)
    stopping = asyncio.create_task(dispatcher.stop())
    await eventually(lambda: not dispatcher.has_room("urgent"))
    slow.may_answer.set()
    await stopping
    assert rig.said() == ["touch.sent"]


class SilentStore(MemoryDeliveries):
    """Answers no round."""

    async def claim_due(self, *_args: Any, **_more: Any) -> Found:
        return await asyncio.Future()


async def test_stop_with_a_round_that_hangs_takes_no_longer_than_the_senders_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It took three seconds more: together all that the service's parts have, and the loops had none left."""
    monkeypatch.setattr(dispatching, "STOP_WITHIN_S", 0.1)
    rig = Rig(store=SilentStore())
    slow, made = SlowProvider(rig), Dispatcher(rig.shell, senders=4)
    running = asyncio.create_task(made.run())
    await rig.shell.on_touch(event(), made)
    await eventually(lambda: slow.started)
    async with asyncio.timeout(ROUND_LIMIT_S / 2):
        await made.stop()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_delivery_that_cannot_be_read_keeps_nobody_waiting_and_is_counted(
    rig: Rig, dispatcher: Dispatcher
) -> None:
    before = failures("look for due texts")
    rig.full = True
    for n in range(6):  # more than there are senders
        await rig.shell.on_touch(event(touch(step=f"broken-{n}")), rig)
        del rig.store.deliveries[touch(step=f"broken-{n}").touch_id]["lead_id"]
    await rig.shell.on_touch(event(), rig)
    await eventually(lambda: rig.said() == ["touch.sent"])
    assert failures("look for due texts") >= before + 6
    assert "look for due texts" not in rig.health.not_ready


async def test_results_of_a_delivery_that_cannot_be_read_keep_no_others_waiting(
    rig: Rig, dispatcher: Dispatcher
) -> None:
    rig.producer.fail = 2
    await rig.shell.on_touch(event(touch(step="broken")), dispatcher)
    await eventually(lambda: rig.stored(touch(step="broken")).outbox)
    await rig.shell.on_touch(event(), dispatcher)
    await eventually(lambda: rig.stored().outbox)
    rig.store.deliveries[touch(step="broken").touch_id]["outbox"][0]["type"] = "touch.of_a_newer_version"
    rig.clock.real += timedelta(seconds=10)
    await eventually(lambda: rig.said() == ["touch.sent"])
    assert rig.producer.sent[0].id == f"{touch().touch_id}:sent"


async def test_doubt_that_cannot_be_resolved_keeps_no_others_waiting(rig: Rig, dispatcher: Dispatcher) -> None:
    rig.provider.answers = [LeftInDoubt("SocketTimeoutError"), LeftInDoubt("SocketTimeoutError")]
    for due in (touch(step="broken"), touch()):
        await rig.shell.on_touch(event(due), dispatcher)
        await eventually(partial(is_in_doubt, rig, due))
    rig.store.deliveries[touch(step="broken").touch_id]["attempt"] = "first"
    del rig.store.deliveries[touch(step="broken").touch_id]["step"]
    rig.clock.real += timedelta(seconds=11)
    await eventually(lambda: rig.said() == ["touch.task_requested"])


async def test_card_that_cannot_be_read_sends_nothing_and_the_text_goes_once_it_can_be(
    rig: Rig, dispatcher: Dispatcher
) -> None:
    status = rig.store.leads[LEAD].pop("status")
    before = REGISTRY.get_sample_value("ringback_delivery_failures_total") or 0.0
    await rig.shell.on_touch(event(), dispatcher)
    await eventually(lambda: REGISTRY.get_sample_value("ringback_delivery_failures_total") == before + 1)
    assert rig.provider.texts == []
    rig.store.leads[LEAD]["status"] = status
    rig.clock.real += CLAIM_FOR
    await eventually(lambda: rig.said() == ["touch.sent"])


@pytest.mark.parametrize("arrives", ["with room", "unclaimed"])
async def test_urgent_text_leaves_at_once_though_ten_thousand_bulk_texts_are_due(rig: Rig, arrives: str) -> None:
    """Bulk texts hold three of four senders; the urgent one waits for none of them, claimed at once or found by looking."""
    slow = SlowProvider(rig)
    for n in range(10_000):
        await rig.store.insert(delivery(touch_id=f"bulk-{n}", step=f"bulk-{n}", lane="bulk", first_of_sequence=False))
    async with running(Dispatcher(rig.shell, senders=4)) as dispatcher:
        await eventually(lambda: len(slow.started) == 3)
        await rig.shell.on_touch(event(), dispatcher if arrives == "with room" else Unclaimed(dispatcher))
        await eventually(lambda: touch().touch_id in slow.started)
        assert len(slow.started) == 4
        slow.may_answer.set()


async def test_ten_thousand_bulk_texts_leave_at_their_numbers_rate_and_an_urgent_one_at_once() -> None:
    """At ten segments a second. The bulk texts wait unclaimed, and the urgent share of the bucket is not theirs."""
    store = CountsSaves()
    rig = Rig(store=store, rate=10.0)
    for n in range(10_000):
        name = f"bulk-{n:05}"
        bulk = delivery(touch_id=name, step=name, lane="bulk", first_of_sequence=False)
        await store.insert(replace(bulk, expires_at=bulk.expires_at + timedelta(days=1)))
    async with running(Dispatcher(rig.shell, senders=32)) as dispatcher:
        for _ in range(20):
            rig.clock.move(0.5)
            for _ in range(2):
                await eventually(partial(has_turned, rig, dispatcher.name, rig.health.beats.get(dispatcher.name, 0)))
        segments = sum(text.segments for text, *_ in rig.provider.texts)
        assert 80 <= segments <= 10 + 10 * 10
        claimed = 20 * rig.shell.budget.room("bulk", 32)
        assert store.saves <= 2 * len(rig.provider.texts) + 2 * claimed, "none is claimed over and over"
        before = len(rig.provider.texts)
        await rig.shell.on_touch(event(touch(due_at=rig.clock.virtual)), dispatcher)
        await eventually(lambda: rig.said()[-1] == "touch.sent" and rig.stored().state is DeliveryState.SENT)
        assert len(rig.provider.texts) <= before + 1, "no bulk text left meanwhile: the clock stood still"


class Unclaimed:
    """A room that takes nothing itself: a touch is kept, and the dispatcher has to find it."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def has_room(self, lane: Lane) -> bool:
        return False

    def take(self, delivery: Delivery) -> None:
        raise AssertionError("it said that it has no room")

    def waiting(self) -> None:
        self._dispatcher.waiting()


class CountsSaves(MemoryDeliveries):
    """Counts writes to what is stored: claims and releases among them."""

    saves = 0

    async def save(self, delivery: Delivery) -> Saved:
        self.saves += 1
        return await super().save(delivery)


@pytest.mark.parametrize("away", ["tail", "partition"])
async def test_texts_that_are_held_are_not_claimed_over_and_over_and_keep_no_officers_text_waiting(away: str) -> None:
    store = CountsSaves()
    rig = Rig(store=store, full=True)
    rig.tail.complete = away != "tail"
    rig.tail.away_for = {KEY}
    held = [touch(step=f"held-{n}") for n in range(20)]
    for due in held:
        await rig.shell.on_touch(event(due), rig)
    async with running(Dispatcher(rig.shell, senders=4)) as dispatcher:
        for _ in range(8):
            await eventually(partial(has_turned, rig, dispatcher.name, rig.health.beats.get(dispatcher.name, 0)))
        assert store.saves <= 2 * len(held)
        rig.clock.virtual += timedelta(seconds=0.5)
        await rig.shell.on_touch(event(touch(step="alert", audience="officer", due_at=rig.clock.virtual)), rig)
        await eventually(lambda: rig.said() == ["touch.sent"])
        assert store.saves <= 2 * len(held) + 4
        rig.tail.complete, rig.tail.away_for = True, set()
        rig.clock.virtual += timedelta(seconds=HOLD_PAUSE_S[1] * 1.5)
        await eventually(lambda: rig.said().count("touch.sent") == len(held) + 1)


async def test_held_text_that_expires_becomes_a_task_though_the_tail_is_still_away(
    rig: Rig, dispatcher: Dispatcher
) -> None:
    rig.tail.complete = False
    await rig.shell.on_touch(event(), dispatcher)
    await eventually(lambda: rig.stored().claim_by is None)
    rig.clock.virtual = touch().expires_at
    await eventually(lambda: rig.said() == ["touch.suppressed", "touch.task_requested"])


def has_turned(rig: Rig, loop: str, since_s: float) -> bool:
    return rig.health.beats.get(loop, 0.0) > since_s


def is_in_doubt(rig: Rig, due: TouchDue) -> bool:
    return rig.stored(due).reason == "SocketTimeoutError"


def failures(name: str) -> float:
    return REGISTRY.get_sample_value("ringback_round_failures_total", {"round": name}) or 0.0
