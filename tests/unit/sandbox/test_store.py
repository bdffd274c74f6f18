"""What the sandbox remembers is bounded; opt-outs hold for a pair of phone and sender."""

from datetime import UTC, datetime

import pytest

from deploy.sandbox.model import Message, new_sid
from deploy.sandbox.store import Store, keyword

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def text(store: Store, to: str = "+15125550134", from_: str = "+15550006001") -> Message:
    message = Message(
        n=store.next_n(),
        sid=new_sid("SM"),
        direction="outbound-api",
        from_=from_,
        to=to,
        body="x",
        status="queued",
        created_at=NOW,
        received_real=NOW,
    )
    store.add(message)
    return message


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("STOP", "STOP"),
        (" stop\n", "STOP"),
        ("Optout", "STOP"),
        ("STOP PLEASE", None),
        ("stop.", None),
        ("Yes", "START"),
    ],
)
def test_only_exact_single_words_are_twilios_keywords(body: str, word: str | None) -> None:
    assert keyword(body) == word


def test_full_store_forgets_the_oldest_everywhere() -> None:
    store = Store(keep_messages=3, keep_requests=10)
    kept = [text(store, to=f"+1512555000{n}") for n in range(5)][2:]
    assert list(store.newest_first()) == kept[::-1]
    assert list(store.newest_first("+15125550000")) == []
    assert list(store.newest_first("+15550006001")) == kept[::-1]
    assert store.totals == {"outbound": 5, "inbound": 0, "forgotten": 2}


def test_opt_in_without_opt_out_changes_nothing() -> None:
    store = Store(10, 10)
    assert store.opt_in("+15125550134", "+15550006001") is False
    store.opt_out("+15125550134", "+15550006001")
    assert store.opt_in("+15125550134", "+15550006002") is False
    assert store.opt_in("+15125550134", "+15550006001") is True
