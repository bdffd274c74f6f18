"""What became of a text: doubts, receipts, and results that wait for Kafka."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from services.notifier.adapters.twilio import FakeProvider, Listed, MayWrite
from services.notifier.domain.delivery import DeliveryState, RenderedText
from services.notifier.domain.facts import LeftInDoubt, ProviderAccepted, SendOutcome
from services.runtime.errors import TransientError
from services.runtime.handled import ignored
from tests.unit.notifier.build import OPEN, event, receipt, touch
from tests.unit.notifier.rig import Rig


async def test_text_in_doubt_is_settled_by_its_receipt(rig: Rig) -> None:
    rig.provider.answers = [LeftInDoubt("ServerDisconnectedError")]
    posting = await rig.run()
    assert (posting.state, posting.reason, rig.said()) == (DeliveryState.POSTING, "ServerDisconnectedError", [])
    await rig.shell.on_receipt(receipt("SM7", "queued", touch=posting.touch_id))
    assert rig.stored().sid == "SM7"
    assert await rig.shell.on_receipt(receipt("SM7", "queued")) == ignored("receipt_not_newer")
    assert rig.said() == ["touch.sent"]


@pytest.mark.parametrize(("body", "age_s", "found"), [(None, 0, True), ("other words", 0, False), (None, 3600, False)])
async def test_list_adopts_the_same_words_of_this_time_and_nothing_else(
    rig: Rig, body: str | None, age_s: float, found: bool
) -> None:
    rig.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    posting = await rig.run()
    words = body or posting.body or ""
    rig.provider.list_of = [Listed("SM8", words, rig.clock.virtual - timedelta(seconds=age_s))]
    await rig.shell.resolve(posting)
    assert rig.stored().state is (DeliveryState.SENT if found else DeliveryState.UNKNOWN)
    assert rig.said() == (["touch.sent"] if found else ["touch.task_requested"])
    assert len(rig.provider.texts) == 1


async def test_text_of_another_delivery_is_not_adopted(rig: Rig) -> None:
    other = await rig.run(touch(step="other"))
    rig.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    posting = await rig.run()
    rig.provider.list_of = [Listed(other.sid or "", posting.body or "", rig.clock.virtual)]
    await rig.shell.resolve(posting)
    assert rig.stored().state is DeliveryState.UNKNOWN


async def test_list_that_cannot_be_read_leaves_the_doubt(rig: Rig) -> None:
    rig.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    posting = await rig.run()
    rig.provider.away = True
    with pytest.raises(TransientError):
        await rig.shell.resolve(posting)
    assert rig.stored().state is DeliveryState.POSTING


async def test_receipt_for_nothing_of_ours_or_of_another_sid_is_ignored(rig: Rig) -> None:
    stored = await rig.run()
    assert await rig.shell.on_receipt(receipt("SM0", "sent")) == ignored("no_delivery")
    assert await rig.shell.on_receipt(receipt("SM0", "sent", touch=stored.touch_id)) == ignored("other_sid")


async def test_result_that_kafka_did_not_take_waits_in_the_document_in_its_order(rig: Rig) -> None:
    rig.producer.fail = 1
    stored = await rig.run()
    assert [one.id for one in stored.outbox] == [f"{stored.touch_id}:sent"]
    assert await rig.store.busy(OPEN) == "results not emitted"
    await rig.shell.on_receipt(receipt(stored.sid or "", "delivered", touch=stored.touch_id))
    assert rig.said() == ["touch.sent", "touch.delivered"]
    assert await rig.store.busy(OPEN) is None


@dataclass
class ReceiptIsFaster(FakeProvider):
    """Has the carrier's receipt arrive before it answers."""

    rig: Rig = field(init=False)

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        await self.rig.shell.on_receipt(receipt("SM5", "delivered", touch=touch().touch_id))
        return ProviderAccepted("SM5")


async def test_receipt_that_is_faster_than_the_answer_ends_in_the_same_place() -> None:
    provider = ReceiptIsFaster()
    provider.rig = rig = Rig(provider=provider)
    stored = await rig.run()
    assert (stored.state, stored.sid) == (DeliveryState.DELIVERED, "SM5")
    assert stored.answered_real is not None
    assert rig.said() == ["touch.sent", "touch.delivered"]


async def test_repeated_touch_is_answered_with_all_results_in_their_order_with_first_ids_and_times(rig: Rig) -> None:
    rig.provider.answers = [LeftInDoubt("SocketTimeoutError")]
    posting = await rig.run()
    await rig.shell.resolve(posting)
    rig.clock.virtual += timedelta(seconds=30, microseconds=1234)
    await rig.shell.on_receipt(receipt("SM7", "delivered", touch=posting.touch_id))
    first = list(rig.producer.sent)
    assert rig.said() == ["touch.task_requested", "touch.sent", "touch.delivered"]
    rig.clock.virtual += timedelta(hours=1)
    assert await rig.shell.on_touch(event(), rig) == ignored("duplicate")
    assert rig.producer.sent == [*first, *first]
    assert len(rig.provider.texts) == 1


async def test_repeated_touch_whose_results_wait_for_kafka_is_answered_and_they_wait_no_longer(rig: Rig) -> None:
    rig.producer.fail = 1
    await rig.run()
    assert await rig.shell.on_touch(event(), rig) == ignored("duplicate")
    assert rig.said() == ["touch.sent"]
    assert await rig.store.busy(OPEN) is None


async def test_repeated_touch_that_kafka_does_not_let_answer_is_not_finished(rig: Rig) -> None:
    await rig.run()
    rig.producer.fail = 1
    with pytest.raises(TransientError):
        await rig.shell.on_touch(event(), rig)


async def test_repeated_touch_that_is_still_under_way_gets_its_results_when_there_are_any(rig: Rig) -> None:
    await rig.shell.on_touch(event(), rig)
    assert await rig.shell.on_touch(event(), rig) == ignored("duplicate")
    assert rig.said() == []
    await rig.shell.deliver(rig.taken.pop())
    assert rig.said() == ["touch.sent"]


async def not_listed(rig: Rig) -> None:
    """Have the provider's list read, which does not show the text."""
    rig.provider.list_of = []
    await rig.shell.resolve(rig.stored())


async def test_answered_5xx_that_no_list_shows_is_sent_once_more_through_the_gate(rig: Rig) -> None:
    rig.provider.answers = [LeftInDoubt("answered 500", server_error=True)]
    await rig.run()
    await not_listed(rig)
    waiting = rig.stored()
    assert (waiting.state, waiting.sent_key, rig.said()) == (DeliveryState.ACCEPTED, None, [])
    await rig.again()
    assert rig.said() == ["touch.sent"]
    assert len(rig.provider.texts) == 2


@pytest.mark.parametrize("second", [LeftInDoubt("answered 500", server_error=True), LeftInDoubt("SocketTimeoutError")])
async def test_second_doubt_of_one_text_is_unknown_and_a_task(rig: Rig, second: LeftInDoubt) -> None:
    rig.provider.answers = [LeftInDoubt("answered 500", server_error=True), second]
    await rig.run()
    await not_listed(rig)
    await rig.again()
    await not_listed(rig)
    assert rig.stored().state is DeliveryState.UNKNOWN
    await rig.again()
    assert (len(rig.provider.texts), rig.said()) == (2, ["touch.task_requested"])


async def test_resend_passes_the_gate_again_and_a_stop_meanwhile_ends_it(rig: Rig) -> None:
    rig.provider.answers = [LeftInDoubt("answered 500", server_error=True)]
    await rig.run()
    await not_listed(rig)
    rig.suppress()
    await rig.again()
    assert (rig.stored().reason, len(rig.provider.texts)) == ("opted_out", 1)


async def test_answered_5xx_whose_text_has_expired_meanwhile_is_a_task_and_not_sent_again(rig: Rig) -> None:
    rig.provider.answers = [LeftInDoubt("answered 500", server_error=True)]
    await rig.run()
    rig.clock.virtual = touch().expires_at
    await not_listed(rig)
    assert rig.stored().state is DeliveryState.UNKNOWN
    assert rig.said() == ["touch.task_requested"]


@pytest.mark.parametrize("what", ["receipt", "list"])
async def test_text_that_a_5xx_left_in_doubt_and_that_shows_up_is_not_sent_again(rig: Rig, what: str) -> None:
    rig.provider.answers = [LeftInDoubt("answered 500", server_error=True)]
    posting = await rig.run()
    if what == "list":
        rig.provider.list_of = [Listed("SM8", posting.body or "", rig.clock.virtual)]
        await rig.shell.resolve(posting)
    else:
        await not_listed(rig)
        await rig.shell.on_receipt(receipt("SM8", "sent", touch=posting.touch_id))
    await rig.again()
    assert (rig.stored().state, rig.stored().sid, len(rig.provider.texts)) == (DeliveryState.SENT, "SM8", 1)


@dataclass
class DiesWhilePosting(FakeProvider):
    """Ends the process that waits for its answer."""

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        await super().send(text, callback_url=callback_url, validity_s=validity_s, last_look=last_look)
        raise asyncio.CancelledError


async def test_request_whose_answer_nobody_saw_is_never_sent_again() -> None:
    rig = Rig(provider=DiesWhilePosting())
    with pytest.raises(asyncio.CancelledError):
        await rig.run()
    await not_listed(rig)
    await rig.again()
    assert (rig.stored().state, len(rig.provider.texts)) == (DeliveryState.UNKNOWN, 1)
