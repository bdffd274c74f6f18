"""Kafka is away: events go to the disk in their order, calls go through, and all of it arrives later."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from structlog.testing import capture_logs

from deploy.local.process import free_port
from schemas.base import EventData
from schemas.envelope import Event, Wire, encode
from schemas.ids import partition_key
from schemas.inbound import ReceiptReceived, ReplyReceived
from services.ingest.adapters.drain import SpoolDrain
from services.ingest.adapters.kafka import KafkaPart, Outlet
from services.ingest.adapters.spool import Spool
from services.ingest.errors import NotAcknowledged, SpoolInUse
from services.runtime.clock import monotonic_s
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.producer import KafkaProducer
from services.runtime.producer_errors import RecordRefused
from tests.infra.clock import FakeClock
from tests.infra.polling import eventually
from tests.unit.ingest.rig import OPEN, Rig
from tests.unit.ingest.test_calls_by_twilio import CALL, CALLER, LEG, NEW_YORK, RINGING, count

LIMIT_S = 0.05
ENDED = {**RINGING, "CallStatus": "no-answer"}
numbers = itertools.count(1)


@dataclass
class BrokenKafka:
    """A producer whose sends hang while `is_away`, or only those of some topics; it keeps what it took, in order."""

    is_away: bool = True
    away_topics: Iterable[str] = ()
    refuses: bytes = b"never"
    took: list[Wire] = field(default_factory=list)

    async def send(self, *events: Event[EventData]) -> None:
        """Take events, or hang."""
        await self.send_wire(*(encode(event) for event in events))

    async def send_wire(self, *records: Wire) -> None:
        """Take records, or hang."""
        if self.is_away or any(record.topic in self.away_topics for record in records):
            await asyncio.Event().wait()
        if any(self.refuses in record.value for record in records):
            raise RecordRefused("too large")
        self.took.extend(records)

    def ids(self, topic: str) -> list[str]:
        """Return the ids of what was taken of a topic."""
        return [dict(wire.headers)["ce_id"].decode() for wire in self.took if wire.topic == topic]


def reply(id_: str, caller: str = CALLER, body: str = "STOP") -> Event[EventData]:
    data = ReplyReceived(message_id=f"SM{next(numbers)}", caller=caller, to=NEW_YORK, body=body, received_at=OPEN)
    return event(id_, data, caller)


def receipt(id_: str, caller: str = CALLER) -> Event[EventData]:
    return event(id_, ReceiptReceived(sid=f"SM{next(numbers)}", status="sent", to=caller, received_at=OPEN), caller)


def event(id_: str, data: EventData, caller: str) -> Event[EventData]:
    key = partition_key("larkspur", caller)
    return Event(id=id_, data=data, source="test", time=OPEN, key=key, lender_id="larkspur")


@asynccontextmanager
async def spool_in(folder: Path, max_bytes: int = 1 << 20) -> AsyncIterator[Spool]:
    spool = Spool(folder=folder, max_bytes=max_bytes, partitions=12, clock=FakeClock(OPEN))
    await spool.start()
    try:
        yield spool
    finally:
        await spool.stop()


@asynccontextmanager
async def draining(spool: Spool, kafka: BrokenKafka, health: Health | None = None) -> AsyncIterator[None]:
    health = health or Health()
    outlet = Outlet(producer=kafka, health=health, limit_s=LIMIT_S, spool=spool)
    drain = SpoolDrain(spool=spool, producer=kafka, outlet=outlet, health=health, send_limit_s=LIMIT_S)
    running = asyncio.create_task(drain.run())
    try:
        yield
    finally:
        await drain.stop()
        await running


async def test_events_that_kafka_does_not_take_arrive_in_their_order_after_a_restart(tmp_path: Path) -> None:
    kafka = BrokenKafka()
    async with spool_in(tmp_path) as spool:
        outlet = Outlet(producer=kafka, health=Health(), limit_s=LIMIT_S, spool=spool)
        await asyncio.gather(*(outlet.emit(reply(f"r{n}")) for n in range(20)))
        assert spool.depth("replies") == 20
    kafka.is_away = False
    async with spool_in(tmp_path) as spool:
        assert spool.depth("replies") == 20
        async with draining(spool, kafka):
            assert await eventually(lambda: not spool.lanes, why="the spool is empty")
        assert spool.size_bytes == 0
    assert kafka.ids("replies") == [f"r{n}" for n in range(20)]
    assert all(path.stat().st_size == 0 for path in tmp_path.glob("*.spool"))


async def test_event_that_comes_while_its_lane_has_entries_goes_behind_them_though_kafka_is_back(
    tmp_path: Path,
) -> None:
    kafka = BrokenKafka()
    async with spool_in(tmp_path) as spool:
        outlet = Outlet(producer=kafka, health=Health(), limit_s=LIMIT_S, spool=spool)
        await outlet.emit(reply("first"))
        kafka.is_away = False
        await outlet.emit(reply("second"))
        assert kafka.took == []
        await outlet.emit(receipt("another topic"))
        assert kafka.ids("receipts") == ["another topic"], "only events of the lane go behind it"
        async with draining(spool, kafka):
            assert await eventually(lambda: not spool.lanes, why="the spool is empty")
        await outlet.emit(reply("third"))
        assert spool.size_bytes == 0
    assert kafka.ids("replies") == ["first", "second", "third"]


async def test_event_under_way_goes_to_the_spool_before_one_that_came_later(tmp_path: Path) -> None:
    """One send times out while a later one still waits: a third must not pass the second."""
    kafka = BrokenKafka()
    async with spool_in(tmp_path) as spool:
        outlet = Outlet(producer=kafka, health=Health(), limit_s=0.2, spool=spool)
        first = asyncio.create_task(outlet.emit(reply("first")))
        await asyncio.sleep(0.15)
        second = asyncio.create_task(outlet.emit(reply("second")))
        await first
        await outlet.emit(reply("third"))
        await second
        kafka.is_away = False
        async with draining(spool, kafka):
            assert await eventually(lambda: not spool.lanes, why="the spool is empty")
    assert kafka.ids("replies") == ["first", "second", "third"]


async def test_replies_go_first_and_a_topic_that_kafka_does_not_take_holds_up_no_other(tmp_path: Path) -> None:
    kafka = BrokenKafka()
    async with spool_in(tmp_path) as spool:
        outlet = Outlet(producer=kafka, health=Health(), limit_s=LIMIT_S, spool=spool)
        callers = [f"+1303555{n:04}" for n in range(100, 130)]
        await asyncio.gather(*(outlet.emit(receipt(f"t{caller}", caller)) for caller in callers))
        await asyncio.gather(*(outlet.emit(reply(f"r{caller}", caller)) for caller in callers))
        kafka.is_away = False
        async with draining(spool, kafka):
            assert await eventually(lambda: not spool.lanes, why="the spool is empty")
        assert [wire.topic for wire in kafka.took] == ["replies"] * 30 + ["receipts"] * 30
        kafka.is_away, kafka.took = True, []
        await outlet.emit(receipt("goes"))
        await outlet.emit(reply("stands"))
        kafka.is_away, kafka.away_topics = False, ("replies",)
        async with draining(spool, kafka):
            assert await eventually(lambda: kafka.ids("receipts") == ["goes"], why="the other topic goes")
        assert spool.depth("replies") == 1


async def test_record_that_a_crash_left_half_written_is_cut_off_and_the_rest_arrives(tmp_path: Path) -> None:
    kafka = BrokenKafka()
    async with spool_in(tmp_path) as spool:
        await Outlet(producer=kafka, health=Health(), limit_s=LIMIT_S, spool=spool).emit(reply("whole"))
    [path] = tmp_path.glob("replies.*.spool")
    whole = path.read_bytes()
    for torn in (b"\x00", whole[:30], whole[:-1], b"\xff" * 40):
        path.write_bytes(whole + torn)
        async with spool_in(tmp_path) as spool:
            assert spool.depth("replies") == 1
            await Outlet(producer=kafka, health=Health(), limit_s=LIMIT_S, spool=spool).emit(reply("behind"))
            assert spool.depth("replies") == 2
        path.write_bytes(whole + torn)
    async with spool_in(tmp_path) as spool:
        kafka.is_away = False
        async with draining(spool, kafka):
            assert await eventually(lambda: not spool.lanes, why="the spool is empty")
    assert kafka.ids("replies") == ["whole"]


async def test_full_spool_refuses_says_so_in_readiness_and_takes_events_again_once_it_has_room(tmp_path: Path) -> None:
    kafka, health = BrokenKafka(), Health()
    health.ready("start")
    async with spool_in(tmp_path, max_bytes=2000) as spool:
        outlet = Outlet(producer=kafka, health=health, limit_s=LIMIT_S, spool=spool)
        for n in range(20):
            with suppress(NotAcknowledged):
                await outlet.emit(reply(f"r{n}"))
        with pytest.raises(NotAcknowledged, match="RINGBACK_SPOOL_MAX_BYTES"):
            await outlet.emit(reply("one too many"))
        assert "spool" in health.not_ready
        kept = spool.depth("replies")
        assert 0 < kept < 20
        kafka.is_away = False
        async with draining(spool, kafka, health):
            assert await eventually(lambda: not health.not_ready, why="readiness returns by itself")
    assert len(kafka.took) == kept


async def test_disk_that_is_full_refuses_and_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    kafka, health = BrokenKafka(), Health()
    async with spool_in(tmp_path) as spool:
        outlet = Outlet(producer=kafka, health=health, limit_s=LIMIT_S, spool=spool)
        (tmp_path / spool_name(spool, receipt("x"))).symlink_to("/dev/full")  # every write: no space left on device
        before = count("ringback_spool_refused_total", why="unwritable")
        with pytest.raises(NotAcknowledged, match="No space left"):
            await outlet.emit(receipt("lost"))
        assert count("ringback_spool_refused_total", why="unwritable") == before + 1
        await outlet.emit(reply("kept"))
        assert spool.depth("replies") == 1
        assert not any(lane.has_entries for lane in spool.lanes if lane.topic == "receipts")


def spool_name(spool: Spool, event: Event[EventData]) -> str:
    return spool.lane(event.topic, event.key).path.name


async def test_record_that_kafka_refuses_for_itself_is_set_aside_and_the_others_arrive(tmp_path: Path) -> None:
    kafka = BrokenKafka()
    async with spool_in(tmp_path) as spool:
        outlet = Outlet(producer=kafka, health=Health(), limit_s=LIMIT_S, spool=spool)
        for id_, body in (("a", "yes"), ("b", "yes"), ("c", "never"), ("d", "yes")):
            await outlet.emit(reply(id_, body=body))
        kafka.is_away = False
        async with draining(spool, kafka):
            assert await eventually(lambda: not spool.lanes, why="the spool is empty")
    assert kafka.ids("replies") == ["a", "b", "d"]
    assert (tmp_path / "refused.jsonl").read_text().count("never") == 1


async def test_spool_of_another_process_is_refused(tmp_path: Path) -> None:
    async with spool_in(tmp_path):
        second = Spool(folder=tmp_path, max_bytes=1 << 20, partitions=12, clock=FakeClock(OPEN), lock_limit_s=0)
        with pytest.raises(SpoolInUse, match="RINGBACK_INSTANCE"):
            await second.start()
        await second.stop()


async def test_depth_and_age_of_the_spool_are_metrics(tmp_path: Path) -> None:
    clock = FakeClock(OPEN)
    spool = Spool(folder=tmp_path, max_bytes=1 << 20, partitions=12, clock=clock)
    await spool.start()
    await Outlet(producer=BrokenKafka(), health=Health(), limit_s=LIMIT_S, spool=spool).emit(reply("r"))
    clock.move_real(90)
    assert count("ringback_spool_events", topic="replies") == 1
    assert count("ringback_spool_oldest_seconds", topic="replies") == pytest.approx(90)
    assert count("ringback_spool_bytes") == os.stat(next(tmp_path.glob("replies.*"))).st_size
    assert await spool.busy() == "1 events in the spool"
    await spool.stop()


@dataclass
class NothingWorks:
    """Neither Kafka nor a spool."""

    why: Exception

    async def send(self, *events: Event[EventData]) -> None:
        """Fail."""
        raise self.why

    async def send_wire(self, *records: Wire) -> None:
        """Fail."""
        raise self.why


class HangingDisk(Spool):
    """A disk that never says that anything is safe."""

    def put(self, wire: Wire) -> asyncio.Future[None]:
        """Take an event for ever."""
        return asyncio.get_running_loop().create_future()


PHONE = {
    "voice": {**RINGING},
    f"leg?step=pressed&call={CALL}&branch=new-york&officer=dana-whitfield": {
        "CallSid": LEG, "From": CALLER, "Digits": "1",
    },
    f"dial?call={CALL}&branch=new-york": {**RINGING, "DialCallStatus": "no-answer", "DialCallSid": LEG},
}  # fmt: skip


@pytest.mark.parametrize("why", [TransientError("away"), RecordRefused("too large"), ValueError("a defect")], ids=str)
@pytest.mark.parametrize("target", PHONE)
async def test_call_goes_on_with_its_twiml_though_its_event_is_not_safe_and_is_counted(
    rig: Rig, target: str, why: Exception
) -> None:
    route = f"/webhooks/twilio/{target.partition('?')[0]}"
    rig.goes_through(Outlet(producer=NothingWorks(why), health=rig.health, limit_s=LIMIT_S))
    before = count("ringback_webhooks_unsafe_total", route=route)
    with capture_logs() as logs:
        answer = await rig.twilio(target, PHONE[target])
    assert (answer.status, answer.content_type) == (200, "text/xml")
    assert "<Response" in await answer.text()
    assert count("ringback_webhooks_unsafe_total", route=route) == before + 1
    (said,) = (line for line in logs if line["event"] == "call_goes_on_unsafe")
    assert said["ids"], "the log names what a kill would lose"


async def test_call_that_meets_a_kafka_and_a_disk_that_hang_is_answered_within_two_seconds(
    rig: Rig, tmp_path: Path
) -> None:
    spool = HangingDisk(folder=tmp_path, max_bytes=1 << 20, partitions=12, clock=rig.clock)
    rig.goes_through(Outlet(producer=BrokenKafka(), health=rig.health, limit_s=1.0, spool=spool))
    began = monotonic_s()
    answers: list[ClientResponse] = await asyncio.gather(*(rig.twilio(target, form) for target, form in PHONE.items()))
    assert monotonic_s() - began < 2
    assert [answer.status for answer in answers] == [200, 200, 200]


async def test_webhook_that_is_no_part_of_a_call_in_hand_gets_503_when_nothing_takes_it(rig: Rig) -> None:
    rig.goes_through(Outlet(producer=NothingWorks(TransientError("away")), health=rig.health, limit_s=LIMIT_S))
    status = f"leg?step=status&call={CALL}&branch=new-york&officer=dana-whitfield"
    assert (await rig.twilio(status, {"CallSid": LEG, "From": CALLER, "CallStatus": "no-answer"})).status == 503
    assert (await rig.twilio("call-status", ENDED)).status == 503


@pytest.mark.parametrize("is_set", [True, False])
async def test_ingest_without_a_spool_says_so_at_start_in_readiness_and_as_a_metric(
    tmp_path: Path, is_set: bool
) -> None:
    health, servers = Health(), f"127.0.0.1:{free_port()}"
    producer = KafkaProducer(bootstrap_servers=servers, client_id="test")
    async with spool_in(tmp_path) as spool:
        kept = spool if is_set else None
        part = KafkaPart(
            producer=producer,
            bootstrap_servers=servers,
            health=health,
            topics=(),
            outlet=Outlet(producer=producer, health=health, limit_s=LIMIT_S, spool=kept),
            spool=kept,
        )
        with nullcontext() if is_set else pytest.raises(TransientError):
            await part.start()
        await part.stop()
    assert count("ringback_spool_is_set") == is_set
    assert ("RINGBACK_SPOOL_DIR is not set" in health.warnings.get("spool", "")) == (not is_set)
