"""The sandbox's pure parts: borrowers, fault rules, the store and what a webhook URL asks for."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from deploy.sandbox.borrowers import Script, behavior, scripted
from deploy.sandbox.faults import Faults, FaultSpec
from deploy.sandbox.model import Message, new_sid
from deploy.sandbox.settings import SandboxSettings, Shares
from deploy.sandbox.store import Store, keyword
from deploy.sandbox.webhooks import Target
from services.policy.gsm import segments

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
NUMBERS = [f"+1512555{n:04d}" for n in range(4000)]


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


def test_borrower_asked_twice_does_the_same_and_another_seed_differs() -> None:
    one = [behavior(number, 1, Shares()) for number in NUMBERS[:200]]
    assert one == [behavior(number, 1, Shares()) for number in NUMBERS[:200]]
    assert one != [behavior(number, 2, Shares()) for number in NUMBERS[:200]]


def test_borrowers_together_keep_their_shares() -> None:
    kinds = Counter(behavior(number, 1, Shares()).kind for number in NUMBERS)
    expected = {"silent": 0.45, "reply": 0.40, "opt_out": 0.06, "help": 0.03, "undelivered": 0.06}
    assert {kind: round(count / len(NUMBERS), 2) for kind, count in kinds.items()} == pytest.approx(expected, abs=0.03)


def test_borrowers_opt_out_by_keyword_and_in_their_own_words() -> None:
    bodies = [behavior(number, 1, Shares(opt_out=0.5)).replies for number in NUMBERS]
    kinds = {keyword(replies[0].body) for replies in bodies if replies}
    assert {"STOP", None} <= kinds


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="must not exceed 1"):
        Shares(reply=0.9, opt_out=0.2)


def test_scripted_replies_answer_in_turn_unless_they_name_their_text() -> None:
    who = scripted(
        Script.model_validate(
            {
                "number": "+15125550134",
                "replies": [{"body": "a"}, {"body": "b"}, {"body": "c", "to_text": 1}],
            }
        )
    )
    assert [reply.body for reply in who.answers(1)] == ["a", "c"]
    assert [reply.body for reply in who.answers(2)] == ["b"]
    assert who.answers(3) == []


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


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("", 1),
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("€" * 80, 1),
        ("é" * 160, 1),
        ("🙏" * 35, 1),
        ("🙏" * 36, 2),
        ("я" * 71, 2),
    ],
)
def test_segments_count_gsm7_and_ucs2(body: str, count: int) -> None:
    assert segments(body) == count


def test_fault_for_the_next_two_is_spent_after_two() -> None:
    faults = Faults(seed=1)
    faults.add(FaultSpec(kind="429", next=2))
    assert [bool(faults.pick("create")) for _ in range(4)] == [True, True, False, False]
    assert faults.pick("list") is None
    assert faults.left() == []


def test_seeded_share_of_faults_is_the_same_each_time() -> None:
    def run() -> list[bool]:
        faults = Faults(seed=7)
        faults.add(FaultSpec(kind="5xx", share=0.3))
        return [faults.pick("create") is not None for _ in range(500)]

    first = run()
    assert first == run()
    assert 0.2 < sum(first) / 500 < 0.4


def test_fault_for_one_number_leaves_others_alone() -> None:
    faults = Faults(seed=1)
    faults.add(FaultSpec(kind="lost", next=1, to="+15125550134"))
    assert faults.pick("create", "+15125550135") is None
    found = faults.pick("create", "+15125550134")
    assert found is not None
    assert found.is_accepted


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


def test_webhook_url_gives_up_its_fragment_and_keeps_its_query() -> None:
    target = Target.parse("https://hooks.example.com:8443/a?b=%2F+c#rc=3&rp=4xx,rt&rt=700")
    assert target.url == "https://hooks.example.com:8443/a?b=%2F+c"
    assert (target.retries, target.read_s) == (3, 0.7)
    assert [target.retries_on(outcome) for outcome in ("ct", "rt", "4xx", "5xx")] == [False, True, True, False]


def test_webhook_url_without_overrides_is_retried_once_and_only_without_connection() -> None:
    target = Target.parse("http://127.0.0.1/a")
    assert target.retries == 1
    assert [target.retries_on(outcome) for outcome in ("ct", "rt", "4xx", "5xx")] == [True, False, False, False]


@pytest.mark.parametrize(
    "url",
    ["", "/a", "ftp://x/", "http://", "http://x/ y", "http://x/\n", "http://x/ü", "http://[x/", "http://x:99999/"],
)
def test_webhook_url_nobody_would_call_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an absolute"):
        Target.parse(url)


def test_settings_refuse_a_base_url_with_a_query() -> None:
    with pytest.raises(ValidationError, match="not a base URL"):
        SandboxSettings(public_base_url="https://x/?a=b")
