"""A call went on although neither Kafka nor the disk took its event: the event is kept, and made safe when one of them does."""

import pytest

from services.ingest.adapters.kafka import Outlet
from services.ingest.adapters.unsafe import Unsafe
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.producer import FakeProducer
from services.runtime.producer_errors import RecordRefused
from tests.unit.ingest.rig import Rig
from tests.unit.ingest.test_calls_by_twilio import CALL, CALLER, LEG, RINGING, count
from tests.unit.ingest.test_spool import LIMIT_S, NothingWorks, reply

PRESSED = f"leg?step=pressed&call={CALL}&branch=new-york&officer=dana-whitfield"


class Kafka(FakeProducer):
    """Away, or refusing, until told otherwise."""

    why: Exception | None = None

    async def send(self, *events: object) -> None:
        """Send, or fail."""
        if self.why is not None:
            raise self.why
        await super().send(*events)  # type: ignore[arg-type]


@pytest.fixture
def kafka(rig: Rig) -> Kafka:
    found = Kafka()
    rig.ingest.outlet = Outlet(producer=found, health=rig.health, limit_s=LIMIT_S)
    rig.ingest.unsafe = Unsafe(outlet=rig.ingest.outlet, health=rig.health)
    return found


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
    assert [event.id for event in kafka.sent] == [f"twilio:{CALL}:started", f"twilio:{LEG}:answered"]
    assert (count("ringback_webhooks_unsafe_held"), await rig.ingest.unsafe.busy()) == (0, None)


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
    assert [event.id for event in kafka.sent] == ["good"]
    assert count("ringback_webhooks_unsafe_lost_total") == before + 1


async def test_held_events_are_bounded_and_a_stopping_service_tries_once_more_and_counts_the_rest() -> None:
    kafka, health = Kafka(), Health()
    outlet = Outlet(producer=NothingWorks(TransientError("away")), health=health, limit_s=LIMIT_S)
    unsafe, before = Unsafe(outlet=outlet, health=health, most=3), count("ringback_webhooks_unsafe_lost_total")
    unsafe.hold([reply(f"r{n}") for n in range(5)])
    assert count("ringback_webhooks_unsafe_lost_total") == before + 2
    await unsafe.stop()
    assert count("ringback_webhooks_unsafe_lost_total") == before + 5
    unsafe = Unsafe(outlet=Outlet(producer=kafka, health=health, limit_s=LIMIT_S), health=health)
    unsafe.hold([reply("last")])
    await unsafe.stop()
    assert [event.id for event in kafka.sent] == ["last"]
    assert count("ringback_webhooks_unsafe_lost_total") == before + 5
