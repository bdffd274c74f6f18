"""The shell among fakes: a touch comes in, passes the gate, and is sent once or not at all."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from schemas.touches import TouchFailed, TouchSuppressed
from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.adapters.store import Borrower, Saved
from services.notifier.adapters.twilio import FakeProvider, MayWrite
from services.notifier.domain.delivery import Delivery, DeliveryState, RenderedText
from services.notifier.domain.facts import LeftInDoubt, NotSent, Refused, SendOutcome
from services.notifier.domain.gate import Tail
from services.notifier.domain.twilio_codes import meaning_of_error
from services.notifier.last_look import READ_FRESH_S
from services.notifier.shell import POST_WITHIN_S
from services.runtime.handled import APPLIED, ignored
from services.runtime.mongo_errors import StoreRefused
from tests.infra.clock import FakeClock
from tests.unit.notifier.build import CALLER, KEY, LEAD, OPEN, REAL, card, event, touch
from tests.unit.notifier.rig import Rig


async def test_touch_with_room_is_claimed_as_it_is_kept_and_without_room_left_for_later(rig: Rig) -> None:
    assert await rig.shell.on_touch(event(), rig) == APPLIED
    assert rig.taken[0].claim_by is not None
    rig.full = True
    assert await rig.shell.on_touch(event(touch(step="other")), rig) == APPLIED
    assert (len(rig.taken), rig.told) == (1, 1)
    assert rig.stored(touch(step="other")).claim_by is None


async def test_touch_that_is_not_due_yet_waits(rig: Rig) -> None:
    later = touch(due_at=OPEN + timedelta(seconds=30))
    await rig.shell.on_touch(event(later), rig)
    await rig.again()
    assert rig.provider.texts == []
    rig.clock.virtual = later.due_at
    await rig.again()
    assert len(rig.provider.texts) == 1


async def test_sent_text_stores_its_words_and_times_and_emits_touch_sent_once(rig: Rig) -> None:
    stored = await rig.run()
    (text, callback, validity), *more = rig.provider.texts
    assert more == []
    assert (stored.state, stored.body, stored.variant) == (DeliveryState.SENT, text.body, "busy")
    assert callback == f"https://hooks.example.com/webhooks/twilio/message-status?touch={stored.touch_id}#rc=5&rp=all"
    assert validity == 300
    assert stored.outbox == ()
    assert rig.said() == ["touch.sent"]
    emitted = rig.producer.sent[0]
    assert (emitted.id, emitted.key.decode(), emitted.received_at) == (
        f"{stored.touch_id}:sent",
        KEY,
        stored.received_real,
    )


async def test_validity_is_what_is_left_and_at_least_a_second(rig: Rig) -> None:
    rig.clock.virtual = OPEN + timedelta(minutes=4, seconds=59.5)
    await rig.run()
    assert rig.provider.texts[0][2] == 1


async def test_repeated_touch_is_ignored(rig: Rig) -> None:
    await rig.run()
    assert await rig.shell.on_touch(event(), rig) == ignored("duplicate")
    assert rig.taken == []


async def test_second_attempt_at_a_step_that_has_its_text_is_suppressed(rig: Rig) -> None:
    await rig.run()
    assert (await rig.run(touch(attempt=2))).reason == "already_sent"
    assert len(rig.provider.texts) == 1


async def test_second_attempt_while_the_first_is_in_doubt_is_suppressed(rig: Rig) -> None:
    rig.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    await rig.run()
    assert (await rig.run(touch(attempt=2))).reason == "already_sent"
    assert len(rig.provider.texts) == 1


STOPPED: dict[str, Callable[[Rig], object]] = {
    "opted_out": lambda rig: rig.suppress(),
    "overtaken": lambda rig: rig.store.leads.update({LEAD: card(halt_seq=2)}),
    "no_lead": lambda rig: rig.store.leads.clear(),
    "reply_in_flight": lambda rig: rig.tail.replies.update({KEY: {"twilio:SM1:received"}}),
}


@pytest.mark.parametrize("reason", STOPPED)
async def test_gate_that_says_no_sends_nothing_and_tells_why(rig: Rig, reason: str) -> None:
    STOPPED[reason](rig)
    stored = await rig.run()
    assert (stored.state, stored.reason, rig.provider.texts) == (DeliveryState.SUPPRESSED, reason, [])
    said = rig.producer.sent[0].data
    assert isinstance(said, TouchSuppressed)
    assert said.reason == reason
    assert (said.until is None) == (reason != "reply_in_flight")


@pytest.mark.parametrize("reached", ["overtaken", "opted_out"])
async def test_text_of_a_reached_or_opted_out_borrower_that_expired_in_an_outage_asks_for_no_task(
    rig: Rig, reached: str
) -> None:
    STOPPED[reached](rig)
    rig.clock.virtual = OPEN + timedelta(minutes=6)
    assert (await rig.run()).reason == reached
    assert rig.said() == ["touch.suppressed"]


async def test_tail_away_keeps_the_text_unclaimed_and_it_goes_when_the_tail_is_back(rig: Rig) -> None:
    rig.tail.complete = False
    stored = await rig.run()
    assert (stored.state, stored.claim_by, rig.said()) == (DeliveryState.ACCEPTED, None, [])
    rig.tail.complete = True
    rig.clock.virtual = stored.not_before
    await rig.again()
    assert rig.said() == ["touch.sent"]


async def test_reply_that_arrives_between_gate_and_request_keeps_the_request_from_being_made(rig: Rig) -> None:
    class LateTail:
        asked = 0

        def is_away(self) -> bool:
            return False

        def of(self, key: str) -> Tail:
            self.asked += 1
            return Tail(True, frozenset({"twilio:SM1:received"} if self.asked > 1 else ()))

    rig.shell.tail = LateTail()
    stored = await rig.run()
    assert (stored.state, stored.sent_key, rig.provider.texts) == (DeliveryState.ACCEPTED, None, [])
    await rig.again()
    assert rig.stored().reason == "reply_in_flight"


@dataclass
class SlowToSave(MemoryDeliveries):
    """Takes longer for a write than what the gate was told stays fresh."""

    clock: FakeClock = field(kw_only=True)

    async def save(self, delivery: Delivery) -> Saved:
        self.clock.mono_s += READ_FRESH_S + 0.1
        return await super().save(delivery)


async def test_what_the_gate_was_told_more_than_a_second_ago_is_read_again_before_the_request() -> None:
    clock = FakeClock(OPEN, real=REAL)
    rig = Rig(clock=clock, store=SlowToSave(clock=clock))
    assert (await rig.run()).state is DeliveryState.SENT
    assert len(rig.provider.texts) == 1


@dataclass
class SlowToConnect(FakeProvider):
    """Needs three seconds for a connection; `meanwhile` happens then."""

    clock: FakeClock = field(kw_only=True)
    meanwhile: Callable[[], object] = field(default=lambda: None)

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        self.clock.mono_s += 3.0
        self.meanwhile()
        return await super().send(text, callback_url=callback_url, validity_s=validity_s, last_look=last_look)


@pytest.mark.parametrize("reason", ["opted_out", "overtaken"])
async def test_stop_or_contact_while_the_connection_is_made_keeps_the_request_from_being_written(reason: str) -> None:
    clock = FakeClock(OPEN, real=REAL)
    provider = SlowToConnect(clock=clock)
    rig = Rig(clock=clock, provider=provider)
    provider.meanwhile = lambda: STOPPED[reason](rig)
    stored = await rig.run()
    assert (stored.state, stored.sent_key, rig.provider.texts) == (DeliveryState.ACCEPTED, None, [])
    await rig.again()
    assert rig.stored().reason == reason


@dataclass
class SlowToRead(MemoryDeliveries):
    """Takes nine seconds for the first read, and reads a borrower who says STOP right after it began."""

    clock: FakeClock = field(kw_only=True)
    reads: int = 0

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        self.reads += 1
        found = await super().borrower(lead_id, suppression_id)
        if self.reads == 1:
            self.suppressions[suppression_id] = {"_id": suppression_id}
            self.clock.mono_s += 0.9 * POST_WITHIN_S
        return found


async def test_freshness_counts_from_before_a_slow_read() -> None:
    clock = FakeClock(OPEN, real=REAL)
    rig = Rig(clock=clock, store=SlowToRead(clock=clock))
    assert (await rig.run()).state is DeliveryState.ACCEPTED
    assert rig.provider.texts == []


@dataclass
class HangsAtTheLastLook(MemoryDeliveries):
    """Answers the first read only."""

    reads: int = 0

    async def borrower(self, lead_id: str, suppression_id: str) -> Borrower:
        self.reads += 1
        if self.reads > 1:
            await asyncio.Event().wait()
        return await super().borrower(lead_id, suppression_id)


async def test_last_look_that_gets_no_answer_sends_nothing_and_the_text_waits() -> None:
    clock = FakeClock(OPEN, real=REAL)
    rig = Rig(clock=clock, provider=SlowToConnect(clock=clock), store=HangsAtTheLastLook())
    waiting = await asyncio.wait_for(rig.run(), 5)
    assert (waiting.state, waiting.sent_key, rig.provider.texts) == (DeliveryState.ACCEPTED, None, [])
    assert waiting.not_before > OPEN


async def test_text_past_its_time_to_post_is_not_written() -> None:
    clock = FakeClock(OPEN, real=REAL)
    provider = SlowToConnect(clock=clock)

    def hang() -> None:
        clock.mono_s += POST_WITHIN_S

    provider.meanwhile = hang
    rig = Rig(clock=clock, provider=provider)
    assert (await rig.run()).reason == "too_late"
    assert rig.provider.texts == []


async def test_no_connection_or_429_is_tried_again_after_a_pause_and_goes_once(rig: Rig) -> None:
    rig.provider.answers = [NotSent(reason="provider_busy", code=20429)]
    waiting = await rig.run()
    assert (waiting.state, waiting.sent_key, rig.said()) == (DeliveryState.ACCEPTED, None, [])
    await rig.again()
    assert len(rig.provider.texts) == 1, "not before its pause is over"
    rig.clock.virtual = waiting.not_before
    await rig.again()
    assert rig.said() == ["touch.sent"]


async def test_refusal_is_final_with_its_code(rig: Rig) -> None:
    rig.provider.answers = [Refused("opted_out", 21610)]
    stored = await rig.run()
    assert (stored.state, stored.error_code, stored.sent_key) == (DeliveryState.FAILED, 21610, None)
    said = rig.producer.sent[0].data
    assert isinstance(said, TouchFailed)
    assert (said.error_code, said.retriable) == (21610, False)


async def test_wrong_configuration_is_unready_until_a_text_is_taken_again(rig: Rig) -> None:
    rig.provider.answers = [NotSent(reason="configuration", code=20003, configuration=True)]
    waiting = await rig.run()
    assert "20003" in rig.health.not_ready["twilio"]
    rig.clock.virtual = waiting.not_before
    await rig.again()
    assert "twilio" not in rig.health.not_ready


async def test_caller_in_a_country_that_the_account_does_not_text_is_refused_and_the_notifier_stays_ready(
    rig: Rig,
) -> None:
    rig.provider.answers = [meaning_of_error(400, 21408)]
    assert (await rig.run()).state is DeliveryState.FAILED
    assert "twilio" not in rig.health.not_ready


async def test_missing_wording_fails_the_text_and_says_so(rig: Rig) -> None:
    stored = await rig.run(touch(template="no-such-family"))
    assert stored.state is DeliveryState.FAILED
    assert rig.said() == ["touch.failed"]


@dataclass
class RefusesPosting(MemoryDeliveries):
    """Never takes a delivery that is about to be posted, as MongoDB never takes a body that is not UTF-8."""

    async def save(self, delivery: Delivery) -> Saved:
        if delivery.state is DeliveryState.POSTING:
            raise StoreRefused("UnicodeEncodeError")
        return await super().save(delivery)


async def test_text_that_cannot_be_stored_is_not_sent_and_fails_visibly() -> None:
    rig = Rig(store=RefusesPosting())
    assert (await rig.run()).state is DeliveryState.FAILED
    assert (rig.said(), rig.provider.texts) == (["touch.failed"], [])


async def test_officers_text_passes_a_gate_that_is_closed_for_borrowers(rig: Rig) -> None:
    rig.tail.complete = False
    stored = await rig.run(touch(audience="officer"))
    assert (stored.state, stored.to) == (DeliveryState.SENT, "+12125550161")
    assert stored.to != CALLER
