"""The pump: who is worked on first, and what is swept up after."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from services.notifier.adapters.twilio import Listed
from services.notifier.dispatcher import Pump
from services.notifier.domain.delivery import Delivery, State
from services.notifier.domain.facts import Answer, LeftInDoubt, ProviderAccepted
from tests.infra.polling import eventually
from tests.unit.notifier.build import Bench, event, touch


class SlowProvider:
    """Answers when told."""

    def __init__(self, bench: Bench) -> None:
        self.started: list[str] = []
        self.may_answer = asyncio.Event()
        bench.provider.send = self.send  # type: ignore[method-assign]

    async def send(self, *_: object, callback_url: str, **__: object) -> Answer:
        self.started.append(callback_url.rsplit("=", 1)[1])
        await self.may_answer.wait()
        return ProviderAccepted(f"SM{len(self.started)}-{callback_url[-6:]}")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def pump(bench: Bench) -> AsyncIterator[Pump]:
    made = Pump(bench.shell, senders=4, doubt_wait_s=0)
    await made.start()
    task = asyncio.create_task(made.run())
    yield made
    await made.stop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_touch_is_worked_on_at_once(bench: Bench, pump: Pump) -> None:
    await bench.shell.on_touch(event(), pump)
    await eventually(lambda: bench.said() == ["touch.sent"])
    assert await bench.health.busy_with() == []


async def test_slow_bulk_texts_leave_a_sender_to_the_urgent_one(bench: Bench, pump: Pump) -> None:
    slow = SlowProvider(bench)
    for n in range(6):
        await bench.shell.on_touch(event(touch(step=f"bulk-{n}", lane="bulk")), pump)
    await eventually(lambda: len(slow.started) == 3)
    first = touch()
    await bench.shell.on_touch(event(first), pump)
    await eventually(lambda: first.touch_id in slow.started)
    assert len(slow.started) == 4
    slow.may_answer.set()
    await eventually(lambda: bench.said().count("touch.sent") == 7)


async def test_what_nobody_claimed_is_found_by_looking(bench: Bench, pump: Pump) -> None:
    bench.full = True
    await bench.shell.on_touch(event(), bench)
    await eventually(lambda: bench.said() == ["touch.sent"])


async def test_results_that_waited_are_emitted_by_the_sweeper(bench: Bench, pump: Pump) -> None:
    bench.producer.fail = 1
    await bench.shell.on_touch(event(), pump)
    await eventually(lambda: bench.stored().outbox)
    assert await bench.health.busy_with() == ["results not emitted"]
    bench.clock.real += timedelta(seconds=10)
    await eventually(lambda: bench.said() == ["touch.sent"])


async def test_doubt_is_looked_into_after_its_time_and_not_before(bench: Bench, pump: Pump) -> None:
    bench.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    await bench.shell.on_touch(event(), pump)
    await eventually(lambda: bench.stored().reason == "SocketTimeoutError")
    bench.provider.list_of = [Listed("SM8", bench.stored().body or "", bench.clock.virtual)]
    looks, in_doubt = 0, bench.store.in_doubt

    async def look(post_by_before_real: datetime, limit: int) -> list[Delivery]:
        nonlocal looks
        looks += 1
        return await in_doubt(post_by_before_real, limit)

    bench.store.in_doubt = look  # type: ignore[method-assign]
    await eventually(lambda: looks >= 2, why="a whole look before its time")
    assert bench.stored().state is State.POSTING
    bench.clock.real += timedelta(seconds=11)
    await eventually(lambda: bench.stored().state is State.SENT)
    assert len(bench.provider.texts) == 1


async def test_mongo_away_is_waited_for_and_the_text_goes_once(bench: Bench, pump: Pump) -> None:
    await bench.shell.on_touch(event(), bench)
    bench.store.away = 2
    pump.take(bench.taken[0])
    await eventually(lambda: bench.said() == ["touch.sent"])
    assert len(bench.provider.texts) == 1
    assert "mongo" not in bench.health.not_ready


async def test_stop_finishes_what_is_under_way_and_takes_nothing_more(bench: Bench, pump: Pump) -> None:
    slow = SlowProvider(bench)
    await bench.shell.on_touch(event(), pump)
    await eventually(lambda: slow.started)
    stopping = asyncio.create_task(pump.stop())
    await asyncio.sleep(0)
    assert not pump.has_room("urgent")
    slow.may_answer.set()
    await stopping
    assert bench.said() == ["touch.sent"]
