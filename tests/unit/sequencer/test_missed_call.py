"""The missed-call cadence, state by state."""

from datetime import date, datetime, timedelta

import pytest

from schemas.base import EventData, LocalTime
from schemas.envelope import Event
from schemas.leads import (
    CallOfLead,
    LeadAssigned,
    LeadAttempted,
    LeadCalledAgain,
    LeadClosed,
    LeadContacted,
    LeadHandedOver,
    LeadOpened,
    LeadOptedIn,
    LeadOptedOut,
    LeadReplied,
)
from schemas.touches import TouchDelivered, TouchFailed, TouchSent, TouchSuppressed, TouchTaskRequested
from services.sequencer.domain.effects import EmitTouch, RequestTask, SetTimer, Suppress
from services.sequencer.domain.machine import SOURCE, decide
from services.sequencer.domain.row import EMPTY, Phase
from services.sequencer.domain.row_json import dump, load
from services.sequencer.errors import UnknownCadence
from tests.unit.sequencer.build import (
    CADENCES,
    MORNING,
    T0,
    effects_of,
    envelope,
    lead,
    played,
    result,
    tick,
)

ENDED = T0 - timedelta(seconds=1)
SECOND_TEXT = T0 + timedelta(seconds=2, minutes=10)
OPENED = lead(LeadOpened, 1)
SENT = result(TouchSent, "text-now", T0 + timedelta(seconds=2))
TICK_10 = tick("text-10min", SECOND_TEXT)
SENT_10 = result(TouchSent, "text-10min", SECOND_TEXT)
TICK_MORNING = tick("call-morning", MORNING.utc())
LATER = T0 + timedelta(minutes=3)


def timer(step: str, due_at: datetime, attempt: int = 1, due_local: LocalTime | None = None) -> SetTimer:
    return SetTimer(step=step, attempt=attempt, due_at=due_at, due_local=due_local)


def first_text(due_at: datetime, attempt: int = 1, base: datetime | None = None) -> EmitTouch:
    return EmitTouch(
        step="text-now",
        attempt=attempt,
        template="missed_call_first",
        lane="urgent",
        due_at=due_at,
        expires_at=(base or due_at) + timedelta(minutes=5),
        first=True,
    )


def second_text(due_at: datetime) -> EmitTouch:
    return EmitTouch(
        step="text-10min",
        attempt=1,
        template="missed_call_second",
        lane="normal",
        due_at=due_at,
        expires_at=due_at + timedelta(hours=1),
        first=False,
    )


def callback(seq: int, due_at: datetime) -> RequestTask:
    """The callback that a further missed call asks for."""
    return RequestTask(
        step="called-again", attempt=seq, due_at=due_at, due_local=None, urgent=False, reason="called_again"
    )


MORNING_CALL = RequestTask(
    step="call-morning", attempt=1, due_at=MORNING.utc(), due_local=MORNING, urgent=False, reason="call-morning"
)


def test_new_caller_gets_the_first_text_at_once_and_a_timer_for_the_morning() -> None:
    """The first text is due at the call's end, the callback the next morning (facts C1, C3, C4)."""
    row, (decision,) = played(OPENED)
    assert decision.effects == (first_text(ENDED), timer("call-morning", MORNING.utc(), due_local=MORNING))
    assert row.phase is Phase.RECOVERING


def test_recovering_caller_whose_first_text_was_sent_gets_the_second_ten_minutes_after_that() -> None:
    """The second text is due ten minutes after the first was sent, not after the call (facts C2, C4)."""
    assert effects_of(OPENED, SENT) == (timer("text-10min", SECOND_TEXT),)
    assert effects_of(OPENED, SENT, TICK_10) == (second_text(SECOND_TEXT),)


def test_recovering_caller_in_the_morning_gets_a_phone_task_and_the_sequence_is_over() -> None:
    """Touch 3 makes the callback task due the next morning (facts C3, Q22)."""
    row, decisions = played(OPENED, SENT, TICK_10, SENT_10, TICK_MORNING)
    assert decisions[-1].effects == (MORNING_CALL,)
    assert row.phase is Phase.IDLE
    assert row.sequence is not None
    assert row.sequence.finished


@pytest.mark.parametrize(
    ("stopper", "phase", "dropped"),
    [
        (lead(LeadReplied, 2, LATER), Phase.CONVERSING, [("text-10min", "replied")]),
        (lead(LeadHandedOver, 2, LATER), Phase.HANDED_OVER, [("text-10min", "handed_over")]),
        (lead(LeadContacted, 2, LATER), Phase.IDLE, [("text-10min", "contacted"), ("call-morning", "contacted")]),
        (lead(LeadClosed, 2, LATER), Phase.IDLE, [("text-10min", "closed"), ("call-morning", "task_done")]),
        (lead(LeadAttempted, 2, LATER), Phase.NURTURING, [("text-10min", "task_done"), ("call-morning", "task_done")]),
        (
            lead(LeadOptedOut, 2, LATER, texting="stopped"),
            Phase.STOPPED,
            [("text-10min", "opted_out"), ("call-morning", "opted_out")],
        ),
    ],
    ids=lambda value: value.type if isinstance(value, Event) else None,
)
def test_recovering_caller_who_is_served_otherwise_gets_nothing_more_and_each_step_says_why(
    stopper: Event[EventData], phase: Phase, dropped: list[tuple[str, str]]
) -> None:
    """A reply, a contact or an opt-out ends what it must; a callback done earlier is dropped with its reason (fact Q22)."""
    row, decisions = played(OPENED, SENT, stopper)
    assert row.phase is phase
    assert [(e.step, e.reason) for e in decisions[-1].effects if isinstance(e, Suppress)] == dropped
    assert decide(row, TICK_10, CADENCES).effects == ()


def test_conversing_caller_still_gets_the_morning_call() -> None:
    assert isinstance(effects_of(OPENED, SENT, lead(LeadReplied, 2, LATER), TICK_MORNING)[0], RequestTask)


def test_recovering_caller_whose_task_goes_on_keeps_the_sequence() -> None:
    row, decisions = played(OPENED, SENT, lead(LeadAttempted, 2, LATER, next_at=LATER + timedelta(hours=2)))
    assert decisions[-1].ignored == "nothing_to_do"
    assert row.lead_seq == 2
    assert decide(row, TICK_10, CADENCES).effects


@pytest.mark.parametrize(
    "outcome",
    [
        result(TouchSuppressed, "text-now", LATER, reason="overtaken"),
        result(TouchSuppressed, "text-now", LATER, reason="expired"),
        result(TouchFailed, "text-now", LATER, error_code=30006),
        result(TouchTaskRequested, "text-now", LATER, kind="text_not_sent", due_at=LATER, reason="unknown"),
    ],
    ids=lambda event: f"{event.type}-{getattr(event.data, 'reason', '')}",
)
def test_recovering_caller_whose_first_text_did_not_leave_gets_no_second_but_the_call(
    outcome: Event[EventData],
) -> None:
    row, decisions = played(OPENED, outcome)
    assert decisions[-1].effects == (Suppress("text-10min", 1, "first_text_missing"),)
    assert isinstance(decide(row, TICK_MORNING, CADENCES).effects[0], RequestTask)


def test_first_text_held_by_the_after_hours_policy_drops_the_second_and_keeps_the_morning_call() -> None:
    """A lender may forbid first texts after hours; the promised call stays (facts 0.3, D1)."""
    held = result(TouchSuppressed, "text-now", LATER, reason="after_hours_policy")
    row, decisions = played(OPENED, held)
    assert decisions[-1].effects == (Suppress("text-10min", 1, "first_text_missing"),)
    assert row.phase is Phase.RECOVERING
    row, decisions = played(TICK_MORNING, row=row)
    assert decisions[-1].effects == (MORNING_CALL,)
    assert row.phase is Phase.IDLE


def test_second_text_held_for_want_of_consent_is_over_and_the_morning_call_stays() -> None:
    """A lender may ask for consent before a second text (fact M2); the gate says so, and the sequence goes on."""
    held = result(TouchSuppressed, "text-10min", SECOND_TEXT, reason="consent_needed")
    row, decisions = played(OPENED, SENT, TICK_10, held)
    assert decisions[-1].effects == ()
    assert decisions[-1].ignored is None
    assert row.phase is Phase.RECOVERING
    row, decisions = played(TICK_MORNING, row=row)
    assert decisions[-1].effects == (MORNING_CALL,)
    assert row.phase is Phase.IDLE


def test_final_suppression_for_a_reason_that_a_newer_notifier_adds_ends_the_step() -> None:
    """A reason is text to its readers: an unknown one without `until` is final."""
    held = result(TouchSuppressed, "text-now", LATER, reason="a_reason_of_next_year")
    assert effects_of(OPENED, held) == (Suppress("text-10min", 1, "first_text_missing"),)


def test_recovering_caller_whose_first_text_the_carrier_refused_gets_no_second() -> None:
    refused = result(TouchFailed, "text-now", LATER, error_code=30006)
    assert effects_of(OPENED, SENT, refused) == (Suppress("text-10min", 1, "first_text_missing"),)


def test_touch_held_for_a_technical_reason_comes_back_with_the_expiry_it_had() -> None:
    """A late first text is worse than none: five minutes after the call's end, whatever held it (design 3)."""
    until = T0 + timedelta(seconds=31)
    gated = result(TouchSuppressed, "text-now", T0 + timedelta(seconds=1), reason="reply_in_flight", until=until)
    row, decisions = played(OPENED, gated)
    assert decisions[-1].effects == (timer("text-now", until, attempt=2),)
    row = load(dump(row))
    assert decide(row, tick("text-now", until, attempt=2), CADENCES).effects == (first_text(until, 2, ENDED),)


def test_touch_held_by_the_law_comes_back_with_an_expiry_that_counts_from_the_opening() -> None:
    until = T0 + timedelta(hours=9)
    gated = result(TouchSuppressed, "text-now", T0 + timedelta(seconds=1), reason="quiet_hours", until=until)
    row, _ = played(OPENED, gated)
    held = decide(row, tick("text-now", until, attempt=2), CADENCES)
    assert held.effects == (first_text(until, attempt=2),)
    later = until + timedelta(seconds=30)
    technical = result(TouchSuppressed, "text-now", until, 2, reason="reply_in_flight", until=later)
    row = decide(held.row, technical, CADENCES).row
    assert decide(row, tick("text-now", later, attempt=3), CADENCES).effects == (first_text(later, 3, until),)


def test_touch_held_again_and_again_ends_at_its_expiry_and_never_goes_hours_later() -> None:
    """120 holds of 30 seconds would carry it past the hour for which the tail of replies keeps a STOP."""
    row, now, expires = played(OPENED)[0], T0, ENDED + timedelta(minutes=5)
    for attempt in range(1, 200):
        if now >= expires:
            break
        now += timedelta(seconds=1)
        until = now + timedelta(seconds=30)
        gated = result(TouchSuppressed, "text-now", now, attempt, reason="reply_in_flight", until=until)
        held = decide(row, gated, CADENCES)
        (effect,) = held.effects
        assert isinstance(effect, SetTimer)
        now = effect.due_at
        fired = decide(held.row, tick("text-now", now, attempt + 1), CADENCES)
        assert [touch.expires_at for touch in fired.effects if isinstance(touch, EmitTouch)] == [expires]
        row = fired.row
    assert now == expires
    late = result(TouchSuppressed, "text-now", now, attempt, reason="expired")
    assert decide(row, late, CADENCES).effects == (Suppress("text-10min", 1, "first_text_missing"),)


def test_text_that_failed_for_now_keeps_its_expiry() -> None:
    failed = result(TouchFailed, "text-now", T0 + timedelta(minutes=4, seconds=30), retriable=True)
    (effect,) = played(OPENED, failed)[1][-1].effects
    assert isinstance(effect, SetTimer)
    assert effect.due_at == ENDED + timedelta(minutes=5), "no later than its expiry: the notifier then says so"


def test_call_that_ends_in_the_future_delays_no_text() -> None:
    """A phone system's clock may be ahead of ours."""
    call = CallOfLead(call_id="CA1", outcome="missed", ended_at=T0 + timedelta(minutes=4))
    touch, _ = effects_of(lead(LeadOpened, 1, call=call))
    assert touch == first_text(T0)


def test_touch_suppressed_until_after_a_reply_does_not_come_back() -> None:
    until = T0 + timedelta(seconds=31)
    gated = result(TouchSuppressed, "text-now", LATER, reason="reply_in_flight", until=until)
    effects = effects_of(OPENED, lead(LeadReplied, 2), gated)
    assert effects == (Suppress("text-now", 2, "replied"),)


def test_sent_text_that_fails_retriably_after_an_opt_out_does_not_come_back() -> None:
    failed = result(TouchFailed, "text-now", LATER, retriable=True)
    effects = effects_of(OPENED, SENT, lead(LeadOptedOut, 2, texting="stopped"), failed)
    assert not [effect for effect in effects if isinstance(effect, EmitTouch | SetTimer)]


def test_retriable_failure_without_an_instant_is_tried_again_a_minute_later_but_not_for_good() -> None:
    failed = result(TouchFailed, "text-now", LATER, retriable=True)
    row, decisions = played(OPENED, failed)
    assert decisions[-1].effects == (timer("text-now", LATER + timedelta(minutes=1), attempt=2),)
    for attempt in range(2, 11):
        due = tick("text-now", LATER, attempt=attempt)
        row, decisions = played(due, result(TouchFailed, "text-now", LATER, attempt, retriable=True), row=row)
    assert decisions[-1].effects == (Suppress("text-10min", 1, "first_text_missing"),)


def test_caller_who_calls_again_the_same_day_gets_a_callback_and_no_second_sequence() -> None:
    """One sequence for each caller and local day, whether it still runs or has finished (facts C11, Q2)."""
    again = lead(LeadCalledAgain, 2, LATER)
    assert effects_of(OPENED, SENT, again) == (callback(2, LATER),)
    contacted = lead(LeadContacted, 2, LATER)
    third = lead(LeadCalledAgain, 3, LATER + timedelta(hours=1))
    assert [type(effect) for effect in effects_of(OPENED, SENT, contacted, third)] == [RequestTask]


def test_caller_who_calls_on_another_day_while_unfinished_gets_no_second_sequence() -> None:
    """A missed call while a sequence is unfinished starts none, whatever the day (fact Q2)."""
    next_day = lead(LeadCalledAgain, 2, T0 + timedelta(hours=13), local_day=date(2026, 7, 2))
    assert [type(effect) for effect in effects_of(OPENED, SENT, next_day)] == [RequestTask]


def test_caller_who_calls_on_another_day_after_all_is_done_gets_a_new_first_text() -> None:
    """One sequence for each caller and local day: another day may bring another one (fact C11)."""
    next_week = lead(LeadCalledAgain, 2, T0 + timedelta(days=7))
    effects = effects_of(OPENED, SENT, TICK_10, SENT_10, TICK_MORNING, next_week)
    assert isinstance(effects[0], EmitTouch)
    assert effects[0].step == "text-now"


def test_sequence_whose_last_result_never_came_does_not_block_the_caller_for_good() -> None:
    assert isinstance(effects_of(OPENED, lead(LeadCalledAgain, 2, T0 + timedelta(days=15)))[0], EmitTouch)


def test_handed_over_caller_who_calls_again_only_raises_the_task() -> None:
    handed, at = lead(LeadHandedOver, 2, LATER), T0 + timedelta(days=8)
    assert effects_of(OPENED, SENT, handed, TICK_MORNING, lead(LeadCalledAgain, 3, at)) == (callback(3, at),)


def test_unknown_caller_whose_texting_is_stopped_gets_every_step_dropped_and_no_text() -> None:
    """An event's `texting` overrides the row, so a lost row texts nobody."""
    row, (decision,) = played(lead(LeadOpened, 7, texting="stopped"))
    assert row.phase is Phase.STOPPED
    assert [(type(effect), effect.step) for effect in decision.effects] == [
        (Suppress, "text-now"),
        (Suppress, "text-10min"),
        (Suppress, "call-morning"),
    ]


def test_recovering_caller_whose_texting_is_found_stopped_loses_every_open_step() -> None:
    row, decisions = played(OPENED, SENT, lead(LeadAssigned, 2, LATER, texting="stopped"))
    assert row.phase is Phase.STOPPED
    assert [effect.step for effect in decisions[-1].effects] == ["text-10min", "call-morning"]


def test_stopped_caller_whose_texting_is_open_again_may_be_texted_another_day() -> None:
    out, back = lead(LeadOptedOut, 2, LATER, texting="stopped"), lead(LeadOptedIn, 3, LATER)
    row, _ = played(OPENED, SENT, out, back)
    assert row.phase is Phase.IDLE
    assert isinstance(decide(row, lead(LeadOpened, 4, T0 + timedelta(days=1)), CADENCES).effects[0], EmitTouch)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ((OPENED, lead(LeadReplied, 1, LATER)), "replayed"),
        ((OPENED, lead(LeadReplied, 3), lead(LeadContacted, 2)), "passed"),
        ((OPENED, SENT, result(TouchFailed, "text-now", LATER, attempt=2)), "passed"),
        ((OPENED, SENT, envelope(SENT.data, "another id", LATER)), "passed"),
        ((OPENED, tick("text-10min", LATER)), "no_open_timer"),
        ((OPENED, SENT, TICK_10, envelope(TICK_10.data, "another id", LATER)), "no_open_timer"),
        ((OPENED, result(TouchSent, "text-now", LATER, day=date(2026, 6, 1))), "no_sequence"),
        ((OPENED, result(TouchDelivered, "text-now", LATER, sid="SM1", delivered_at=LATER)), "nothing_to_do"),
        ((lead(LeadOptedIn, 1),), "not_stopped"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_event_that_may_change_nothing_is_named(events: tuple[Event[EventData], ...], why: str) -> None:
    assert played(*events)[1][-1].ignored == why


def test_own_results_are_ignored_when_read() -> None:
    row, _ = played(OPENED, SENT)
    own = envelope(result(TouchSuppressed, "text-now", LATER, reason="replied").data, "own", LATER, SOURCE)
    assert decide(row, own, CADENCES).ignored == "own"


def test_event_that_asks_for_an_unknown_cadence_is_a_dead_letter() -> None:
    with pytest.raises(UnknownCadence, match="refinance"):
        decide(EMPTY, lead(LeadOpened, 1, cadence="refinance"), CADENCES)


def test_sequence_whose_cadence_file_is_gone_ends_without_another_text() -> None:
    row, _ = played(OPENED, SENT)
    decision = decide(row, TICK_10, {})
    assert decision.effects == (Suppress("text-10min", 1, "overtaken"),)
