"""A borrower's text that nobody could read may be a STOP: its sender gets no texts until somebody has looked at it."""

from dataclasses import dataclass, field, replace
from typing import Literal

import pytest

from schemas.base import EventData
from schemas.envelope import Event
from schemas.inbound import ReplyLookedAt
from services.leads.unread import Unread
from services.policy.suppression import suppression_id
from services.runtime.errors import PermanentError
from services.runtime.handled import APPLIED, ignored
from tests.unit.leads.events import CALLER, LENDER, InboundCall, at, event, text
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


def _looked_at(offset: int = 41, how: Literal["replayed", "dropped"] = "replayed") -> Event[EventData]:
    """Return what `ringback dlq` sends about the unreadable text."""
    looked_at = ReplyLookedAt(partition=3, offset=offset, how=how, looked_at=at(600))
    return event(f"replies:3:{offset}:{how}", looked_at, 600)


def _gets_texts(rig: Rig) -> bool:
    """Return what the notifier's gate reads."""
    return not rig.store.suppressions.get(NUMBER, {}).get("active", False)


async def test_sender_of_a_text_that_becomes_a_dead_letter_gets_no_texts_until_it_is_lifted(rig: Rig) -> None:
    record = Unreadable()
    for _ in range(2):
        await _unread(rig).before_dead_letter(record, WHY)
    assert not _gets_texts(rig)
    assert CALLER not in str(rig.store.suppressions)
    assert await rig.give(_looked_at()) == [APPLIED]
    assert _gets_texts(rig)
    assert await rig.give(_looked_at()) == [ignored("lifted_already")]


async def test_text_that_still_cannot_be_read_when_it_is_replayed_keeps_its_sender_suppressed(rig: Rig) -> None:
    await _unread(rig).before_dead_letter(Unreadable(), WHY)
    await _unread(rig).before_dead_letter(Unreadable(offset=57), WHY)
    await rig.give(_looked_at())
    assert not _gets_texts(rig)
    await rig.give(_looked_at(offset=57, how="dropped"))
    assert _gets_texts(rig)


async def test_stop_that_is_replayed_outlives_the_suppression_of_the_unread_text(rig: Rig) -> None:
    await _unread(rig).before_dead_letter(Unreadable(), WHY)
    await rig.give(text("STOP"), _looked_at())
    assert not _gets_texts(rig)
    assert await rig.store.is_suppressed(NUMBER)


async def test_start_lifts_what_an_unread_text_has_suppressed(rig: Rig) -> None:
    await _unread(rig).before_dead_letter(Unreadable(), WHY)
    await rig.give(text("START"))
    assert _gets_texts(rig)


@pytest.mark.parametrize("read_again", [False, True], ids=["dropped", "replayed"])
async def test_start_that_is_replayed_leaves_in_force_what_was_written_after_it_and_nobody_has_read(
    rig: Rig, read_again: bool
) -> None:
    """START and then STOP could not be read; START alone is replayed, and texts stay away until STOP is looked at."""
    for offset in (41, 57):
        await _unread(rig).before_dead_letter(Unreadable(offset=offset), WHY)
    await rig.give(*InboundCall().missed())
    start = replace(text("START", "SM1", 60), first_stood=(3, 41))
    await rig.give(start, _looked_at(), start)
    assert not _gets_texts(rig)
    if read_again:
        await rig.give(replace(text("STOP", "SM2", 90), first_stood=(3, 57)))
    await rig.give(_looked_at(offset=57, how="replayed" if read_again else "dropped"))
    assert (_gets_texts(rig), rig.lead()["texting"]) == ((False, "stopped") if read_again else (True, "open"))


async def test_start_that_is_replayed_lifts_what_was_written_before_it(rig: Rig) -> None:
    for offset in (41, 57):
        await _unread(rig).before_dead_letter(Unreadable(offset=offset), WHY)
    await rig.give(replace(text("START"), first_stood=(3, 57)))
    assert _gets_texts(rig)


async def test_opt_out_outlives_the_unread_text_after_it(rig: Rig) -> None:
    await rig.give(text("STOP"))
    await _unread(rig).before_dead_letter(Unreadable(), WHY)
    await rig.give(_looked_at(how="dropped"))
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


async def test_start_that_is_replayed_after_a_later_stop_opts_nobody_in(rig: Rig) -> None:
    """A dead letter is older than what the borrower has said since."""
    start = text("START", "SM1", 0)
    await rig.give(*InboundCall().missed(), text("STOP", "SM2", 60))
    for _ in range(2):
        await rig.give(start)
    assert not _gets_texts(rig)
    assert (rig.lead()["texting"], "lead.opted_in" in rig.types) == ("stopped", False)
    await rig.give(text("START", "SM3", 90))
    assert (_gets_texts(rig), rig.lead()["texting"]) == (True, "open")
