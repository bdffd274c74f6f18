"""A poison event of each topic, on real Kafka and MongoDB: its partition goes on, its dead letter names it, a replay mends it.

Every service runs with the same defect: it cannot handle events that carry a mark. Then the fix is deployed, all of them start
again without the defect, and `ringback dlq replay` sends the events again. One stack serves all topics.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.local.system import System, fresh_name
from schemas import ids
from schemas.base import EventData
from schemas.calls import CallStarted
from schemas.envelope import Event
from schemas.inbound import ReceiptReceived, ReceiptStatus, ReplyReceived
from schemas.leads import LeadOpened
from schemas.topics import BY_NAME
from schemas.touches import TimerDue, TimerSet, TouchDelivered, TouchDue, TouchResult
from services.cli.app import run
from services.runtime.clock import real_now, write_clock
from services.runtime.partitions import partition_of
from services.runtime.producer import KafkaProducer
from tests.infra.polling import eventually
from tests.infra.providers import Kafka, Mongo
from tests.infra.topics import empty_topics
from tests.unit.leads.events import LENDER, InboundCall, at, event, text
from tests.unit.sequencer.build import lead_data

MARK: Final = "00-poison-01"
DEFECT: Final = f'''
"""Put on PYTHONPATH this is imported at the start of every process: a defect in whatever handles events."""
from services.runtime import event_runner
from services.runtime.errors import PermanentError
from services.sequencer import shell

def broken(real, which):
    def call(*args):
        found = real(*args)
        event = found if which is None else args[which]
        if event.traceparent == "{MARK}":
            raise PermanentError("a defect of the test")
        return found
    return call

event_runner.decode = broken(event_runner.decode, None)
shell.decide = broken(shell.decide, 1)
'''
SERVICES: Final = ("leads", "sequencer", "timekeeper", "notifier")
PARTITIONS: Final = 12
LIMIT_S: Final = 30.0

Holds = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Case:
    """One topic: an event that fails, one behind it in the same partition, and what shows that each was handled."""

    poison: Event[EventData]
    behind: Event[EventData]
    goes_on: Holds
    mended: Holds


class Stack:
    """All services that read topics, and two callers for each case, in one partition of every topic."""

    def __init__(self, system: System, database: Any, producer: KafkaProducer) -> None:
        self.system, self.database, self.producer = system, database, producer
        self._next = 2_000_000

    async def start(self) -> None:
        await self.system.start("sandbox", *SERVICES)

    def callers(self) -> tuple[str, str]:
        """Return two numbers nobody else has here, whose events are in one partition."""
        first = self._number()
        while (second := self._number()) and _partition(first) != _partition(second):
            pass
        return first, second

    def _number(self) -> str:
        self._next += 1
        return f"+1718{self._next}"

    async def found(self, collection: str, **query: Any) -> bool:
        count: int = await self.database[collection].count_documents(query)
        return count > 0

    def holds(self, collection: str, **query: Any) -> Holds:
        """Return the question whether MongoDB has such a document."""
        return lambda: self.found(collection, **query)

    async def texted(self, *callers: str) -> dict[str, dict[str, Any]]:
        """Have these callers missed and texted; return their first deliveries."""
        for caller in callers:
            await self.producer.send(*InboundCall(f"CA-{caller[1:]}", caller).missed())
        deliveries: dict[str, dict[str, Any]] = {}
        for caller in callers:
            sent = {"caller": caller, "step": "text-now", "state": "sent", "outbox": []}
            await eventually(self.holds("deliveries", **sent), LIMIT_S, f"{caller} is texted")
            await eventually(self.holds("timers", key=_key(caller).decode(), step="call-morning"), LIMIT_S, "a timer")
            deliveries[caller] = await self.database.deliveries.find_one({"caller": caller, "step": "text-now"})
        return deliveries

    async def cases(self) -> dict[str, Case]:
        """Return the cases by their topic."""
        told, ticked, received = self.callers(), self.callers(), self.callers()
        of = await self.texted(*told, *ticked, *received)
        called, texted, due, opened, set_ = (self.callers() for _ in range(5))
        timers = {one: await self.database.timers.find_one({"key": _key(one).decode()}) for one in ticked}
        return {
            CallStarted.TOPIC: Case(
                InboundCall("CA-poison", called[0]).started(),
                InboundCall("CA-behind", called[1]).started(),
                self.holds("calls", call_id="CA-behind"),
                self.holds("calls", call_id="CA-poison"),
            ),
            ReplyReceived.TOPIC: Case(
                text("Please call me", "SM-poison", caller=texted[0]),
                text("Please call me", "SM-behind", caller=texted[1]),
                self.holds("messages", message_id="SM-behind"),
                self.holds("messages", message_id="SM-poison"),
            ),
            LeadOpened.TOPIC: Case(
                _opened(opened[0]),
                _opened(opened[1]),
                self.holds("deliveries", caller=opened[1]),
                self.holds("deliveries", caller=opened[0]),
            ),
            TouchDue.TOPIC: Case(
                _touch(due[0]),
                _touch(due[1]),
                self.holds("deliveries", caller=due[1]),
                self.holds("deliveries", caller=due[0]),
            ),
            TouchResult.TOPIC: Case(
                _delivered(of[told[0]]),
                _delivered(of[told[1]]),
                self.holds("leads", caller=told[1], **{"touches.text-now.state": "delivered"}),
                self.holds("leads", caller=told[0], **{"touches.text-now.state": "delivered"}),
            ),
            ReceiptReceived.TOPIC: Case(
                _receipt(of[received[0]], "sent"),
                _receipt(of[received[1]], "sent"),
                self.holds("deliveries", caller=received[1], receipt_status="sent"),
                self.holds("deliveries", caller=received[0], receipt_status="sent"),
            ),
            TimerSet.TOPIC: Case(
                _timer(set_[0]),
                _timer(set_[1]),
                self.holds("timers", key=_key(set_[1]).decode()),
                self.holds("timers", key=_key(set_[0]).decode()),
            ),
            TimerDue.TOPIC: Case(
                _tick(ticked[0], timers[ticked[0]]),
                _tick(ticked[1], timers[ticked[1]]),
                self.holds("leads", caller=ticked[1], **{"task.reasons": "call-morning"}),
                self.holds("leads", caller=ticked[0], **{"task.reasons": "call-morning"}),
            ),
        }


def _key(caller: str) -> bytes:
    return ids.partition_key(LENDER, caller)


def _partition(caller: str) -> int:
    return partition_of(_key(caller), PARTITIONS)


def _opened(caller: str) -> Event[EventData]:
    data = lead_data(LeadOpened, 1, at(22), "open", {})
    lead_id = ids.lead_id(_key(caller).decode())
    named = data.model_copy(
        update={
            "lead_id": lead_id,
            "caller": caller,
            "lead": data.lead.model_copy(update={"lead_id": lead_id, "caller": caller}),
        }
    )
    return event(f"{lead_id}:1", named, 22, caller)


def _touch(caller: str) -> Event[EventData]:
    sequence = f"sequence-of-{caller[1:]}"
    data = TouchDue(
        touch_id=ids.touch_id(sequence, "text-now", 1),
        lead_id=f"lead-of-{caller[1:]}",
        caller=caller,
        sequence_id=sequence,
        step="text-now",
        attempt=1,
        template="missed_call_first",
        lane="urgent",
        due_at=at(22),
        lead_seq=1,
        expires_at=at(322),
        base_at=at(21),
        first_of_sequence=True,
    )
    return event(data.touch_id, data, 22, caller)


def _delivered(delivery: dict[str, Any]) -> Event[EventData]:
    about = {name: delivery[name] for name in ("lead_id", "caller", "sequence_id", "step", "attempt", "sid")}
    data = TouchDelivered(**about, touch_id=delivery["_id"], delivered_at=at(60))
    return event(f"{delivery['_id']}:delivered", data, 60, delivery["caller"])


def _receipt(delivery: dict[str, Any], status: ReceiptStatus) -> Event[EventData]:
    data = ReceiptReceived(
        touch_id=delivery["_id"], sid=delivery["sid"], status=status, to=delivery["caller"], received_at=at(60)
    )
    return event(f"twilio:{delivery['sid']}:{status}", data, 60, delivery["caller"])


def _timer(caller: str) -> Event[EventData]:
    data = TimerSet(timer_id=f"timer-of-{caller[1:]}", due_at=at(86_400), step="call-morning")
    return event(data.timer_id, data, 22, caller)


def _tick(caller: str, timer: dict[str, Any]) -> Event[EventData]:
    due: datetime = timer["due"]
    data = TimerDue(timer_id=timer["_id"], due_at=due, step="call-morning")
    return event(f"{timer['_id']}:due", data, (due - at(0)) / timedelta(seconds=1), caller)


@pytest.fixture
async def stack(
    kafka: Kafka, mongo: Mongo, database: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stack]:
    """Every service with the defect, started."""
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    (folder / "defect").mkdir()
    (folder / "defect" / "sitecustomize.py").write_text(DEFECT)
    prefix = f"{fresh_name()}-"
    await empty_topics(kafka.bootstrap_servers, prefix)
    clock = folder / "clock.json"
    write_clock(clock, at(22), 1.0)
    env = {"PYTHONPATH": str(folder / "defect"), "RINGBACK_SEQUENCER_SESSION_TIMEOUT_S": "6"}
    system = System(
        kafka.bootstrap_servers, mongo.url, folder, database.name, clock=str(clock), group_prefix=prefix, env=env
    )
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, client_id="test")
    await producer.start()
    found = Stack(system, database, producer)
    try:
        await found.start()
        yield found
        assert system.ended() == []
    finally:
        await system.stop()
        await producer.stop()


async def _ringback(*args: str) -> None:
    assert await asyncio.to_thread(run, list(args)) == 0


async def _letters(topic: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of a topic's open dead letters."""
    capsys.readouterr()
    await _ringback("dlq", "list", topic)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{topic}.dlq/")]


READERS: Final = {TouchResult.TOPIC: 2}
"""`touch-results` is read by the leads service and the sequencer, and each has its own dead letter; others by one service."""


async def test_poison_event_of_each_topic_is_passed_named_and_mended_by_its_replay(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = await stack.cases()
    assert set(cases) == {name for name in BY_NAME if BY_NAME[name].cleanup != "compact" and not name.endswith(".dlq")}
    for case in cases.values():
        await stack.producer.send(replace(case.poison, traceparent=MARK, received_at=real_now()))
        await stack.producer.send(replace(case.behind, received_at=real_now()))
    places: list[str] = []
    for topic, case in cases.items():
        await eventually(case.goes_on, LIMIT_S, f"{topic}: the next event of the partition is handled")

        async def named(topic: str = topic, case: Case = case) -> list[str] | None:
            lines = await _letters(topic, capsys)
            assert all(case.poison.type in line and "a defect of the test" in line for line in lines)
            return lines if len(lines) == READERS.get(topic, 1) else None

        lines = await eventually(named, LIMIT_S, f"{topic}: a dead letter for each reader")
        places += [line.split()[0] for line in lines or ()]
        assert not await case.mended(), f"{topic}: handled although it cannot be"

    await stack.system.stop(*SERVICES)
    del stack.system.env["PYTHONPATH"]
    await stack.system.start(*SERVICES)
    await _ringback("dlq", "replay", *places)
    for topic, case in cases.items():
        await eventually(case.mended, LIMIT_S, f"{topic}: the replayed event is handled")
        assert await _letters(topic, capsys) == []
