"""What both stores promise of old outboxes: one order, batch after batch."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from schemas.envelope import Wire
from services.leads.adapters.mongo import MongoLeads
from services.leads.adapters.store import LeadStore
from services.leads.domain.model import OutboxEntry
from tests.contract.leads.test_store import FULL_LEAD, NOW
from tests.infra.profile import profiled

LATER = NOW + timedelta(seconds=5)
ENTRY = OutboxEntry(1, Wire(topic="leads", key=b"k", value=b"{}", headers=[]))


async def test_outboxes_come_the_oldest_first_and_those_behind_one_of_them_without_the_ones_before(
    store: LeadStore, database: Any
) -> None:
    for n, since in enumerate((LATER, NOW, NOW, NOW, LATER)):
        lead = replace(FULL_LEAD, lead_id=f"L{n}", caller=f"+1718555{n:04d}", lead_seq=1, outbox=(ENTRY,))
        assert await store.insert_lead(lead, since)
    async with profiled(database, "leads") as profile:
        pages = [await store.outboxes_left(LATER, 2)]
        while len(pages[-1]) == 2:
            pages.append(await store.outboxes_left(LATER, 2, pages[-1][-1]))
    assert [[one.lead_id for one in page] for page in pages] == [["L1", "L2"], ["L3", "L0"], ["L4"]]
    if isinstance(store, MongoLeads):
        assert not await profile.sorted(), "the index has this order"
