"""What a replay sends for a logged call, and in which order it plays a log."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.cli.calllog import LoggedCall, LoggedLeg
from services.cli.exits import WrongUse
from services.cli.first_text_latency import STAGES, FirstTextTiming, percentile
from services.cli.replay import parse_speed
from services.cli.replaying.summary import Summary, broken_promises
from services.cli.replaying.webhooks import DialledLeg, Webhook, afterwards, dialled_legs, voice
from services.policy.numbers import normalize_caller

AT = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
BASE = "http://127.0.0.1:8080"
ACCOUNT = "AC" + "0" * 32
RUNG = tuple(
    DialledLeg(
        f"+1212555016{n}",
        f"{BASE}/webhooks/twilio/leg?step=screen&n={n}",
        f"{BASE}/webhooks/twilio/leg?step=status&n={n}",
    )
    for n in (1, 2)
)


def logged(legs: tuple[LoggedLeg, ...] = (), *, talk_s: int = 60, **more: Any) -> LoggedCall:
    raw = more.pop("caller_raw", "+12055550101")
    found = normalize_caller(raw)
    return LoggedCall(
        provider="twilio",
        call_id="CA" + "1" * 32,
        caller=found.e164,
        caller_kind=found.kind,
        caller_raw=raw,
        dialled="+12125550100",
        status="completed",
        started_at=AT,
        ended_at=AT + timedelta(seconds=20 + talk_s),
        legs=legs,
        **more,
    )


def leg(status: str, *, answered: bool = False, to: str = "+12125550161") -> LoggedLeg:
    answered_at = AT + timedelta(seconds=10) if answered else None
    return LoggedLeg(
        leg_id="CA" + "2" * 32,
        to=to,
        status=status,
        answered=answered,
        started_at=AT,
        answered_at=answered_at,
        ended_at=AT + timedelta(seconds=70 if answered else 20),
    )


def paths(hooks: list[Webhook]) -> list[str]:
    return [hook.url.removeprefix(f"{BASE}/webhooks/twilio/") for hook in hooks]


def statuses(hooks: list[Webhook]) -> list[str]:
    return [hook.form["CallStatus"] for hook in hooks if "step=status" in hook.url]


def test_answered_call_presses_the_key_and_the_other_phones_stop_ringing() -> None:
    hooks = afterwards(logged((leg("completed", answered=True),)), RUNG, BASE, ACCOUNT)
    assert any("step=pressed" in hook.url and hook.form["Digits"] == "1" for hook in hooks)
    assert statuses(hooks) == ["canceled", "completed"]
    assert paths(hooks)[-1] == "call-status"


def test_call_nobody_took_rings_out_on_every_phone_that_our_twiml_rang() -> None:
    hooks = afterwards(logged((leg("no-answer"),), voicemail=True, voicemail_s=30.0), RUNG, BASE, ACCOUNT)
    assert statuses(hooks) == ["no-answer", "no-answer"]
    assert "dial" in paths(hooks)


def test_caller_who_hung_up_ringing_leaves_no_dial_action() -> None:
    """Fact A8: a caller who gives up counts; Twilio never asks for the action URL then."""
    hooks = afterwards(logged((leg("canceled"),), talk_s=0), RUNG, BASE, ACCOUNT)
    assert statuses(hooks) == ["canceled", "canceled"]
    assert "dial" not in paths(hooks)


def test_voicemail_names_no_caller_and_its_words_come_later() -> None:
    call = logged((leg("no-answer"),), voicemail=True, voicemail_s=12.0, transcript="call me")
    recording, words = afterwards(call, RUNG, BASE, ACCOUNT)[-2:]
    assert recording.url.split("?")[0].endswith("/recording")
    assert words.form["TranscriptionText"] == "call me"
    assert "From" not in recording.form
    assert words.at > recording.at


def test_leg_that_happened_is_told_though_our_twiml_rang_nobody() -> None:
    hooks = afterwards(logged((leg("completed", answered=True),)), (), BASE, ACCOUNT)
    assert any("step=pressed" in hook.url for hook in hooks)


def test_only_webhooks_that_something_may_come_of_are_waited_for() -> None:
    hooks = afterwards(logged((leg("no-answer"),)), RUNG, BASE, ACCOUNT)
    assert [hook.url.rsplit("/", 1)[1] for hook in hooks if hook.decides] == ["call-status"]


def test_withheld_caller_is_sent_as_the_phone_system_wrote_it() -> None:
    """Fact A10: a withheld number is sent on as the phone system spells it."""
    call = logged(caller_raw="+266696687")
    assert call.caller_kind == "withheld"
    assert voice(call, BASE, ACCOUNT).form["From"] == "+266696687"


def test_legs_are_read_from_our_own_twiml() -> None:
    twiml = '<Response><Dial><Number url="http://a/s?step=screen&amp;x=1#rc=5" statusCallback="http://a/e">+12125550161</Number></Dial></Response>'
    assert [item.to for item in dialled_legs(twiml)] == ["+12125550161"]
    assert dialled_legs("<Response><Record/></Response>") == ()


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("60x", 60.0), ("1.5", 1.5)])
def test_speed_is_max_or_a_factor(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "fast", "0x", "-3", "99999x", "x"])
def test_speed_that_makes_no_sense_says_what_would(text: str) -> None:
    with pytest.raises(WrongUse) as told:
        parse_speed(text)
    assert "60x" in told.value.remedy


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)])
def test_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    assert percentile(range(1, 101), share) == value
    assert percentile([], share) == 0.0
    assert percentile([7.0], share) == 7.0


def test_time_to_the_request_leaves_out_the_provider() -> None:
    timing = FirstTextTiming(caller="+1", touch_id="t", received=AT, stages=dict.fromkeys(STAGES, 1.0))
    assert timing.to_request_ms == len(STAGES) - 1
    assert timing.to_accepted_ms == len(STAGES)


@pytest.mark.parametrize(
    ("wanted", "firsts", "played", "problem"),
    [
        ({"+1"}, {"+1": 1}, 1, None),
        ({"+1"}, {"+1": 2}, 1, "more than one first text"),
        ({"+1"}, {}, 1, "got no first text"),
        (set(), {"+1": 1}, 1, "without a missed call"),
        ({"+1"}, {"+1": 1}, 2, "calls were played"),
    ],
)
def test_summary_says_which_promise_was_broken(
    wanted: set[str], firsts: Mapping[str, int], played: int, problem: str | None
) -> None:
    found = Summary(calls=Counter(missed=1), tasks=len(wanted))
    problems = broken_promises(found, played=played, wanted=wanted, firsts=firsts, unknown_texts=0)
    assert len(problems) == (0 if problem is None else 1)
    assert problem is None or problem in problems[0]


def test_text_at_the_provider_that_no_record_knows_is_a_broken_promise() -> None:
    found = Summary(calls=Counter(missed=1))
    (problem,) = broken_promises(found, played=1, wanted=set(), firsts={}, unknown_texts=1)
    assert "in no record of ours" in problem
