"""What a call was: facts in any order, one question (did a person of ours talk?), one answer.

Facts A1-A5, A8, A10, Q1. Nothing here trusts a status that a machine can produce: a leg that "completed" may have been
answered by a carrier's voicemail box, so only `call.leg_answered` (a key was pressed) or a report's talk time proves that
a person talked.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from schemas.calls import (
    CallCompleted,
    CallEnded,
    CallFact,
    CallLegAnswered,
    CallLegEnded,
    CallStarted,
    VoicemailRecorded,
    VoicemailTranscribed,
)
from schemas.envelope import Event
from schemas.ids import call_key
from schemas.leads import CallOutcome
from services.leads.domain.model import (
    LEGS_LIMIT,
    SEEN_LIMIT,
    VOICEMAILS_LIMIT,
    Call,
    Cause,
    DecidedBy,
    Leg,
    ReportedTalk,
    Voicemail,
)

SETTLE_AFTER_END_S = 3.0
"""Leg callbacks that come at all come within a second of the end, and the borrower is waiting."""
SETTLE_INCOMPLETE_S = 180.0
"""Our recordings stop at 120 s, and only then does the call end; a slow provider gets a minute more."""


def new_call(event: Event[CallFact]) -> Call:
    """Return the call that a first fact is about, before that fact is added."""
    fact = event.data
    return Call(
        key=call_key(event.lender_id, fact.provider, fact.call_id),
        lender_id=event.lender_id,
        provider=fact.provider,
        call_id=fact.call_id,
        newest_fact_at=event.time,
    )


def add_fact(call: Call, event: Event[CallFact]) -> Call | None:
    """Return the call with one more fact, or None when it holds that fact already."""
    fact = event.data
    if event.id in call.facts:
        return None
    call = replace(
        call,
        facts=(*call.facts, event.id)[-SEEN_LIMIT:],
        caller=call.caller or fact.caller,
        withheld=call.withheld or fact.caller_withheld,
        dialled=call.dialled or fact.dialled,
        branch_id=call.branch_id or event.branch_id,
        test=call.test or fact.test,
        newest_fact_at=max(call.newest_fact_at, event.time),
        received_at=event.received_at if call.outcome is None else call.received_at,
        traceparent=event.traceparent if call.outcome is None else call.traceparent,
    )
    match fact:
        case CallStarted():
            return replace(call, started_at=fact.started_at, legs_dialled=fact.legs_dialled)
        case CallLegAnswered():
            leg = _leg(call, fact.leg_id)
            leg = replace(leg, answered_at=fact.answered_at, officer_id=fact.officer_id or leg.officer_id)
            return _with_leg(call, leg)
        case CallLegEnded():
            leg = _leg(call, fact.leg_id)
            officer = leg.officer_id or fact.officer_id
            leg = replace(leg, status=fact.status, ended_at=fact.ended_at, officer_id=officer, listed=fact.listed)
            return _with_leg(call, leg)
        case CallEnded():
            return replace(call, ended_at=fact.ended_at, end_status=fact.status, duration_s=fact.duration_s)
        case VoicemailRecorded():
            found = _voicemail(call, fact.recording_id)
            found = replace(found, url=fact.url, duration_s=fact.duration_s)
            # An empty recording is a caller who hung up at the beep: nothing to listen to.
            return replace(_with_voicemail(call, found), voicemail=call.voicemail or fact.duration_s > 0)
        case VoicemailTranscribed():
            found = _voicemail(call, fact.recording_id)
            return _with_voicemail(call, replace(found, transcript=fact.text or found.transcript))
        case CallCompleted():
            return replace(
                call,
                started_at=fact.started_at,
                ended_at=fact.ended_at,
                duration_s=fact.duration_s,
                report=ReportedTalk(fact.answered, fact.talk_time_s),
                voicemail=call.voicemail or fact.voicemail,
            )
    return call


def _leg(call: Call, leg_id: str) -> Leg:
    return next((leg for leg in call.legs if leg.leg_id == leg_id), Leg(leg_id=leg_id))


def _with_leg(call: Call, leg: Leg) -> Call:
    others = tuple(one for one in call.legs if one.leg_id != leg.leg_id)
    # The newest legs stay: a full list must not keep out the proof of an answer.
    return replace(call, legs=(*others, leg)[-LEGS_LIMIT:])


def _voicemail(call: Call, recording_id: str) -> Voicemail:
    found = (one for one in call.voicemails if one.recording_id == recording_id)
    return next(found, Voicemail(recording_id=recording_id, call_id=call.call_id))


def _with_voicemail(call: Call, voicemail: Voicemail) -> Call:
    others = tuple(one for one in call.voicemails if one.recording_id != voicemail.recording_id)
    return replace(call, voicemails=(*others, voicemail)[-VOICEMAILS_LIMIT:])


def answered(call: Call) -> bool:
    """Return whether a person of ours talked in the call."""
    by_report = call.report is not None and call.report.answered and call.report.talk_time_s > 0
    return by_report or any(leg.answered_at for leg in call.legs)


def log_incomplete(call: Call) -> bool:
    """Return whether webhooks were lost that may have proved an answer: a phone was picked up, and a leg's end is listed."""
    picked_up = any(leg.status == "completed" for leg in call.legs)
    return picked_up and any(leg.listed for leg in call.legs) and not answered(call)


def answered_by(call: Call) -> str | None:
    """Return the officer who took the call, where a fact names one."""
    return next((leg.officer_id for leg in call.legs if leg.answered_at and leg.officer_id), None)


def talked_at(call: Call) -> datetime | None:
    """Return when a person of ours last began to talk in the call, as well as the facts tell; None if nobody did."""
    begun = [leg.answered_at for leg in call.legs if leg.answered_at is not None]
    if not begun and answered(call):
        return call.over_at  # a report says that they talked, not since when
    return max(begun, default=None)


def began_at(call: Call) -> datetime:
    """Return when the call began, as well as the facts tell."""
    return call.started_at or call.over_at


def cause_of_decision(call: Call) -> Cause:
    """Return the call's decision as the cause of what follows."""
    return Cause(call.decision_id, call.received_at, call.traceparent)


def waits_s(call: Call) -> float:
    """Return how long, in real seconds, the call must be quiet before it may be decided; 0 when all facts are in."""
    if call.report is not None:
        return 0.0
    if call.started_at is None or call.ended_at is None:
        return SETTLE_INCOMPLETE_S
    ends = sum(leg.status is not None for leg in call.legs)
    # A proven answer cannot be undone by a leg's end, so nobody waits for it.
    if answered(call) or ends >= (call.legs_dialled or 0):
        return 0.0
    # The reconciler tells all ends of a call; one of those that are still to come may say that a phone was picked up.
    return SETTLE_INCOMPLETE_S if any(leg.listed for leg in call.legs) else SETTLE_AFTER_END_S


def outcome_of(call: Call) -> CallOutcome:
    """Return what the call was, by the facts there are."""
    if answered(call):
        return "answered"
    if call.report is not None:
        return "abandoned" if call.report.answered and not call.voicemail else "missed"
    ends = [leg.status for leg in call.legs if leg.status is not None]
    hung_up_ringing = bool(ends) and all(status == "canceled" for status in ends)
    return "abandoned" if hung_up_ringing and not call.voicemail else "missed"


def decided(call: Call, by: DecidedBy, now: datetime) -> Call:
    """Return the call with its outcome; a call is decided once, so a second decision returns it as it is."""
    if call.outcome:
        return call
    by = "reconciler" if log_incomplete(call) else by
    return replace(call, outcome=outcome_of(call), decided_at=now, decided_by=by)


def read(call: Call, event: Event[CallFact], *, now: datetime, real_now: datetime, lease_s: float) -> Call | None:
    """Return the call after one fact: decided if no other fact is needed, else with a later `settle_at`.

    Args:
        call: as stored.
        event: the fact.
        now: virtual.
        real_now: of the machine; `settle_at` is counted from it.
        lease_s: until what a decided call causes is done, its `settle_at` lies that far ahead: if this instance dies
            first, the settler of another does it.

    Returns:
        None when the call holds the fact already.
    """
    after = add_fact(call, event)
    if after is None:
        return None
    if after.outcome is not None:
        late = after.outcome != "answered" and answered(after)
        return replace(after, late_answer=after.late_answer or late)
    wait = waits_s(after)
    if wait == 0.0:
        return replace(decided(after, "facts", now), settle_at=real_now + timedelta(seconds=lease_s))
    return replace(after, settle_at=real_now + timedelta(seconds=wait))


def settled(call: Call, now: datetime) -> Call:
    """Return a call that has been quiet long enough, decided by the facts there are."""
    return decided(call, "after_end" if call.started_at and call.ended_at else "incomplete", now)
