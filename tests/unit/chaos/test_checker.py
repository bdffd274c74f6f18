"""The chaos checker itself: each planted loss, repetition or late text is found, and a good run is clean."""

from dataclasses import replace
from typing import Any

import pytest

from deploy.local.kafka import PROPERTIES
from schemas.topics import TOPICS
from services.sequencer.domain.row import CallerSequence, Phase, Row, StepState, StepStatus
from services.sequencer.domain.row_json import dump
from tests.chaos.system.checker import CHECKS, check
from tests.chaos.system.cluster import FIRST_LEADS, replicas
from tests.chaos.system.collect import unsafe_in
from tests.chaos.system.history import (
    Acknowledged,
    Appended,
    Away,
    CallPlaced,
    Document,
    History,
    Posted,
    TextReceived,
    VoiceTry,
)
from tests.chaos.system.run import first_texts_s
from tests.chaos.system.schedule import KINDS, SECOND, WEIGHTS, Kind, draw, scene
from tests.unit.sequencer.build import CADENCES, DAY, LEAD, MORNING, T0

CALLER, CALL, TEXT = "+12125550101", "CA1", "SM9"


def stored(phase: Phase = Phase.IDLE, **statuses: StepStatus) -> dict[str, Any]:
    """Return a row as it is stored; every step is sent where nothing else is said."""
    steps = tuple(
        StepState(name=step.name, status=statuses.get(step.name.replace("-", "_"), StepStatus.SENT), at=T0)
        for step in CADENCES["missed-call"].steps
    )
    found = CallerSequence(cadence="missed-call", local_day=DAY, call_ended_at=T0, morning=MORNING, steps=steps)
    return dump(Row(phase=phase, lead_id=LEAD, lead_seq=1, sequence=found, last_event="e9"))


ROW = stored()


def good() -> History:
    """Return the history of one missed call that went well, and of a caller who opted out after it."""
    return History(
        calls=[CallPlaced(sid=CALL, caller=CALLER, acknowledged=frozenset({"started", "ended"}))],
        texts=[TextReceived(sid=TEXT, caller=CALLER, kind="stop")],
        posted=[Posted(to=CALLER, at_s=100.0, touch_id="t1", sid="SM1")],
        appended=[
            Appended(event_id=f"twilio:{TEXT}:received", type="reply.received", caller=CALLER, body="STOP", at_s=110.0)
        ],
        lead_documents=[
            {"_id": "l1", "caller": CALLER, "owner_id": "dana", "task": {"task_id": "k1"}, "texting": "stopped"}
        ],
        call_documents=[{"_id": "k", "call_id": CALL, "outcome": "missed"}],
        message_documents=[{"_id": "m1", "message_id": TEXT, "caller": CALLER}],
        delivery_documents=[
            {"_id": "t1", "caller": CALLER, "sequence_id": "s1", "step": "text-now", "state": "delivered", "sid": "SM1"}
        ],
        webhooks=[Acknowledged(event_id=f"twilio:{TEXT}:received", route="/sms", at_s=110.1)],
        rows={"lender:" + CALLER: ROW},
        row_digests={"the changelog": {0: "abc"}, "the workers at work": {0: "abc"}, "fresh workers": {0: "abc"}},
        dead_letters={"leads.dlq": 0},
    )


def broken(**changes: Any) -> set[str]:
    """Return the names of the checks that a changed history fails."""
    return {breach.check for breach in check(replace(good(), **changes)).breaches}


def test_run_in_which_everything_held_is_clean() -> None:
    report = check(good())
    assert report.breaches == []
    assert report.is_clean
    assert report.counts["texts accepted"] == 1


STOPPED = Posted(to=CALLER, at_s=111.5, touch_id=None)
TWICE = Posted(to=CALLER, at_s=101.0, touch_id="t2", sid="SM2")
DELIVERY = {"_id": "t2", "caller": CALLER, "sequence_id": "s1", "step": "text-now", "state": "sent", "sid": "SM2"}


TALKED = Appended(event_id="a", type="call.leg_answered", caller=CALLER, call_id="CA2", at_s=99.0)
PRESSED = Acknowledged(event_id="twilio:CA9:answered", route="/leg", at_s=9.0)
SLOW = VoiceTry(instance=0, at_s=95.0, took_s=3.1, answered=True)
UNANSWERED = VoiceTry(instance=0, at_s=95.0, took_s=0.1, answered=False)
ENDED = Appended(event_id="e", type="call.ended", caller=CALLER, call_id=CALL, at_s=90.0)
CANCELED = Appended(event_id="l", type="call.leg_ended", caller=CALLER, call_id=CALL, status="canceled", at_s=92.9)
OPEN_LEAD: Document = {"_id": "l1", "caller": CALLER, "owner_id": "d", "texting": "open"}
UNTEXTED: dict[str, Any] = {"posted": [], "delivery_documents": []}


@pytest.mark.parametrize(
    ("check_name", "changes"),
    [
        ("call lost", {"call_documents": []}),
        ("call lost", {"call_documents": [{"call_id": CALL}]}),
        ("borrower's text lost", {"message_documents": []}),
        ("caller lost", {"lead_documents": []}),
        ("caller lost", {"posted": [], "delivery_documents": [],
                         "lead_documents": [{"_id": "l1", "caller": CALLER, "owner_id": "d", "texting": "open"}]}),
        ("answered caller texted",
         {"appended": [Appended(event_id="a", type="call.leg_answered", caller=CALLER, at_s=99.0)]}),
        ("answered caller texted", {"appended": [TALKED], "posted": [replace(TWICE, at_s=99.9)],
                                    "delivery_documents": [{**DELIVERY, "step": "text-10min"}]}),
        ("caller lost", {**UNTEXTED, "lead_documents": [{**OPEN_LEAD, "task": {"task_id": "k", "reasons": ["missed_call"]}}]}),
        ("late after a stop", {"posted": [*good().posted, STOPPED]}),
        ("sent twice", {"posted": [*good().posted, replace(TWICE, touch_id="t1")]}),
        ("sent twice", {"posted": [*good().posted, TWICE], "delivery_documents": [*good().delivery_documents, DELIVERY]}),
        ("text unknown to us", {"posted": [*good().posted, replace(TWICE, touch_id="t9")]}),
        ("left open", {"delivery_documents": [{**good().delivery_documents[0], "state": "posting"}]}),
        ("left open", {"pending_timers": [{"_id": "x", "step": "text-10min"}]}),
        ("left open", {"rows": {"k": {"s": ["c", "d", 1, None, [["text-10min", "waiting", 1, None, ""]]]}}}),
        ("record lost", {"webhooks": [Acknowledged(event_id="twilio:CA9:ended:completed", route="/call-status", at_s=9.0)]}),
        ("record lost", {"webhooks": [Acknowledged(event_id="twilio:CA9:answered", route="/leg", at_s=9.0)]}),
        ("record lost", {"webhooks": [PRESSED], "unsafe": 1}),
        ("record lost", {"webhooks": [PRESSED], "died_unsafe": frozenset({PRESSED.event_id}), "lead_documents": [],
                         "calls": [replace(good().calls[0], pressed=PRESSED.event_id)]}),
        ("call kept waiting", {"calls": [replace(good().calls[0], tries=[SLOW])]}),
        ("call kept waiting", {"calls": [CallPlaced(sid=CALL, caller=CALLER, tries=[UNANSWERED])]}),
        ("call kept waiting", {"calls": [replace(good().calls[0], tries=[SLOW])],
                               "away": [Away(instance=0, from_s=0.0, to_s=90.0), Away(instance=1, from_s=0.0, to_s=900.0)]}),
        ("wrong outcome", {"call_documents": [{"call_id": CALL, "outcome": "abandoned"}]}),
        ("wrong outcome", {"calls": [replace(good().calls[0], expected="abandoned")], "appended": [CANCELED, ENDED]}),
        ("wrong outcome", {"call_documents": [{"call_id": CALL, "outcome": "missed", "voicemail": True}]}),
        ("wrong outcome", {"call_documents": [{"call_id": CALL, "outcome": "answered"}]}),
        ("wrong outcome", {"appended": [Appended(event_id="a", type="call.leg_answered", caller=CALLER, call_id=CALL,
                                                 at_s=199.0)]}),
        ("doubt without a task", {"delivery_documents": [{**good().delivery_documents[0], "state": "unknown"}],
                                  "lead_documents": [{**good().lead_documents[0], "task": None}]}),
        ("row unsound", {"rows": {"k": {"v": 1}}}),
        ("row unsound", {"rows": {"k": stored(Phase.RECOVERING)}}),
        ("row unsound", {"rows": {"k": stored(text_now=StepStatus.DUE)}}),
        ("row unsound", {"rows": {"k": stored(Phase.STOPPED, call_morning=StepStatus.TIMED)}}),
        ("rows differ", {"row_digests": {**good().row_digests, "fresh workers": {0: "other"}}}),
        ("rows differ", {"row_digests": {**good().row_digests, "the workers at work": {}}}),
        ("task without an owner", {"lead_documents": [{**good().lead_documents[0], "owner_id": None}]}),
        ("two leads of a caller", {"lead_documents": [*good().lead_documents, *good().lead_documents]}),
        ("dead letters", {"dead_letters": {"leads.dlq": 1}}),
    ],
)  # fmt: skip
def test_planted_breach_is_found_by_its_check(check_name: str, changes: dict[str, Any]) -> None:
    assert check_name in broken(**changes)


def test_every_check_has_a_planted_breach() -> None:
    planted = {
        mark.args[1][n][0]
        for mark in test_planted_breach_is_found_by_its_check.pytestmark
        for n in range(len(mark.args[1]))
    }
    assert planted == set(CHECKS)


def test_second_text_of_a_step_is_no_breach_after_a_receipt_that_proves_the_first_was_not_delivered() -> None:
    first = replace(good().posted[0], error_code=30003)
    found = broken(posted=[first, TWICE], delivery_documents=[*good().delivery_documents, DELIVERY])
    assert "sent twice" not in found


def test_text_within_the_second_of_a_stop_or_after_an_opt_in_is_no_breach() -> None:
    opted_in = Appended(event_id="e2", type="reply.received", caller=CALLER, body="START", at_s=111.0)
    assert "late after a stop" not in broken(posted=[*good().posted, replace(STOPPED, at_s=110.9)])
    assert "late after a stop" not in broken(posted=[*good().posted, STOPPED], appended=[*good().appended, opted_in])


def test_stop_and_start_that_a_spool_sent_at_once_count_in_their_order() -> None:
    stop = good().appended[0]
    start = replace(stop, event_id="e2", body="START")
    assert "late after a stop" not in broken(posted=[*good().posted, STOPPED], appended=[stop, start])
    assert "late after a stop" in broken(posted=[*good().posted, STOPPED], appended=[start, stop])


def test_call_whose_webhooks_nobody_acknowledged_need_not_be_there() -> None:
    assert "call lost" not in broken(calls=[replace(good().calls[0], acknowledged=frozenset())], call_documents=[])


def test_same_seed_draws_the_same_faults_in_the_order_of_their_time() -> None:
    one, same, other = draw(7, 180.0, instances=2), draw(7, 180.0, instances=2), draw(8, 180.0, instances=2)
    assert one == same
    assert one != other
    assert len(one) >= 10
    assert [fault.at_s for fault in one] == sorted(fault.at_s for fault in one)


def test_key_press_that_died_with_its_ingest_is_counted_and_nothing_else_may_be_lost() -> None:
    press = {PRESSED.event_id}
    calls = [replace(good().calls[0], pressed=PRESSED.event_id, answered=True)]
    lost = replace(good(), webhooks=[PRESSED], calls=calls, died_unsafe=frozenset(press))
    assert check(lost).is_clean
    assert check(lost).counts["key presses lost with a killed ingest"] == 1
    ended = replace(PRESSED, event_id="twilio:CA9:ended:completed")
    assert "record lost" in broken(webhooks=[ended], died_unsafe=frozenset({ended.event_id}))


def test_only_what_a_killed_ingest_held_in_memory_has_died_with_it() -> None:
    """What it made safe, or named as lost when it was told to stop, is not forgiven."""
    life, went_on = '{"event": "settings"}', '{"event": "call_goes_on_unsafe", "ids": ["a", "b", "c"]}'
    safe, lost = '{"event": "unsafe_made_safe", "id": "a"}', '{"event": "unsafe_event_lost", "id": "b"}'
    assert unsafe_in([life, went_on, safe, lost]) == (1, frozenset())
    assert unsafe_in([life, went_on, safe, lost, "Traceback", life, safe]) == (1, frozenset({"c"}))


def test_text_after_a_call_that_was_missed_after_the_talk_is_no_breach() -> None:
    missed = replace(good().calls[0], ended_s=99.5)
    assert "answered caller texted" in broken(appended=[TALKED], calls=[replace(missed, ended_s=98.0)])
    assert "answered caller texted" not in broken(appended=[TALKED], calls=[missed])


@pytest.mark.parametrize(
    "lead",
    [
        {**OPEN_LEAD, "task": {"task_id": "k", "reasons": ["missed_call", "in doubt: timeout"]}},
        {
            **OPEN_LEAD,
            "task": {"task_id": "k"},
            "touches": {"text-now": {"state": "suppressed", "reason": "overtaken"}},
        },
        {**OPEN_LEAD, "task": {"task_id": "k"}, "texting": "stopped"},
    ],
)
def test_untexted_caller_whose_task_or_card_says_why_is_no_breach(lead: Document) -> None:
    assert "caller lost" not in broken(**UNTEXTED, lead_documents=[lead])


def test_request_to_an_ingest_that_the_run_had_broken_may_fail() -> None:
    away = [Away(instance=0, from_s=90.0, to_s=94.0)]
    for one in (SLOW, UNANSWERED):
        assert "call kept waiting" not in broken(calls=[replace(good().calls[0], tries=[one])], away=away)
    unanswered = replace(good(), calls=[CallPlaced(sid=CALL, caller=CALLER, tries=[UNANSWERED])], away=away)
    assert check(unanswered).counts["calls that met no ingest at all"] == 1


def test_hung_up_call_whose_legs_ends_came_too_late_may_be_decided_as_missed() -> None:
    late = replace(CANCELED, at_s=93.1)
    calls = [replace(good().calls[0], expected="abandoned")]
    assert "wrong outcome" not in broken(calls=calls, appended=[late, ENDED])


def test_answer_that_was_proved_after_the_decision_is_no_breach() -> None:
    proof = Appended(event_id="a", type="call.leg_answered", caller=CALLER, call_id=CALL, at_s=199.0)
    late = [{"call_id": CALL, "outcome": "missed", "late_answer": True}]
    assert "wrong outcome" not in broken(appended=[*good().appended, proof], call_documents=late)


def test_what_was_spooled_and_who_was_texted_are_counted() -> None:
    late = replace(good().appended[0], at_s=115.0)
    counts = check(replace(good(), appended=[late])).counts
    assert counts["of these before Kafka had them (spooled)"] == 1
    assert counts["of these texted, in percent"] == 100
    assert check(replace(good(), posted=[], delivery_documents=[])).counts["of these texted, in percent"] == 0


def test_first_texts_count_from_the_first_end_of_a_missed_call() -> None:
    missed = replace(good().calls[0], ended_s=99.0)
    assert first_texts_s([missed, replace(missed, ended_s=99.5)], good().posted) == [1.0]
    assert first_texts_s([replace(missed, answered=True)], good().posted) == []


def test_run_has_as_many_kills_as_it_was_asked_for() -> None:
    assert sum(fault.is_kill for fault in draw(11, 600.0, instances=2, min_kills=40)) >= 40


def test_brokers_are_halted_past_their_own_session_and_for_less_than_it() -> None:
    """The controller puts a broker out after three seconds without a heartbeat (`deploy.local.kafka.PROPERTIES`)."""
    assert "broker.session.timeout.ms=3000\n" in PROPERTIES
    for seed in range(200):
        for fault in draw(seed, 600.0, instances=2):
            if fault.target == SECOND and fault.kind in (Kind.PAUSE, Kind.LONG_PAUSE):
                assert (fault.for_s > 3.0) == (fault.kind is Kind.LONG_PAUSE)


def test_every_target_can_be_broken_and_every_kind_is_drawn() -> None:
    assert set(WEIGHTS) == set(KINDS)
    assert {kind for kinds in KINDS.values() for kind in kinds} == set(Kind)


@pytest.mark.parametrize(("name", "seconds"), [("kafka-down", 300.0), ("mongo-down", 120.0)])
def test_scene_is_one_outage_under_load_with_load_before_and_after(name: str, seconds: float) -> None:
    total, (outage,) = scene(name)
    assert outage.for_s == seconds
    assert 0 < outage.at_s < outage.at_s + outage.for_s < total


def test_changelog_is_led_by_one_broker_and_what_the_sequencer_sends_by_the_other() -> None:
    for topic in TOPICS:
        placed = replicas(topic)
        assert sorted(placed) == list(range(topic.partitions))
        assert all(sorted(brokers) == [1, 2] for brokers in placed.values())
        leaders = {brokers[0] for brokers in placed.values()}
        assert leaders == ({2} if topic.cleanup == "compact" else {1} if topic.name in FIRST_LEADS else {1, 2})
