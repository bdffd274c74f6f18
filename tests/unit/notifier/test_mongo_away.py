"""MongoDB is away at each step of a delivery: nothing is sent twice, nothing is lost."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.adapters.store import Saved
from services.notifier.adapters.twilio import FakeProvider, MayWrite
from services.notifier.domain.delivery import Delivery, DeliveryState, RenderedText
from services.notifier.domain.facts import SendOutcome
from services.runtime.handled import APPLIED, ignored
from services.runtime.mongo_errors import StoreAway
from tests.unit.notifier.build import event
from tests.unit.notifier.rig import Rig


@dataclass
class LosesAnswer(MemoryDeliveries):
    """Does one write of the kind it is told, and never says so."""

    lose: str = ""

    async def insert(self, delivery: Delivery) -> bool:
        done = await super().insert(delivery)
        self._answer_to("insert")
        return done

    async def save(self, delivery: Delivery) -> Saved:
        done = await super().save(delivery)
        self._answer_to("save")
        return done

    def _answer_to(self, call: str) -> None:
        if self.lose == call:
            self.lose = ""
            raise StoreAway("the write arrived, its answer did not")


async def test_mongo_away_before_the_request_sends_nothing(rig: Rig) -> None:
    await rig.shell.on_touch(event(), rig)
    rig.store.away = 1
    with pytest.raises(StoreAway):
        await rig.shell.deliver(rig.taken[0])
    assert rig.provider.texts == []
    found = await rig.shell.recover(rig.taken[0].touch_id, rig.taken[0].claim_by)
    assert found is not None
    await rig.shell.deliver(found)
    assert len(rig.provider.texts) == 1


async def test_posting_that_was_written_but_not_answered_for_is_taken_back_unsent() -> None:
    store = LosesAnswer()
    rig = Rig(store=store)
    await rig.shell.on_touch(event(), rig)
    store.lose = "save"
    with pytest.raises(StoreAway):
        await rig.shell.deliver(rig.taken[0])
    assert rig.stored().state is DeliveryState.POSTING
    assert await rig.shell.recover(rig.taken[0].touch_id, rig.taken[0].claim_by) is None
    assert (rig.stored().state, rig.stored().sent_key, rig.provider.texts) == (DeliveryState.ACCEPTED, None, [])


@dataclass
class TakesTheStoreAlong(FakeProvider):
    """Takes a text while MongoDB goes away."""

    store: MemoryDeliveries = field(kw_only=True)

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        self.store.away = 3
        return await super().send(text, callback_url=callback_url, validity_s=validity_s, last_look=last_look)


async def test_mongo_away_after_the_request_keeps_the_answer_until_it_is_saved() -> None:
    store = MemoryDeliveries()
    rig = Rig(store=store, provider=TakesTheStoreAlong(store=store))
    assert (await rig.run()).state is DeliveryState.SENT
    assert rig.said() == ["touch.sent"]
    assert store.away == 0


async def test_claim_that_another_instance_took_over_sends_nothing(rig: Rig) -> None:
    await rig.shell.on_touch(event(), rig)
    rig.clock.real += timedelta(seconds=16)
    await rig.again()
    await rig.shell.deliver(rig.taken[0])
    assert len(rig.provider.texts) == 1
    assert rig.said() == ["touch.sent"]


async def test_touch_whose_write_arrived_unanswered_is_worked_on_when_it_comes_again() -> None:
    rig = Rig(store=LosesAnswer(lose="insert"))
    with pytest.raises(StoreAway):
        await rig.shell.on_touch(event(), rig)
    assert await rig.shell.on_touch(event(), rig) == APPLIED
    await rig.shell.deliver(rig.taken.pop())
    assert rig.said() == ["touch.sent"]
    assert await rig.shell.on_touch(event(), rig) == ignored("duplicate")
