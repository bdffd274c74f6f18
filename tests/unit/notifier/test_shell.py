"""The shell among fakes: what is sent, how often, and what is told of it."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from schemas.touches import TouchFailed, TouchSuppressed
from services.notifier.adapters.twilio import Listed
from services.notifier.domain.delivery import Delivery, DeliveryState
from services.notifier.domain.facts import LeftInDoubt, NotSent, ProviderAccepted, Refused
from services.notifier.domain.gate import Tail
from services.runtime.errors import TransientError
from services.runtime.handled import APPLIED, ignored
from services.runtime.mongo_errors import StoreAway
from tests.unit.notifier.build import CALLER, KEY, LEAD, OPEN, Bench, card, event, receipt, touch


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_touch_with_room_is_claimed_as_it_is_kept_and_without_room_left_for_later(bench: Bench) -> None:
    assert await bench.shell.on_touch(event(), bench) == APPLIED
    assert bench.taken[0].claim_by is not None
    bench.full = True
    assert await bench.shell.on_touch(event(touch(step="other")), bench) == APPLIED
    assert (len(bench.taken), bench.told) == (1, 1)
    assert bench.stored(touch(step="other")).claim_by is None


async def test_touch_that_is_not_due_yet_waits(bench: Bench) -> None:
    later = touch(due_at=OPEN + timedelta(seconds=30))
    await bench.shell.on_touch(event(later), bench)
    await bench.again()
    assert bench.provider.texts == []
    bench.clock.virtual = later.due_at
    await bench.again()
    assert len(bench.provider.texts) == 1


async def test_sent_text_stores_its_words_and_times_and_emits_touch_sent_once(bench: Bench) -> None:
    stored = await bench.run()
    (text, callback, validity), *more = bench.provider.texts
    assert more == []
    assert (stored.state, stored.body, stored.variant) == (DeliveryState.SENT, text.body, "busy")
    assert callback == f"https://hooks.example.com/webhooks/twilio/message-status?touch={stored.touch_id}"
    assert validity == 300
    assert stored.outbox == ()
    assert bench.said() == ["touch.sent"]
    emitted = bench.producer.sent[0]
    assert (emitted.id, emitted.key.decode(), emitted.received_at) == (
        f"{stored.touch_id}:sent", KEY, stored.received_real,
    )  # fmt: skip


async def test_validity_is_what_is_left_and_at_least_a_second(bench: Bench) -> None:
    bench.clock.virtual = OPEN + timedelta(minutes=4, seconds=59.5)
    await bench.run()
    assert bench.provider.texts[0][2] == 1


async def test_repeated_touch_is_ignored(bench: Bench) -> None:
    await bench.run()
    assert await bench.shell.on_touch(event(), bench) == ignored("duplicate")
    assert bench.taken == []


async def test_second_attempt_at_a_step_that_has_its_text_is_suppressed(bench: Bench) -> None:
    await bench.run()
    assert (await bench.run(touch(attempt=2))).reason == "already_sent"
    assert len(bench.provider.texts) == 1


async def test_second_attempt_while_the_first_is_in_doubt_is_suppressed(bench: Bench) -> None:
    bench.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    await bench.run()
    assert (await bench.run(touch(attempt=2))).reason == "already_sent"
    assert len(bench.provider.texts) == 1


STOPPED: dict[str, Callable[[Bench], object]] = {
    "opted_out": lambda bench: bench.suppress(),
    "overtaken": lambda bench: bench.store.leads.update({LEAD: card(halt_seq=2)}),
    "no_lead": lambda bench: bench.store.leads.clear(),
    "reply_in_flight": lambda bench: bench.tail.replies.update({KEY: {"twilio:SM1:received"}}),
}


@pytest.mark.parametrize("reason", STOPPED)
async def test_gate_that_says_no_sends_nothing_and_tells_why(bench: Bench, reason: str) -> None:
    STOPPED[reason](bench)
    stored = await bench.run()
    assert (stored.state, stored.reason, bench.provider.texts) == (DeliveryState.SUPPRESSED, reason, [])
    said = bench.producer.sent[0].data
    assert isinstance(said, TouchSuppressed)
    assert said.reason == reason
    assert (said.until is None) == (reason != "reply_in_flight")


async def test_tail_away_keeps_the_text_unclaimed_and_it_goes_when_the_tail_is_back(bench: Bench) -> None:
    bench.tail.complete = False
    stored = await bench.run()
    assert (stored.state, stored.claim_by, bench.said()) == (DeliveryState.ACCEPTED, None, [])
    bench.tail.complete = True
    await bench.again()
    assert bench.said() == ["touch.sent"]


async def test_reply_that_arrives_between_gate_and_request_keeps_the_request_from_being_made(bench: Bench) -> None:
    class LateTail:
        asked = 0

        def of(self, key: str) -> Tail:
            self.asked += 1
            return Tail(True, frozenset({"twilio:SM1:received"} if self.asked > 1 else ()))

    bench.shell.tail = LateTail()
    stored = await bench.run()
    assert (stored.state, stored.sent_key, bench.provider.texts) == (DeliveryState.ACCEPTED, None, [])
    await bench.again()
    assert bench.stored().reason == "reply_in_flight"


async def test_what_the_gate_was_told_more_than_a_second_ago_is_asked_again(bench: Bench) -> None:
    save = bench.store.save

    async def slow(*args: object) -> object:
        bench.clock.mono_s += 1.1
        return await save(*args)  # type: ignore[arg-type]

    bench.store.save = slow  # type: ignore[method-assign, assignment]
    assert (await bench.run()).state is DeliveryState.ACCEPTED
    assert bench.provider.texts == []


async def test_no_connection_or_429_is_tried_again_after_a_pause_and_goes_once(bench: Bench) -> None:
    bench.provider.answers = [NotSent("provider_busy", 20429)]
    waiting = await bench.run()
    assert (waiting.state, waiting.sent_key, bench.said()) == (DeliveryState.ACCEPTED, None, [])
    await bench.again()
    assert len(bench.provider.texts) == 1, "not before its pause is over"
    bench.clock.virtual = waiting.not_before
    await bench.again()
    assert bench.said() == ["touch.sent"]


async def test_refusal_is_final_with_its_code(bench: Bench) -> None:
    bench.provider.answers = [Refused("opted_out", 21610)]
    stored = await bench.run()
    assert (stored.state, stored.error_code, stored.sent_key) == (DeliveryState.FAILED, 21610, None)
    said = bench.producer.sent[0].data
    assert isinstance(said, TouchFailed)
    assert (said.error_code, said.retriable) == (21610, False)


async def test_wrong_configuration_is_unready_until_a_text_is_taken_again(bench: Bench) -> None:
    bench.provider.answers = [NotSent("configuration", 20003, configuration=True)]
    waiting = await bench.run()
    assert "20003" in bench.health.not_ready["twilio"]
    bench.clock.virtual = waiting.not_before
    await bench.again()
    assert "twilio" not in bench.health.not_ready


async def test_missing_wording_fails_the_text_and_says_so(bench: Bench) -> None:
    stored = await bench.run(touch(template="no-such-family"))
    assert stored.state is DeliveryState.FAILED
    assert bench.said() == ["touch.failed"]


async def test_text_in_doubt_is_settled_by_its_receipt(bench: Bench) -> None:
    bench.provider.answers = [LeftInDoubt("ServerDisconnectedError")]
    posting = await bench.run()
    assert (posting.state, posting.reason, bench.said()) == (DeliveryState.POSTING, "ServerDisconnectedError", [])
    await bench.shell.on_receipt(receipt("SM7", "queued", touch=posting.touch_id))
    assert bench.stored().sid == "SM7"
    assert await bench.shell.on_receipt(receipt("SM7", "queued")) == ignored("receipt_not_newer")
    assert bench.said() == ["touch.sent"]


@pytest.mark.parametrize(("body", "age_s", "found"), [(None, 0, True), ("other words", 0, False), (None, 3600, False)])
async def test_list_adopts_the_same_words_of_this_time_and_nothing_else(
    bench: Bench, body: str | None, age_s: float, found: bool
) -> None:
    bench.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    posting = await bench.run()
    words = body or posting.body or ""
    bench.provider.list_of = [Listed("SM8", words, bench.clock.virtual - timedelta(seconds=age_s))]
    await bench.shell.resolve(posting)
    assert bench.stored().state is (DeliveryState.SENT if found else DeliveryState.UNKNOWN)
    assert bench.said() == (["touch.sent"] if found else ["touch.task_requested"])
    assert len(bench.provider.texts) == 1


async def test_text_of_another_delivery_is_not_adopted(bench: Bench) -> None:
    other = await bench.run(touch(step="other"))
    bench.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    posting = await bench.run()
    bench.provider.list_of = [Listed(other.sid or "", posting.body or "", bench.clock.virtual)]
    await bench.shell.resolve(posting)
    assert bench.stored().state is DeliveryState.UNKNOWN


async def test_list_that_cannot_be_read_leaves_the_doubt(bench: Bench) -> None:
    bench.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    posting = await bench.run()
    bench.provider.away = True
    with pytest.raises(TransientError):
        await bench.shell.resolve(posting)
    assert bench.stored().state is DeliveryState.POSTING


async def test_receipt_for_nothing_of_ours_or_of_another_sid_is_ignored(bench: Bench) -> None:
    stored = await bench.run()
    assert await bench.shell.on_receipt(receipt("SM0", "sent")) == ignored("no_delivery")
    assert await bench.shell.on_receipt(receipt("SM0", "sent", touch=stored.touch_id)) == ignored("other_sid")


async def test_result_that_kafka_did_not_take_waits_in_the_document_in_its_order(bench: Bench) -> None:
    bench.producer.fail = 1
    stored = await bench.run()
    assert [one.id for one in stored.outbox] == [f"{stored.touch_id}:sent"]
    assert await bench.store.busy(OPEN) == "results not emitted"
    await bench.shell.on_receipt(receipt(stored.sid or "", "delivered", touch=stored.touch_id))
    assert bench.said() == ["touch.sent", "touch.delivered"]
    assert await bench.store.busy(OPEN) is None


async def test_mongo_away_before_the_request_sends_nothing(bench: Bench) -> None:
    await bench.shell.on_touch(event(), bench)
    bench.store.away = 1
    with pytest.raises(StoreAway):
        await bench.shell.deliver(bench.taken[0])
    assert bench.provider.texts == []
    found = await bench.shell.recover(bench.taken[0].touch_id, bench.taken[0].claim_by)
    assert found is not None
    await bench.shell.deliver(found)
    assert len(bench.provider.texts) == 1


async def test_posting_that_was_written_but_not_answered_for_is_taken_back_unsent(bench: Bench) -> None:
    await bench.shell.on_touch(event(), bench)
    save = bench.store.save

    async def lost_answer(delivery: object) -> object:
        await save(delivery)  # type: ignore[arg-type]
        bench.store.save = save  # type: ignore[method-assign]
        raise StoreAway("the write arrived, its answer did not")

    bench.store.save = lost_answer  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreAway):
        await bench.shell.deliver(bench.taken[0])
    assert bench.stored().state is DeliveryState.POSTING
    assert await bench.shell.recover(bench.taken[0].touch_id, bench.taken[0].claim_by) is None
    assert (bench.stored().state, bench.stored().sent_key, bench.provider.texts) == (DeliveryState.ACCEPTED, None, [])


async def test_mongo_away_after_the_request_keeps_the_answer_until_it_is_saved(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = bench.provider.send

    async def then_away(*args: object, **kwargs: object) -> object:
        bench.store.away = 3
        return await send(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.provider, "send", then_away)
    assert (await bench.run()).state is DeliveryState.SENT
    assert bench.said() == ["touch.sent"]


async def test_claim_that_another_instance_took_over_sends_nothing(bench: Bench) -> None:
    await bench.shell.on_touch(event(), bench)
    bench.clock.real += timedelta(seconds=16)
    await bench.again()
    await bench.shell.deliver(bench.taken[0])
    assert len(bench.provider.texts) == 1
    assert bench.said() == ["touch.sent"]


async def test_receipt_that_is_faster_than_the_answer_ends_in_the_same_place(bench: Bench) -> None:
    async def send(*_: object, **__: object) -> ProviderAccepted:
        name = touch().touch_id
        await bench.shell.on_receipt(receipt("SM5", "delivered", touch=name))
        return ProviderAccepted("SM5")

    bench.provider.send = send  # type: ignore[method-assign]
    stored = await bench.run()
    assert (stored.state, stored.sid) == (DeliveryState.DELIVERED, "SM5")
    assert stored.answered_real is not None
    assert bench.said() == ["touch.sent", "touch.delivered"]


async def test_officers_text_passes_a_gate_that_is_closed_for_borrowers(bench: Bench) -> None:
    bench.tail.complete = False
    stored = await bench.run(touch(audience="officer"))
    assert (stored.state, stored.to) == (DeliveryState.SENT, "+12125550161")
    assert stored.to != CALLER


async def test_touch_whose_write_arrived_unanswered_is_worked_on_when_it_comes_again(bench: Bench) -> None:
    insert = bench.store.insert

    async def lost_answer(delivery: Delivery) -> bool:
        await insert(delivery)
        bench.store.insert = insert  # type: ignore[method-assign]
        raise StoreAway("the write arrived, its answer did not")

    bench.store.insert = lost_answer  # type: ignore[method-assign]
    with pytest.raises(StoreAway):
        await bench.shell.on_touch(event(), bench)
    assert await bench.shell.on_touch(event(), bench) == APPLIED
    await bench.shell.deliver(bench.taken.pop())
    assert bench.said() == ["touch.sent"]
    assert await bench.shell.on_touch(event(), bench) == ignored("duplicate")
