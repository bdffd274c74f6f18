"""Ten thousand bulk texts wait in MongoDB: nothing that is claimed costs more because of them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from services.notifier.adapters.documents import to_document
from services.notifier.adapters.mongo import MongoDeliveries
from services.notifier.adapters.store import DeliveryClaim, Found
from services.notifier.domain.delivery import Delivery
from tests.infra.profile import profiled
from tests.infra.providers import Mongo
from tests.unit.notifier.build import OPEN, REAL, delivery

WAITING = 10_000
NOW = OPEN + timedelta(seconds=WAITING)
CLAIM = DeliveryClaim(by="test", at_real=REAL, until_real=REAL + timedelta(seconds=15))


@pytest.fixture
async def store(mongo: Mongo, database: Any) -> AsyncIterator[MongoDeliveries]:
    """The real store, with the bulk texts of one branch and an urgent one that is the newest."""
    found = MongoDeliveries(mongo.url, database.name)
    await found.start("check")
    bulk = [
        delivery(touch_id=f"bulk-{n}", step=f"bulk-{n}", lane="bulk", not_before=OPEN + timedelta(seconds=n))
        for n in range(WAITING)
    ]
    await database["deliveries"].insert_many([to_document(one) for one in bulk], ordered=False)
    await found.insert(delivery(touch_id="urgent", lane="urgent", not_before=NOW))
    yield found
    await found.stop()


def names(found: Found) -> list[str]:
    return [one.touch_id for one in found if isinstance(one, Delivery)]


async def test_urgent_text_is_claimed_past_ten_thousand_bulk_ones_without_a_look_at_them(
    store: MongoDeliveries, database: Any
) -> None:
    async with profiled(database, "deliveries") as profile:
        assert names(await store.claim_due("urgent", 20, CLAIM, NOW)) == ["urgent"]
        assert await profile.examined() == 1


async def test_claim_of_bulk_texts_looks_at_no_more_than_it_takes(store: MongoDeliveries, database: Any) -> None:
    async with profiled(database, "deliveries") as profile:
        assert names(await store.claim_due("bulk", 20, CLAIM, NOW)) == [f"bulk-{n}" for n in range(20)]
        assert await profile.examined() == 20


async def test_bulk_texts_whose_number_may_send_no_more_now_are_not_looked_at(
    store: MongoDeliveries, database: Any
) -> None:
    async with profiled(database, "deliveries") as profile:
        assert names(await store.claim_due("bulk", 20, CLAIM, NOW, without=["new-york"])) == []
        assert await profile.examined() == 0
