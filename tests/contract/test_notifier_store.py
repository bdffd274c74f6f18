"""One suite for both stores of the notifier: what the one in memory promises, MongoDB keeps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from schemas.base import Lane
from services.notifier.adapters.memory import MemoryDeliveries
from services.notifier.adapters.mongo import MongoDeliveries
from services.notifier.adapters.store import LANES, BrokenDelivery, DeliveryClaim, DeliveryStore
from services.notifier.domain.delivery import Delivery, DeliveryState
from services.notifier.domain.facts import GateClosed, PostingStarts, ProviderAccepted
from services.notifier.domain.machine import decide
from services.notifier.errors import NumberKeyDiffers, UnreadableDocument
from services.runtime.clock import monotonic_s
from services.runtime.mongo_errors import StoreRefused
from tests.infra.providers import Mongo
from tests.unit.notifier.build import LEAD, OPEN, REAL, TEXT, card, delivery

NUMBER = "+12125550100"
UNTIL = REAL + timedelta(seconds=15)

Put = Callable[[str, dict[str, Any]], Awaitable[None]]


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest, mongo: Mongo, database: Any) -> AsyncIterator[DeliveryStore]:
    """Each of the stores, empty."""
    found: DeliveryStore = (
        MemoryDeliveries() if request.param == "memory" else MongoDeliveries(mongo.url, database.name)
    )
    await found.start("check")
    yield found
    await found.stop()


@pytest.fixture
def put(store: DeliveryStore, database: Any) -> Put:
    """Writes a document of a collection as somebody else would: leads, or another version of the notifier."""

    async def write(collection: str, document: dict[str, Any]) -> None:
        if isinstance(store, MemoryDeliveries):
            kept: dict[str, dict[str, Any]] = getattr(store, collection)
            kept[document["_id"]] = document
        else:
            await database[collection].replace_one({"_id": document["_id"]}, document, upsert=True)

    return write


def another(n: int, **more: Any) -> Delivery:
    return delivery(**{"touch_id": f"touch-{n}", "step": f"step-{n}", **more})


def posting(found: Delivery) -> Delivery:
    return decide(found, PostingStarts(TEXT, REAL + timedelta(seconds=10)), OPEN, REAL).delivery


async def claim(
    store: DeliveryStore, *lanes: Lane, limit: int = 10, now: datetime = OPEN, real: datetime = REAL
) -> list[str]:
    found: list[str] = []
    for lane in lanes or LANES:
        by = DeliveryClaim(by="me", at_real=real, until_real=real + timedelta(seconds=15))
        found += [one.touch_id for one in await store.claim_due(lane, limit - len(found), by, now)]
        if len(found) == limit:
            break
    return found


async def test_what_is_stored_comes_back_as_it_was(store: DeliveryStore) -> None:
    told = posting(another(1)).claimed("me", UNTIL, REAL)
    assert await store.insert(told)
    assert await store.get("touch-1") == told
    sent = decide(told, ProviderAccepted("SM1"), OPEN, REAL).delivery
    assert await store.save(sent) == "saved"
    assert await store.find_by_sid("SM1") == replace(sent, rev=2)
    assert await store.get("nothing") is None


async def test_second_insert_of_a_touch_changes_nothing(store: DeliveryStore) -> None:
    assert await store.insert(another(1))
    assert not await store.insert(another(1, template="other"))
    assert await store.get("touch-1") == another(1)


async def test_write_on_an_old_rev_changes_nothing(store: DeliveryStore) -> None:
    await store.insert(another(1))
    assert await store.save(another(1, reason="first")) == "saved"
    assert await store.save(another(1, reason="second")) == "moved"
    found = await store.get("touch-1")
    assert found is not None
    assert (found.reason, found.rev) == ("first", 2)


async def test_two_deliveries_never_hold_one_step_or_one_sid(store: DeliveryStore) -> None:
    first, second = another(1, step="s"), another(2, step="s")
    await store.insert(first)
    await store.insert(second)
    assert await store.save(posting(first)) == "saved"
    assert await store.save(posting(second)) == "sent_key_taken"
    sent = decide(posting(first), ProviderAccepted("SM1"), OPEN, REAL).delivery
    assert await store.save(replace(sent, rev=2)) == "saved"
    assert await store.save(replace(second, sid="SM1")) == "sid_taken"


async def test_deliveries_without_step_key_or_sid_are_many(store: DeliveryStore) -> None:
    assert [await store.insert(another(n)) for n in range(3)] == [True] * 3


async def test_due_ones_are_claimed_urgent_first_then_by_time_and_only_once(store: DeliveryStore) -> None:
    for n, (lane, wait) in enumerate([("bulk", 0), ("normal", 0), ("urgent", 0), ("urgent", -5), ("urgent", 60)]):
        await store.insert(another(n, lane=lane, not_before=OPEN + timedelta(seconds=wait)))
    assert await claim(store, limit=3) == ["touch-3", "touch-2", "touch-1"]
    assert await claim(store) == ["touch-0"]
    assert await claim(store) == []
    assert await claim(store, now=OPEN + timedelta(seconds=60)) == ["touch-4"]


async def test_claim_lapses_and_only_accepted_ones_are_taken_over(store: DeliveryStore) -> None:
    await store.insert(another(1).claimed("other", UNTIL, REAL))
    await store.insert(posting(another(2)).claimed("other", UNTIL, REAL))
    assert await claim(store) == []
    assert await claim(store, real=UNTIL) == ["touch-1"]
    found = await store.get("touch-1")
    assert found is not None
    assert (found.claim_by, found.rev) == ("me", 2)
    assert await store.save(another(1)) == "moved", "whoever lost it"


async def test_lanes_not_asked_for_are_left(store: DeliveryStore) -> None:
    await store.insert(another(1, lane="bulk"))
    assert await claim(store, "urgent") == []


async def test_outbox_is_pulled_entry_by_entry_and_its_mark_goes_with_the_last(store: DeliveryStore) -> None:
    held = decide(another(1), GateClosed("opted_out"), OPEN, REAL).delivery
    await store.insert(another(1))
    await store.save(held)
    (waiting,) = await store.outboxes(REAL + timedelta(seconds=1), 10)
    assert isinstance(waiting, Delivery)
    assert await store.outboxes(REAL, 10) == []
    assert await store.outboxes(REAL + timedelta(seconds=1), 10, 1) == [], "after the first there is no other"
    assert await store.busy(OPEN) == "results not emitted"
    await store.pull(waiting, ["another id"])
    assert len(await store.outboxes(REAL + timedelta(seconds=1), 10)) == 1
    await store.pull(waiting, [entry.id for entry in waiting.outbox])
    assert await store.outboxes(REAL + timedelta(seconds=1), 10) == []
    assert await store.busy(OPEN) is None
    assert await store.save(waiting) == "moved", "a pull is a write"


async def test_posting_past_its_time_is_found_by_then(store: DeliveryStore) -> None:
    await store.insert(posting(another(1)))
    assert await store.in_doubt(REAL + timedelta(seconds=10), 10) == []
    assert [one.touch_id for one in await store.in_doubt(REAL + timedelta(seconds=11), 10)] == ["touch-1"]
    assert await store.busy(OPEN) == "texts being posted"


async def test_tokens_are_taken_until_none_is_left_and_come_back_with_time(store: DeliveryStore) -> None:
    """Two instances take from one bucket; what is to be left in it is left, and another number has its own."""
    slow = partial(store.take_tokens, NUMBER, rate=0.001, burst=10.0)
    assert await slow(4, leave=2.5) == 4
    taken = await asyncio.gather(*(slow(2, leave=2.5) for _ in range(4)))
    assert sorted(taken) == [0, 0, 1, 2]
    assert await slow(4, leave=0.0) == 3
    assert await store.take_tokens("+12125550199", 20, leave=0.0, rate=0.001, burst=10.0) == 10
    began = monotonic_s()
    fast = partial(store.take_tokens, NUMBER, 100, leave=0.0, rate=50.0, burst=10.0)
    found = 0
    while found < 15:
        found += await fast()
    assert found <= 50 * (monotonic_s() - began) + 1


async def test_texts_of_branches_that_are_left_out_stay_unclaimed(store: DeliveryStore) -> None:
    await store.insert(another(1, branch_id="new-york"))
    await store.insert(another(2, branch_id="denver"))
    by = DeliveryClaim(by="me", at_real=REAL, until_real=UNTIL)
    found = await store.claim_due("urgent", 5, by, OPEN, without=["new-york"])
    assert [one.touch_id for one in found] == ["touch-2"]


async def test_idle_while_nothing_is_due_yet(store: DeliveryStore) -> None:
    await store.insert(another(1, not_before=OPEN + timedelta(seconds=1)))
    assert await store.busy(OPEN) is None
    assert await store.busy(OPEN + timedelta(seconds=1)) == "texts due"


async def test_ended_delivery_is_never_due(store: DeliveryStore) -> None:
    for n, state in enumerate(set(DeliveryState) - {DeliveryState.ACCEPTED}):
        await store.insert(another(n, state=state))
    assert await claim(store) == []


async def test_borrower_is_card_owner_and_suppression_in_one_read(store: DeliveryStore, put: Put) -> None:
    await put("leads", {**card(seen=["a"]), "task": {"state": "open"}, "outbox": []})
    await put("officers", {"_id": "dana-whitfield", "status": "in_meeting", "rev": 7})
    found = await store.borrower(LEAD, "hmac")
    assert found.card is not None
    assert found.owner is not None
    assert (found.card.seen, found.owner.status, found.suppressed) == (("a",), "in_meeting", False)
    await put("suppressions", {"_id": "hmac", "active": True})
    assert (await store.borrower(LEAD, "hmac")).suppressed
    assert (await store.borrower("no-lead", "hmac")).suppressed
    await put("suppressions", {"_id": "hmac", "active": False})
    assert not (await store.borrower(LEAD, "hmac")).suppressed


async def test_borrower_without_lead_or_owner_is_none_not_an_error(store: DeliveryStore, put: Put) -> None:
    assert (await store.borrower(LEAD, "hmac")).card is None
    await put("leads", card(owner_id=None))
    assert (await store.borrower(LEAD, "hmac")).owner is None


async def test_key_that_made_the_suppressions_is_the_only_one(store: DeliveryStore) -> None:
    await store.start("check")
    with pytest.raises(NumberKeyDiffers):
        await store.start("another")


async def broken(put: Put, store: DeliveryStore, n: int, **more: Any) -> None:
    """Have a delivery stored that this version cannot read."""
    await store.insert(another(n, **more))
    at_least = {"_id": f"touch-{n}", "rev": 1, "state": "accepted", "lane": "urgent", "not_before": OPEN}
    await put("deliveries", {**at_least, "outbox": [], **more})


async def test_deliveries_that_cannot_be_read_are_told_apart_and_take_nobodys_place(
    store: DeliveryStore, put: Put
) -> None:
    for n in range(3):
        await broken(put, store, n)
    await store.insert(another(7, not_before=OPEN + timedelta(seconds=1)))
    now, by = OPEN + timedelta(seconds=1), DeliveryClaim(by="me", at_real=REAL, until_real=UNTIL)
    found = await store.claim_due("urgent", 1, by, now)
    assert [one.touch_id for one in found if isinstance(one, Delivery)] == ["touch-7"]
    assert {one.touch_id for one in found if isinstance(one, BrokenDelivery)} == {"touch-0", "touch-1", "touch-2"}


async def test_outbox_and_doubt_that_cannot_be_read_are_told_apart_and_take_nobodys_place(
    store: DeliveryStore, put: Put
) -> None:
    early = {"outbox_since_real": REAL, "post_by_real": REAL, "state": "posting"}
    await broken(put, store, 1)
    await put("deliveries", {"_id": "touch-1", "rev": 1, "outbox": [], **early})
    waiting = decide(posting(another(2)), ProviderAccepted("SM1"), OPEN, REAL + timedelta(seconds=1)).delivery
    await store.insert(waiting)
    await store.insert(posting(another(3)))
    later = REAL + timedelta(minutes=1)
    for found, name in ((await store.outboxes(later, 1), "touch-2"), (await store.in_doubt(later, 1), "touch-3")):
        assert [one.touch_id for one in found if isinstance(one, Delivery)] == [name]
        assert [one.touch_id for one in found if isinstance(one, BrokenDelivery)] == ["touch-1"]
    assert [one.touch_id for one in await store.outboxes(later, 1, 1)] == ["touch-2"], "the broken one was passed"


async def test_asking_for_a_delivery_or_a_card_that_cannot_be_read_says_so(store: DeliveryStore, put: Put) -> None:
    await put("deliveries", {"_id": "touch-1", "rev": 1, "state": "of a newer version", "outbox": [], "sid": "SM1"})
    for asked in (store.get("touch-1"), store.find_by_sid("SM1")):
        with pytest.raises(UnreadableDocument, match="touch-1"):
            await asked
    await put("leads", {"_id": LEAD, "texting": "of a newer version"})
    with pytest.raises(UnreadableDocument, match=LEAD):
        await store.borrower(LEAD, "hmac")


async def test_delivery_that_is_too_large_is_refused_for_good(store: DeliveryStore) -> None:
    huge = another(1, reason="x" * 17_000_000)
    with pytest.raises(StoreRefused):
        await store.insert(huge)
    await store.insert(another(1))
    with pytest.raises(StoreRefused):
        await store.save(huge)
    assert await store.get("touch-1") == another(1)


async def test_while_borrowers_are_held_only_officers_and_expired_texts_are_claimed(store: DeliveryStore) -> None:
    await store.insert(another(1))
    await store.insert(another(2, audience="officer"))
    await store.insert(another(3, expires_at=OPEN))
    by = DeliveryClaim(by="me", at_real=REAL, until_real=UNTIL)
    found = await store.claim_due("urgent", 9, by, OPEN, borrowers_held=True)
    assert {one.touch_id for one in found} == {"touch-2", "touch-3"}
    assert [one.touch_id for one in await store.claim_due("urgent", 9, by, OPEN)] == ["touch-1"]


async def test_expired_texts_are_claimed_by_themselves_the_longest_expired_first(store: DeliveryStore) -> None:
    await store.insert(another(1))
    await store.insert(another(2, expires_at=OPEN))
    await store.insert(another(3, expires_at=OPEN - timedelta(seconds=1)))
    await store.insert(another(4, expires_at=OPEN, lane="bulk"))
    await store.insert(another(5, expires_at=OPEN, not_before=OPEN + timedelta(seconds=1)))
    by = DeliveryClaim(by="me", at_real=REAL, until_real=UNTIL)
    found = [await store.claim_due("urgent", 1, by, OPEN, expired_only=True) for _ in range(3)]
    assert [[one.touch_id for one in some] for some in found] == [["touch-3"], ["touch-2"], []]


async def test_results_that_are_acknowledged_twice_are_kept_once_and_in_their_order(store: DeliveryStore) -> None:
    sent = decide(posting(another(1)), ProviderAccepted("SM1"), OPEN, REAL).delivery
    await store.insert(sent)
    for _ in range(2):
        await store.pull(sent, [entry.id for entry in sent.outbox])
    found = await store.get("touch-1")
    assert found is not None
    assert (found.told, found.outbox, found.outbox_since_real) == (sent.outbox, (), None)
