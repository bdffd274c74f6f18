"""A borrower's text that nobody could read may be a STOP: its sender gets no texts until somebody has looked at it."""

from dataclasses import dataclass, field

import pytest

from services.leads.unread import Unread
from services.policy.suppression import suppression_id
from services.runtime.errors import PermanentError
from tests.unit.leads.events import CALLER, LENDER, InboundCall, text
from tests.unit.leads.rig import NUMBER_KEY, Rig

NUMBER = suppression_id(NUMBER_KEY, LENDER, CALLER)
WHY = PermanentError("not to be read")


@dataclass
class Unreadable:
    """A record that no version of ours can decode."""

    topic: str = "replies"
    partition: int = 3
    offset: int = 41
    key: bytes | None = f"{LENDER}:{CALLER}".encode()
    value: bytes | None = b"\xff"
    headers: list[tuple[str, bytes]] = field(default_factory=list)


def _unread(rig: Rig) -> Unread:
    return Unread(rig.store, rig.clock, NUMBER_KEY)


def _gets_texts(rig: Rig) -> bool:
    """Return what the notifier's gate reads."""
    return not rig.store.suppressions.get(NUMBER, {}).get("active", False)


async def test_sender_of_a_text_that_becomes_a_dead_letter_gets_no_texts_until_it_is_lifted(rig: Rig) -> None:
    record = Unreadable()
    for _ in range(2):
        await _unread(rig).before_dead_letter(record, WHY)
    assert not _gets_texts(rig)
    assert CALLER not in str(rig.store.suppressions)
    assert await _unread(rig).lift(record.key, record.topic, record.partition, record.offset)
    assert _gets_texts(rig)
    assert not await _unread(rig).lift(record.key, record.topic, record.partition, record.offset)


async def test_start_lifts_what_an_unread_text_has_suppressed(rig: Rig) -> None:
    await _unread(rig).before_dead_letter(Unreadable(), WHY)
    await rig.give(text("START"))
    assert _gets_texts(rig)


async def test_opt_out_outlives_the_unread_text_after_it(rig: Rig) -> None:
    await rig.give(text("STOP"))
    await _unread(rig).before_dead_letter(Unreadable(), WHY)
    await _unread(rig).lift(Unreadable().key, "replies", 3, 41)
    assert not _gets_texts(rig)
    assert await rig.store.is_suppressed(NUMBER)


async def test_lead_made_meanwhile_is_not_opted_out_for_good(rig: Rig) -> None:
    await _unread(rig).before_dead_letter(Unreadable(), WHY)
    await rig.give(*InboundCall().missed(), text("yes"))
    assert (rig.lead()["texting"], rig.types[-1]) == ("open", "lead.replied")
    assert not _gets_texts(rig)


@pytest.mark.parametrize(
    "record",
    [Unreadable(topic="call-events"), Unreadable(key=None), Unreadable(key=b"larkspur:call:CA1"), Unreadable(key=b"x")],
    ids=["another topic", "no key", "a call's key", "no lender"],
)
async def test_record_that_names_no_borrowers_text_suppresses_nobody(rig: Rig, record: Unreadable) -> None:
    await _unread(rig).before_dead_letter(record, WHY)
    assert rig.store.suppressions == {}
    assert not await _unread(rig).lift(record.key, record.topic, record.partition, record.offset)
