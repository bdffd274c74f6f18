"""What became of a text: doubts, receipts, and results that wait for Kafka."""

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
