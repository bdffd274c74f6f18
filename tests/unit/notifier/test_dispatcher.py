"""The dispatcher and its sweeps: who is worked on first, and what is found afterwards."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial

import pytest
from prometheus_client import REGISTRY

from schemas.touches import TouchDue
from services.notifier.adapters.store import Found
from services.notifier.adapters.twilio import Listed
from services.notifier.dispatcher import Dispatcher, DoubtSweep, OutboxSweep
from services.notifier.domain.delivery import DeliveryState
from services.notifier.domain.facts import LeftInDoubt, ProviderAccepted, SendOutcome
from services.notifier.shell import CLAIM_FOR
from tests.infra.polling import eventually
from tests.unit.notifier.build import LEAD, Bench, event, touch


class SlowProvider:
    """Answers when told."""

    def __init__(self, bench: Bench) -> None:
        self.started: list[str] = []
        self.may_answer = asyncio.Event()
        bench.provider.send = self.send  # type: ignore[method-assign]

    async def send(self, *_: object, callback_url: str, **__: object) -> SendOutcome:
        self.started.append(callback_url.rsplit("=", 1)[1])
        await self.may_answer.wait()
        return ProviderAccepted(f"SM{len(self.started)}-{callback_url[-6:]}")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def dispatcher(bench: Bench) -> AsyncIterator[Dispatcher]:
    """A running dispatcher with its sweeps, as the service runs them."""
    made = Dispatcher(bench.shell, senders=4)
    parts = [made, OutboxSweep(bench.shell), DoubtSweep(bench.shell, wait_s=0)]
    for part in parts:
        part.period_s = 0.02
        await part.start()
    tasks = [asyncio.create_task(part.run()) for part in parts]
    yield made
    for part in parts:
        await part.stop()
    await asyncio.gather(*tasks)


async def test_touch_is_worked_on_at_once(bench: Bench, dispatcher: Dispatcher) -> None:
    await bench.shell.on_touch(event(), dispatcher)
    await eventually(lambda: bench.said() == ["touch.sent"])
    assert await bench.health.busy_with() == []


async def test_slow_bulk_texts_leave_a_sender_to_the_urgent_one(bench: Bench, dispatcher: Dispatcher) -> None:
    slow = SlowProvider(bench)
    for n in range(6):
        await bench.shell.on_touch(event(touch(step=f"bulk-{n}", lane="bulk")), dispatcher)
    await eventually(lambda: len(slow.started) == 3)
    first = touch()
    await bench.shell.on_touch(event(first), dispatcher)
    await eventually(lambda: first.touch_id in slow.started)
    assert len(slow.started) == 4
    slow.may_answer.set()
    await eventually(lambda: bench.said().count("touch.sent") == 7)


async def test_what_nobody_claimed_is_found_by_looking(bench: Bench, dispatcher: Dispatcher) -> None:
    bench.full = True
    await bench.shell.on_touch(event(), bench)
    await eventually(lambda: bench.said() == ["touch.sent"])


async def test_results_that_waited_are_emitted_by_the_sweeper(bench: Bench, dispatcher: Dispatcher) -> None:
    bench.producer.fail = 1
    await bench.shell.on_touch(event(), dispatcher)
    await eventually(lambda: bench.stored().outbox)
    assert await bench.health.busy_with() == ["results not emitted"]
    bench.clock.real += timedelta(seconds=10)
    await eventually(lambda: bench.said() == ["touch.sent"])


async def test_doubt_is_looked_into_after_its_time_and_not_before(bench: Bench, dispatcher: Dispatcher) -> None:
    bench.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    await bench.shell.on_touch(event(), dispatcher)
    await eventually(lambda: bench.stored().reason == "SocketTimeoutError")
    bench.provider.list_of = [Listed("SM8", bench.stored().body or "", bench.clock.virtual)]
    looks, in_doubt = 0, bench.store.in_doubt

    async def look(post_by_before_real: datetime, limit: int) -> Found:
        nonlocal looks
        looks += 1
        return await in_doubt(post_by_before_real, limit)

    bench.store.in_doubt = look  # type: ignore[method-assign]
    await eventually(lambda: looks >= 2, why="a whole look before its time")
    assert bench.stored().state is DeliveryState.POSTING
    bench.clock.real += timedelta(seconds=11)
    await eventually(lambda: bench.stored().state is DeliveryState.SENT)
    assert len(bench.provider.texts) == 1


async def test_mongo_away_is_waited_for_and_the_text_goes_once(bench: Bench, dispatcher: Dispatcher) -> None:
    await bench.shell.on_touch(event(), bench)
    bench.store.away = 2
    dispatcher.take(bench.taken[0])
    await eventually(lambda: bench.said() == ["touch.sent"])
    assert len(bench.provider.texts) == 1
    assert "mongo" not in bench.health.not_ready


async def test_stop_finishes_what_is_under_way_and_takes_nothing_more(bench: Bench, dispatcher: Dispatcher) -> None:
    slow = SlowProvider(bench)
    await bench.shell.on_touch(event(), dispatcher)
    await eventually(lambda: slow.started)
    stopping = asyncio.create_task(dispatcher.stop())
    await asyncio.sleep(0)
    assert not dispatcher.has_room("urgent")
    slow.may_answer.set()
    await stopping
    assert bench.said() == ["touch.sent"]


async def test_delivery_that_cannot_be_read_keeps_nobody_waiting_and_is_counted(
    bench: Bench, dispatcher: Dispatcher
) -> None:
    before = failures("look for due texts")
    bench.full = True
    for n in range(6):  # more than there are senders
        await bench.shell.on_touch(event(touch(step=f"broken-{n}")), bench)
        del bench.store.deliveries[touch(step=f"broken-{n}").touch_id]["lead_id"]
    await bench.shell.on_touch(event(), bench)
    await eventually(lambda: bench.said() == ["touch.sent"])
    assert failures("look for due texts") >= before + 6
    assert "look for due texts" not in bench.health.not_ready


async def test_results_of_a_delivery_that_cannot_be_read_keep_no_others_waiting(
    bench: Bench, dispatcher: Dispatcher
) -> None:
    bench.producer.fail = 2
    await bench.shell.on_touch(event(touch(step="broken")), dispatcher)
    await eventually(lambda: bench.stored(touch(step="broken")).outbox)
    await bench.shell.on_touch(event(), dispatcher)
    await eventually(lambda: bench.stored().outbox)
    bench.store.deliveries[touch(step="broken").touch_id]["outbox"][0]["type"] = "touch.of_a_newer_version"
    bench.clock.real += timedelta(seconds=10)
    await eventually(lambda: bench.said() == ["touch.sent"])
    assert bench.producer.sent[0].id == f"{touch().touch_id}:sent"


async def test_doubt_that_cannot_be_resolved_keeps_no_others_waiting(bench: Bench, dispatcher: Dispatcher) -> None:
    bench.provider.answers = [LeftInDoubt("SocketTimeoutError"), LeftInDoubt("SocketTimeoutError")]
    for due in (touch(step="broken"), touch()):
        await bench.shell.on_touch(event(due), dispatcher)
        await eventually(partial(is_in_doubt, bench, due))
    bench.store.deliveries[touch(step="broken").touch_id]["attempt"] = "first"
    del bench.store.deliveries[touch(step="broken").touch_id]["step"]
    bench.clock.real += timedelta(seconds=11)
    await eventually(lambda: bench.said() == ["touch.task_requested"])


async def test_card_that_cannot_be_read_sends_nothing_and_the_text_goes_once_it_can_be(
    bench: Bench, dispatcher: Dispatcher
) -> None:
    status = bench.store.leads[LEAD].pop("status")
    before = REGISTRY.get_sample_value("ringback_delivery_failures_total") or 0.0
    await bench.shell.on_touch(event(), dispatcher)
    await eventually(lambda: REGISTRY.get_sample_value("ringback_delivery_failures_total") == before + 1)
    assert bench.provider.texts == []
    bench.store.leads[LEAD]["status"] = status
    bench.clock.real += CLAIM_FOR
    await eventually(lambda: bench.said() == ["touch.sent"])


def is_in_doubt(bench: Bench, due: TouchDue) -> bool:
    return bench.stored(due).reason == "SocketTimeoutError"


def failures(name: str) -> float:
    return REGISTRY.get_sample_value("ringback_round_failures_total", {"round": name}) or 0.0
