"""What both stores promise of `suppressions`: each word of a number is taken once, in its order."""

import asyncio
from datetime import UTC, datetime, timedelta

from services.leads.adapters.store import HISTORY_LIMIT, UNREAD_REPLY, LeadStore
from services.runtime.mongo_errors import StoreAway
from tests.contract.leads.conftest import Documents

NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)


async def test_number_is_suppressed_until_it_is_taken_back_and_again(store: LeadStore) -> None:
    assert not await store.is_suppressed("h")
    await store.unsuppress("h", "larkspur", NOW, "e0")
    assert not await store.is_suppressed("h")
    for _ in range(2):
        await store.suppress("h", "larkspur", NOW, "keyword", "e1")
    assert await store.is_suppressed("h")
    await store.unsuppress("h", "larkspur", NOW, "e2")
    assert not await store.is_suppressed("h")
    await store.suppress("h", "larkspur", LATER, "carrier", "e3")
    assert await store.is_suppressed("h")


async def test_word_that_a_number_has_taken_changes_nothing_when_it_is_repeated(
    store: LeadStore, documents: Documents
) -> None:
    """A late copy of START must not undo the STOP that came after it, also where no opt-out was before it."""
    await store.unsuppress("h", "larkspur", NOW, "start")
    assert await store.suppress("h", "larkspur", LATER, "keyword", "stop")
    await store.unsuppress("h", "larkspur", NOW, "start")
    assert await store.is_suppressed("h")
    await store.unsuppress("h", "larkspur", LATER, "start again")
    assert not await store.suppress("h", "larkspur", LATER, "keyword", "stop")
    assert not await store.is_suppressed("h")
    stored = await documents("suppressions", "h")
    assert [word["event_id"] for word in stored["history"]] == ["start", "stop", "start again"]
    assert (stored["event_id"], stored["lender_id"], stored["at"]) == ("start again", "larkspur", LATER)


async def test_start_from_before_the_opt_out_changes_nothing_and_an_unread_text_is_none(store: LeadStore) -> None:
    assert await store.suppress("h", "larkspur", LATER, "keyword", "stop")
    assert not await store.unsuppress("h", "larkspur", NOW, "late start")
    assert await store.is_suppressed("h")
    assert await store.unsuppress("h", "larkspur", LATER, "start")
    assert await store.unsuppress("h", "larkspur", LATER, "start")
    assert not await store.is_suppressed("h")
    await store.suppress("g", "larkspur", LATER, UNREAD_REPLY, "unread")
    assert await store.unsuppress("g", "larkspur", NOW, "start")


async def test_start_that_stood_before_unread_texts_is_kept_and_opens_the_number_once_they_are_lifted(
    store: LeadStore, documents: Documents
) -> None:
    """START, a text and another could not be read; START alone is replayed."""
    unread = ["unread:replies:3:9", "unread:replies:3:10", "unread:replies:3:11"]
    for word in unread:
        await store.suppress("h", "larkspur", LATER, UNREAD_REPLY, word)
    for _ in range(2):
        assert await store.unsuppress("h", "larkspur", NOW, "start", first_stood=(3, 9))
    history = (await documents("suppressions", "h"))["history"]
    assert [word["event_id"] for word in history] == [unread[0], "start", *unread[1:]]
    for word in unread:
        assert (await documents("suppressions", "h"))["active"] is True
        assert not await store.is_suppressed("h")
        assert await store.lift("h", word)
    assert ((await documents("suppressions", "h"))["active"], await store.is_suppressed("h")) == (False, False)


async def test_start_that_stood_behind_all_unread_texts_opens_the_number_at_once(
    store: LeadStore, documents: Documents
) -> None:
    await store.suppress("h", "larkspur", LATER, UNREAD_REPLY, "unread:replies:3:9")
    assert await store.unsuppress("h", "larkspur", NOW, "start", first_stood=(3, 10))
    assert (await documents("suppressions", "h"))["active"] is False
    assert await store.unsuppress("g", "larkspur", NOW, "start", first_stood=(3, 10))
    assert (await documents("suppressions", "g"))["active"] is False


async def test_start_from_before_an_opt_out_is_refused_also_where_unread_texts_came_after_it(store: LeadStore) -> None:
    await store.suppress("h", "larkspur", LATER, UNREAD_REPLY, "unread:replies:3:9")
    await store.suppress("h", "larkspur", LATER, "keyword", "stop")
    assert not await store.unsuppress("h", "larkspur", NOW, "start", first_stood=(3, 8))
    assert await store.is_suppressed("h")


async def test_opt_out_from_before_an_opt_in_yields_to_it_though_an_unread_text_came_last(store: LeadStore) -> None:
    await store.unsuppress("h", "larkspur", LATER, "start")
    await store.suppress("h", "larkspur", LATER, UNREAD_REPLY, "unread:replies:3:9")
    assert not await store.suppress("h", "larkspur", NOW, "keyword", "stop", unless_opted_in_since=True)
    assert not await store.is_suppressed("h")


async def test_number_keeps_its_newest_words_only(store: LeadStore, documents: Documents) -> None:
    for n in range(HISTORY_LIMIT + 2):
        await store.suppress("h", "larkspur", NOW, "keyword", f"e{n}")
    history = (await documents("suppressions", "h"))["history"]
    assert (len(history), history[-1]["event_id"]) == (HISTORY_LIMIT, f"e{HISTORY_LIMIT + 1}")


async def test_opt_out_from_before_the_last_opt_in_yields_to_it_where_asked(store: LeadStore) -> None:
    await store.unsuppress("h", "larkspur", NOW, "start")
    before, after = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    for _ in range(2):
        assert not await store.suppress("h", "larkspur", before, "carrier", "e1", unless_opted_in_since=True)
    assert await store.suppress("h", "larkspur", after, "carrier", "e2", unless_opted_in_since=True)
    assert await store.suppress("h", "larkspur", before, "carrier", "e1", unless_opted_in_since=True)


async def test_words_of_one_number_taken_at_the_same_moment_are_all_taken(
    store: LeadStore, documents: Documents
) -> None:
    async def say(n: int) -> None:
        while True:
            try:
                await store.suppress("h", "larkspur", NOW, "keyword", f"e{n}")
                return
            except StoreAway:
                continue  # two have met at the first word; the loop tries again

    await asyncio.gather(*(say(n) for n in range(8)))
    history = (await documents("suppressions", "h"))["history"]
    assert sorted(word["event_id"] for word in history) == [f"e{n}" for n in range(8)]


async def test_number_was_suppressed_until_the_event_that_took_it_back(store: LeadStore) -> None:
    assert not await store.was_suppressed("h", "yes")
    await store.suppress("h", "larkspur", NOW, "keyword", "stop")
    assert await store.was_suppressed("h", "yes")
    await store.unsuppress("h", "larkspur", LATER, "yes")
    assert await store.was_suppressed("h", "yes")
    assert not await store.was_suppressed("h", "another")


async def test_key_check_is_made_by_the_first_and_compared_by_all(store: LeadStore) -> None:
    assert await store.check_key("k1")
    assert await store.check_key("k1")
    assert not await store.check_key("k2")


async def test_word_that_is_lifted_leaves_the_number_as_it_stood_without_it(
    store: LeadStore, documents: Documents
) -> None:
    """A text that nobody could read keeps texts away, is no opt-out, and leaves no trace once it is lifted."""
    await store.suppress("h", "larkspur", NOW, UNREAD_REPLY, "u1")
    assert ((await documents("suppressions", "h"))["active"], await store.is_suppressed("h")) == (True, False)
    await store.suppress("h", "larkspur", LATER, UNREAD_REPLY, "u2")
    assert await store.lift("h", "u1")
    assert (await documents("suppressions", "h"))["active"] is True
    assert await store.lift("h", "u2")
    assert not await store.lift("h", "u2")
    assert (await documents("suppressions", "h"))["active"] is False
    await store.suppress("h", "larkspur", NOW, "keyword", "stop")
    await store.suppress("h", "larkspur", LATER, UNREAD_REPLY, "u3")
    assert await store.lift("h", "u3")
    stored = await documents("suppressions", "h")
    assert (stored["active"], stored["why"], stored["event_id"], stored["at"]) == (True, "keyword", "stop", NOW)
    assert not await store.lift("nobody", "u1")
