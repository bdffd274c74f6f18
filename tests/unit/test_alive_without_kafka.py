"""Kafka or MongoDB is away for minutes: every part of every service goes on beating, and liveness ends no process for it."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from schemas.envelope import Event, Wire
from schemas.touches import TimerSet
from services.notifier.dispatcher import Dispatcher, DoubtSweep, OutboxSweep
from services.runtime.errors import TransientError
from services.runtime.health import STALLED_AFTER_S, Health
from services.runtime.mongo_errors import StoreAway
from services.runtime.producer import FakeProducer
from services.runtime.rounds import Rounds
from services.sequencer.adapters.memory import MemoryTimers
from services.sequencer.timekeeper.keeper import Keeper
from tests.infra.clock import FakeClock
from tests.infra.jumping_loop import JumpingLoop
from tests.unit.leads.events import InboundCall
from tests.unit.leads.rig import Rig as Leads
from tests.unit.notifier.build import event, touch
from tests.unit.notifier.rig import Rig as Notifier
from tests.unit.runtime.build import Record, Script, fails, record
from tests.unit.runtime.build import Rig as Consuming
from tests.unit.sequencer.build import T0, envelope

AWAY_S = int(5 * STALLED_AFTER_S)
LIMIT_S = 5.0
"""How long a send or a write waits for its answer."""
WORK = 40
"""Calls, texts or timers that wait: one time-out after the other would take longer than a beat may."""


class SilentProducer(FakeProducer):
    """Acknowledges nothing while Kafka is away."""

    away = False

    async def send(self, *events: Event[Any]) -> None:
        await self._unless_away()
        await super().send(*events)

    async def send_wire(self, *records: Wire) -> None:
        await self._unless_away()
        await super().send_wire(*records)

    async def _unless_away(self) -> None:
        if self.away:
            await asyncio.sleep(LIMIT_S)
            raise TransientError("no acknowledgement within 5 s")


class SilentStore:
    """A store in front of another, that answers nothing while MongoDB is away."""

    def __init__(self, inner: object) -> None:
        self.inner, self.away = inner, False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def asked(*args: Any, **more: Any) -> Any:
            if self.away:
                await asyncio.sleep(LIMIT_S)
                raise StoreAway("no answer within 5 s")
            return await found(*args, **more)

        return asked


async def last(health: Health, clock: FakeClock) -> None:
    """Let the outage last; no loop may go without a beat for long, and something must say that it waits."""
    told: set[str] = set()
    for _ in range(AWAY_S):
        await asyncio.sleep(1)
        clock.move(1)
        assert health.stalled() == {}
        told |= health.not_ready.keys() - {"start"}
    assert told


async def outlasted(health: Health, clock: FakeClock, *parts: Rounds) -> None:
    """Run the parts of a service through the outage."""
    running = [asyncio.create_task(part.run()) for part in parts]
    try:
        await last(health, clock)
        assert {part.name for part in parts} <= health.beats.keys()
        assert not any(task.done() for task in running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def leads(*, kafka: bool, mongo: bool) -> None:
    """Calls to settle, and outboxes that were left."""
    producer, rig = SilentProducer(), Leads()
    store: Any = SilentStore(rig.store)
    rig.store, rig.producer = store, producer
    rig.restart()
    await rig.seed()
    calls = [InboundCall(f"CA{n}", f"+1718555{n:04d}", legs=1) for n in range(WORK)]
    for call in calls:
        await rig.give(call.started(), call.ended(4))
    store.away, producer.away = mongo, kafka
    await outlasted(rig.health, rig.clock, rig.settler, rig.undecided, rig.sweeper)


async def notifier(*, kafka: bool, mongo: bool) -> None:
    """Texts to send whose results nobody takes."""
    producer, rig = SilentProducer(), Notifier()
    store: Any = SilentStore(rig.store)
    rig.store, rig.producer, rig.full = store, producer, True
    rig.__post_init__()
    for n in range(WORK):
        late = touch(step=f"text-{n}", expires_at=rig.clock.now() + timedelta(hours=1))
        await rig.shell.on_touch(event(late), rig)
    store.away, producer.away = mongo, kafka
    parts = Dispatcher(rig.shell, senders=4), OutboxSweep(rig.shell, lambda _: 0), DoubtSweep(rig.shell, 60.0)
    await outlasted(rig.health, rig.clock, *parts)


async def timekeeper(*, kafka: bool, mongo: bool) -> None:
    """Timers to fire."""
    clock, health, producer = FakeClock(T0), Health(), SilentProducer()
    store: Any = SilentStore(MemoryTimers(clock.real_now))
    keeper = Keeper(store=store, producer=producer, clock=clock, health=health)
    for n in range(WORK):
        timer = TimerSet(timer_id=f"t{n}", due_at=T0, due_local=None, step="text-10min")
        await keeper.take(envelope(timer, f"t{n}", T0))
    store.away, producer.away = mongo, kafka
    await outlasted(health, clock, keeper)


async def consumer(*, kafka: bool, mongo: bool) -> None:
    """The loop that every service reads with: no broker, or an event that waits for the store."""
    rig = Consuming.of(handler=Script({"0": fails(StoreAway("no answer within 5 s"))} if mongo else {}))

    async def poll(timeout_ms: int, max_records: int) -> Mapping[TopicPartition, list[Record]]:
        await asyncio.sleep(timeout_ms / 1000)
        if kafka:
            raise KafkaConnectionError("no broker")
        return {one: rig.kafka.waiting.pop(one) for one in list(rig.kafka.waiting)}

    polled: Any = poll
    rig.kafka.getmany = polled  # type: ignore[method-assign]
    rig.kafka.put(record(0))
    async with rig:
        await last(rig.health, FakeClock())
        assert "consume it" in rig.health.beats


@pytest.mark.parametrize("away", ["kafka", "mongo"])
@pytest.mark.parametrize("service", [leads, notifier, timekeeper, consumer])
def test_service_without_kafka_or_mongodb_for_minutes_says_so_and_is_alive(
    service: Callable[..., Coroutine[Any, Any, None]], away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        monkeypatch.setattr("services.runtime.health.monotonic_s", runner.get_loop().time)
        runner.run(service(kafka=away == "kafka", mongo=away == "mongo"))
