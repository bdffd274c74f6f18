"""A call went on although neither Kafka nor the disk took its event: the event is kept, and made safe when one of them does."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from schemas.base import EventData
from schemas.calls import CallLegAnswered
from schemas.envelope import Event
from schemas.ids import partition_key
from services.ingest.adapters.kafka import Outlet
from services.ingest.adapters.unsafe import Unsafe
from services.ingest.errors import NotAcknowledged
from services.runtime.clock import monotonic_s
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.partitions import partition_of
from services.runtime.producer import FakeProducer
from services.runtime.producer_errors import RecordRefused
from tests.infra.polling import eventually
from tests.unit.ingest.rig import OPEN, Rig
from tests.unit.ingest.test_calls_by_twilio import CALL, CALLER, LEG, RINGING, count
from tests.unit.ingest.test_spool import LIMIT_S, event, receipt, reply

PRESSED = f"leg?step=pressed&call={CALL}&branch=new-york&officer=dana-whitfield"


@dataclass
class Kafka(FakeProducer):
    """Away, or refusing, until told otherwise; or away for some keys only. Knows which events it was given."""

    why: Exception | None = None
    without: Collection[bytes] = ()
    given: list[str] = field(default_factory=list)

    async def send(self, *events: Event[EventData]) -> None:
        """Send, or fail."""
        self.given += [event.id for event in events]
        if self.why is not None:
            raise self.why
        if any(event.key in self.without for event in events):
            raise TransientError("no leader")
        await super().send(*events)

    def ids(self) -> list[str]:
        """Return what it took."""
        return [event.id for event in self.sent]


@pytest.fixture
def kafka(rig: Rig) -> Kafka:
    found = Kafka()
    rig.goes_through(Outlet(producer=found, health=rig.health, limit_s=LIMIT_S))
    return found


def held(kafka: Kafka, most: int = 100) -> Unsafe:
    health = Health()
    outlet = Outlet(producer=kafka, health=health, limit_s=LIMIT_S)
    return Unsafe(outlet=outlet, health=health, partitions=12, most=most)


def same_partition(caller: str, other: str) -> bool:
    return len({partition_of(partition_key("larkspur", one), 12) for one in (caller, other)}) == 1


def press(id_: str, caller: str = CALLER) -> Event[EventData]:
    data = CallLegAnswered(provider="twilio", call_id=CALL, caller=caller, leg_id=LEG, answered_at=OPEN)
    return event(id_, data, caller)


async def test_key_press_that_nothing_took_is_told_once_kafka_is_back_before_what_came_later(
    rig: Rig, kafka: Kafka
) -> None:
    """The press is in no list: without it leads would text a borrower whom an officer has just served."""
    kafka.why = TransientError("away")
    assert (await rig.twilio("voice", RINGING)).status == 200
    assert (await rig.twilio(PRESSED, {"CallSid": LEG, "From": CALLER, "Digits": "1"})).status == 200
    await rig.ingest.unsafe.round()
    assert kafka.sent == []
    assert count("ringback_webhooks_unsafe_held") == 2
    assert await rig.ingest.unsafe.busy() == "2 events that are not safe"
    kafka.why = None
    await rig.ingest.unsafe.round()
    assert kafka.ids() == [f"twilio:{CALL}:started", f"twilio:{LEG}:answered"]
    assert (count("ringback_webhooks_unsafe_held"), await rig.ingest.unsafe.busy()) == (0, None)


async def test_end_of_a_call_whose_key_press_is_held_is_told_after_the_press(rig: Rig, kafka: Kafka) -> None:
    """Three seconds after the end the call is decided: without the press a served borrower gets a text that says sorry."""
    kafka.why = TransientError("away")
    await rig.twilio(PRESSED, {"CallSid": LEG, "From": CALLER, "Digits": "1"})
    assert (await rig.twilio("call-status", {**RINGING, "CallStatus": "completed"})).status == 503
    kafka.why = None
    assert (await rig.twilio("call-status", {**RINGING, "CallStatus": "completed"})).status == 204
    assert kafka.ids() == [f"twilio:{LEG}:answered", f"twilio:{CALL}:ended:completed"]


async def test_event_behind_a_held_one_that_still_nothing_takes_is_not_sent_and_its_sender_is_told(
    kafka: Kafka,
) -> None:
    unsafe = held(kafka)
    kafka.why = TransientError("away")
    unsafe.hold([press("press")])
    with pytest.raises(NotAcknowledged, match="an earlier event"):
        await unsafe.emit(press("end"))
    assert kafka.given == ["press"]


async def test_many_that_wait_behind_a_held_event_wait_for_one_try_of_it(kafka: Kafka) -> None:
    """Each would else wait for a time-out of its own, one after the other."""
    unsafe = held(kafka)
    kafka.why = TransientError("away")
    unsafe.hold([press("press")])
    ends = await asyncio.gather(*(unsafe.emit(press(f"p{n}")) for n in range(20)), return_exceptions=True)
    assert all(isinstance(end, NotAcknowledged) for end in ends)
    assert kafka.given == ["press"]


async def test_held_events_of_a_partition_without_a_leader_keep_no_other_waiting_and_cost_one_try(kafka: Kafka) -> None:
    unsafe, stuck = held(kafka), partition_key("larkspur", CALLER)
    others = [f"+1303555{n:04}" for n in range(200, 230)]
    apart = [one for one in others if not same_partition(one, CALLER)]
    kafka.without = [stuck]
    unsafe.hold([press("stuck"), press("behind"), *(press(one, one) for one in apart)])
    await unsafe.round()
    assert set(kafka.ids()) == {*apart}
    assert sorted(kafka.given) == sorted(["stuck", *apart]), "what is behind it is not tried"
    await unsafe.emit(press("new", apart[0]))
    assert kafka.ids()[-1] == "new", "a new event of another partition does not wait either"
    kafka.without = []
    await unsafe.round()
    assert [id_ for id_ in kafka.ids() if id_ in ("stuck", "behind")] == ["stuck", "behind"]
    assert await unsafe.busy() is None


async def test_held_press_is_told_within_a_second_of_kafkas_return_though_no_webhook_comes(kafka: Kafka) -> None:
    unsafe = held(kafka)
    running = asyncio.create_task(unsafe.run())
    kafka.why = TransientError("away")
    await asyncio.sleep(0)
    unsafe.hold([press("press")])
    assert await eventually(lambda: kafka.given, why="a try while Kafka is away")
    kafka.why, back = None, monotonic_s()
    assert await eventually(kafka.ids, why="the press is told")
    assert monotonic_s() - back < 1
    await unsafe.stop()
    await running


async def test_of_too_many_held_events_those_are_lost_first_that_the_provider_lists(kafka: Kafka) -> None:
    unsafe, before = held(kafka, most=3), count("ringback_webhooks_unsafe_lost_total")
    unsafe.hold([press("p1"), receipt("r1"), receipt("r2"), press("p2"), press("p3")])
    assert count("ringback_webhooks_unsafe_lost_total") == before + 2
    await unsafe.round()
    assert kafka.ids() == ["p1", "p2", "p3"]
    unsafe.hold(press(f"q{n}") for n in range(4))
    await unsafe.round()
    assert kafka.ids()[3:] == ["q1", "q2", "q3"], "the oldest press, where nothing else is left"
    assert count("ringback_webhooks_unsafe_lost_total") == before + 3


async def test_event_that_kafka_refuses_for_itself_is_counted_lost_and_keeps_no_other_waiting(
    rig: Rig, kafka: Kafka
) -> None:
    before = count("ringback_webhooks_unsafe_lost_total")
    kafka.why = RecordRefused("too large")
    rig.ingest.unsafe.hold([reply("refused")])
    await rig.ingest.unsafe.round()
    kafka.why = None
    rig.ingest.unsafe.hold([reply("good")])
    await rig.ingest.unsafe.round()
    assert kafka.ids() == ["good"]
    assert count("ringback_webhooks_unsafe_lost_total") == before + 1


async def test_held_events_are_bounded_and_a_stopping_service_tries_once_more_and_counts_the_rest() -> None:
    kafka = Kafka(why=TransientError("away"))
    unsafe, before = held(kafka, most=3), count("ringback_webhooks_unsafe_lost_total")
    unsafe.hold([reply(f"r{n}") for n in range(5)])
    assert count("ringback_webhooks_unsafe_lost_total") == before + 2
    await unsafe.stop()
    assert count("ringback_webhooks_unsafe_lost_total") == before + 5
    kafka.why, unsafe = None, held(kafka)
    unsafe.hold([reply("last")])
    await unsafe.stop()
    assert kafka.ids() == ["last"]
    assert count("ringback_webhooks_unsafe_lost_total") == before + 5
