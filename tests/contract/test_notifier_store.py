"""One suite for the notifier's documents, on the fake and on real MongoDB."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.notifier.adapters.mongo import FakeStore, MongoStore, Store
from services.notifier.domain.delivery import Delivery, State
from services.notifier.domain.facts import GateClosed, PostingStarts, ProviderAccepted
from services.notifier.domain.machine import decide
from services.notifier.errors import NumberKeyDiffers
from tests.infra.providers import Mongo
from tests.unit.notifier.build import LEAD, OPEN, REAL, TEXT, card, delivery

UNTIL = REAL + timedelta(seconds=15)


class Leads:
    """leads' side: documents that the notifier only reads."""

    def __init__(self, fake: FakeStore | None, database: Any) -> None:
        self._fake, self._database = fake, database

    async def put(self, collection: str, document: dict[str, Any]) -> None:
        if self._fake is not None:
            getattr(self._fake, collection)[document["_id"]] = document
        else:
            await self._database[collection].replace_one({"_id": document["_id"]}, document, upsert=True)


@pytest.fixture(params=["fake", "real"])
async def both(request: pytest.FixtureRequest, mongo: Mongo) -> AsyncIterator[tuple[Store, Leads]]:
    if request.param == "fake":
        fake = FakeStore()
        await fake.start("check")
        yield fake, Leads(fake, None)
        return
    name = f"contract_{datetime.now(UTC).timestamp():.6f}".replace(".", "_")
    store = MongoStore(mongo.url, name)
    await store.start("check")
    try:
        yield store, Leads(None, store._db)
    finally:
        await store._client.drop_database(name)
        await store.stop()


@pytest.fixture
def store(both: tuple[Store, Leads]) -> Store:
    return both[0]


@pytest.fixture
def leads(both: tuple[Store, Leads]) -> Leads:
    return both[1]


def another(n: int, **more: Any) -> Delivery:
    return delivery(**{"touch_id": f"touch-{n}", "step": f"step-{n}", **more})


def posting(found: Delivery) -> Delivery:
    return decide(found, PostingStarts(TEXT, REAL + timedelta(seconds=10)), OPEN, REAL).delivery


async def claim(store: Store, *lanes: Any, limit: int = 10, now: datetime = OPEN, real: datetime = REAL) -> list[str]:
    found = await store.claim_due(
        lanes or ("urgent", "normal", "bulk"), limit, "me", now, real, real + timedelta(seconds=15)
    )
    return [one.touch_id for one in found]


async def test_what_is_stored_comes_back_as_it_was(store: Store) -> None:
    told = posting(another(1)).claimed("me", UNTIL, REAL)
    assert await store.insert(told)
    assert await store.get("touch-1") == told
    sent = decide(told, ProviderAccepted("SM1"), OPEN, REAL).delivery
    assert await store.save(sent) == "saved"
    assert await store.find_by_sid("SM1") == replace(sent, rev=2)
    assert await store.get("nothing") is None


async def test_second_insert_of_a_touch_changes_nothing(store: Store) -> None:
    assert await store.insert(another(1))
    assert not await store.insert(another(1, template="other"))
    assert await store.get("touch-1") == another(1)


async def test_write_on_an_old_rev_changes_nothing(store: Store) -> None:
    await store.insert(another(1))
    assert await store.save(another(1, reason="first")) == "saved"
    assert await store.save(another(1, reason="second")) == "moved"
    found = await store.get("touch-1")
    assert found is not None
    assert (found.reason, found.rev) == ("first", 2)


async def test_two_deliveries_never_hold_one_step_or_one_sid(store: Store) -> None:
    first, second = another(1, step="s"), another(2, step="s")
    await store.insert(first)
    await store.insert(second)
    assert await store.save(posting(first)) == "saved"
    assert await store.save(posting(second)) == "sent_key_taken"
    sent = decide(posting(first), ProviderAccepted("SM1"), OPEN, REAL).delivery
    assert await store.save(replace(sent, rev=2)) == "saved"
    assert await store.save(replace(second, sid="SM1")) == "sid_taken"


async def test_deliveries_without_step_key_or_sid_are_many(store: Store) -> None:
    assert [await store.insert(another(n)) for n in range(3)] == [True] * 3


async def test_due_ones_are_claimed_urgent_first_then_by_time_and_only_once(store: Store) -> None:
    for n, (lane, wait) in enumerate([("bulk", 0), ("normal", 0), ("urgent", 0), ("urgent", -5), ("urgent", 60)]):
        await store.insert(another(n, lane=lane, not_before=OPEN + timedelta(seconds=wait)))
    assert await claim(store, limit=3) == ["touch-3", "touch-2", "touch-1"]
    assert await claim(store) == ["touch-0"]
    assert await claim(store) == []
    assert await claim(store, now=OPEN + timedelta(seconds=60)) == ["touch-4"]


async def test_claim_lapses_and_only_accepted_ones_are_taken_over(store: Store) -> None:
    await store.insert(another(1).claimed("other", UNTIL, REAL))
    await store.insert(posting(another(2)).claimed("other", UNTIL, REAL))
    assert await claim(store) == []
    assert await claim(store, real=UNTIL) == ["touch-1"]
    found = await store.get("touch-1")
    assert found is not None
    assert (found.claim_by, found.rev) == ("me", 2)
    assert await store.save(another(1)) == "moved", "whoever lost it"


async def test_lanes_not_asked_for_are_left(store: Store) -> None:
    await store.insert(another(1, lane="bulk"))
    assert await claim(store, "urgent") == []


async def test_outbox_is_pulled_entry_by_entry_and_its_mark_goes_with_the_last(store: Store) -> None:
    held = decide(another(1), GateClosed("opted_out"), OPEN, REAL).delivery
    await store.insert(another(1))
    await store.save(held)
    (waiting,) = await store.claim_outbox(REAL + timedelta(seconds=1), 10)
    assert await store.claim_outbox(REAL, 10) == []
    assert await store.busy(OPEN) == "results not emitted"
    await store.pull(waiting, ["another id"])
    assert len(await store.claim_outbox(REAL + timedelta(seconds=1), 10)) == 1
    await store.pull(waiting, [entry.id for entry in waiting.outbox])
    assert await store.claim_outbox(REAL + timedelta(seconds=1), 10) == []
    assert await store.busy(OPEN) is None
    assert await store.save(waiting) == "moved", "a pull is a write"


async def test_posting_past_its_time_is_found_by_then(store: Store) -> None:
    await store.insert(posting(another(1)))
    assert await store.in_doubt(REAL + timedelta(seconds=10), 10) == []
    assert [one.touch_id for one in await store.in_doubt(REAL + timedelta(seconds=11), 10)] == ["touch-1"]
    assert await store.busy(OPEN) == "texts being posted"


async def test_idle_while_nothing_is_due_yet(store: Store) -> None:
    await store.insert(another(1, not_before=OPEN + timedelta(seconds=1)))
    assert await store.busy(OPEN) is None
    assert await store.busy(OPEN + timedelta(seconds=1)) == "texts due"


async def test_ended_delivery_is_never_due(store: Store) -> None:
    for n, state in enumerate(set(State) - {State.ACCEPTED}):
        await store.insert(another(n, state=state))
    assert await claim(store) == []


async def test_borrower_is_card_owner_and_suppression_in_one_read(store: Store, leads: Leads) -> None:
    await leads.put("leads", {**card(seen=["a"]), "task": {"state": "open"}, "outbox": []})
    await leads.put("officers", {"_id": "dana-whitfield", "status": "in_meeting", "rev": 7})
    found = await store.borrower(LEAD, "hmac")
    assert found.card is not None
    assert found.owner is not None
    assert (found.card.seen, found.owner.status, found.suppressed) == (("a",), "in_meeting", False)
    await leads.put("suppressions", {"_id": "hmac", "active": True})
    assert (await store.borrower(LEAD, "hmac")).suppressed
    assert (await store.borrower("no-lead", "hmac")).suppressed
    await leads.put("suppressions", {"_id": "hmac", "active": False})
    assert not (await store.borrower(LEAD, "hmac")).suppressed


async def test_borrower_without_lead_or_owner_is_none_not_an_error(store: Store, leads: Leads) -> None:
    assert (await store.borrower(LEAD, "hmac")).card is None
    await leads.put("leads", card(owner_id=None))
    assert (await store.borrower(LEAD, "hmac")).owner is None


async def test_key_that_made_the_suppressions_is_the_only_one(store: Store) -> None:
    await store.start("check")
    with pytest.raises(NumberKeyDiffers):
        await store.start("another")
