"""Twilio's voice webhooks: one pure function a route. Nothing here decides what a call was; the leads service does.

Event ids are the SIDs with what happened, so every repetition of a webhook makes the same one.
"""

from datetime import datetime
from typing import Final, TypedDict, get_args

from schemas.calls import (
    CallEnded,
    CallFact,
    CallLegAnswered,
    CallLegEnded,
    CallStarted,
    CallStatus,
    VoicemailRecorded,
    VoicemailTranscribed,
)
from services.ingest.domain.fields import Fields, one_of
from services.ingest.domain.lender import Lender
from services.ingest.domain.reading import Draft, GoOn, HangUp, NoContent, Reading, Ring, Screen, TakeVoicemail
from services.ingest.errors import InvalidField
from services.policy.numbers import Caller, normalize_caller

FINAL: Final[tuple[CallStatus, ...]] = get_args(CallStatus)
"""Statuses of a call or a leg that is over."""
RUNNING: Final = frozenset({"queued", "initiated", "ringing", "in-progress", "answered"})
LONGEST_TRANSCRIPT: Final = 10_000


def voice(form: Fields, _query: Fields, lender: Lender, now: datetime) -> Reading:
    """A borrower calls: `call.started`, and whom to dial."""
    call_id = form.sid("CallSid", "CA")
    number, branch = lender.dialed(form.raw("To"))
    caller = normalize_caller(form.raw("From"))
    officers = lender.on_shift(branch, now)
    # The voice request has no Timestamp.
    data = CallStarted(**fields_of(call_id, caller, lender, number), legs_dialled=len(officers), started_at=now)
    is_closed = not lender.directory.is_open(branch, now)
    return Reading(
        drafts=(draft_of(f"twilio:{call_id}:started", data, at=now, branch_id=branch.id),),
        instruction=Ring(call_id, branch.id, officers) if officers else TakeVoicemail(call_id, branch.id, is_closed),
        unusable=caller.reason,
    )


def leg(form: Fields, query: Fields, lender: Lender, now: datetime) -> Reading:
    """One officer's leg: screening it, the key press, its end."""
    step = query.raw("step")
    call_id = query.sid("call", "CA")
    leg_id = form.sid("CallSid", "CA")
    officer_id, branch_id = query.optional_id("officer"), lender.branch_id(query.optional_id("branch"))
    if step == "screen":
        return Reading(instruction=Screen(call_id, branch_id, officer_id))
    at = form.time(now)
    # A leg's From is the caller, passed through; Twilio puts a number of ours there when the caller withheld theirs.
    caller = normalize_caller(form.raw("From"))
    known = caller if caller.e164 and not lender.is_ours(caller.e164) else Caller("invalid")
    common = fields_of(call_id, known, lender)
    if step == "pressed":
        if form.text("Digits", 20) != "1":
            return Reading(instruction=Screen(call_id, branch_id, officer_id), ignored="key_not_pressed")
        answered = CallLegAnswered(**common, leg_id=leg_id, officer_id=officer_id, answered_at=at)
        draft = draft_of(f"twilio:{leg_id}:answered", answered, at=at, branch_id=branch_id)
        return Reading(drafts=(draft,), instruction=GoOn())
    if step == "status":
        status = one_of(said := form.required("CallStatus"), FINAL)
        if status is None:
            return _not_final(said)
        ended = CallLegEnded(**common, leg_id=leg_id, officer_id=officer_id, status=status, ended_at=at)
        return Reading(drafts=(draft_of(f"twilio:{leg_id}:ended", ended, at=at, branch_id=branch_id),))
    raise InvalidField("step", "is not screen, pressed or status")


def dial(form: Fields, query: Fields, lender: Lender, now: datetime) -> Reading:
    """Dialing the officers is over: the last leg's end when it is named, and what the caller hears next."""
    call_id = form.sid("CallSid", "CA")
    branch_id = lender.branch_id(query.optional_id("branch"), form.raw("To"))
    said = form.required("DialCallStatus")
    # `answered` is what a <Dial> of a conference or a client says of a leg that was completed.
    status = one_of("completed" if said == "answered" else said, FINAL)
    if status is None:
        raise InvalidField("DialCallStatus", f"is not a status of a finished <Dial>: {', '.join(FINAL)} or answered")
    # A leg that was picked up and never accepted counts as completed too, but nobody spoke with the caller.
    is_bridged = status == "completed" and form.text("DialBridged", 20).lower() != "false"
    instruction = HangUp() if is_bridged else TakeVoicemail(call_id, branch_id, closed=False)
    leg_id = form.optional_sid("DialCallSid", "CA")
    if leg_id is None:
        return Reading(instruction=instruction)
    caller = normalize_caller(form.raw("From"))
    at = form.time(now)
    data = CallLegEnded(**fields_of(call_id, caller, lender), leg_id=leg_id, status=status, ended_at=at)
    return Reading(
        drafts=(draft_of(f"twilio:{leg_id}:ended", data, at=at, branch_id=branch_id),),
        instruction=instruction,
        unusable=caller.reason,
    )


def call_status(form: Fields, _query: Fields, lender: Lender, now: datetime) -> Reading:
    """The number's status callback: `call.ended`, once it has."""
    call_id = form.sid("CallSid", "CA")
    number, branch = lender.dialed(form.raw("To"))
    if form.text("Direction", 40).startswith("outbound"):
        return Reading(ignored="not_inbound")
    status = one_of(said := form.required("CallStatus"), FINAL)
    if status is None:
        return _not_final(said)
    duration = form.integer("CallDuration")
    if duration is not None and duration < 0:
        raise InvalidField("CallDuration", "is negative")
    caller = normalize_caller(form.raw("From"))
    at = form.time(now)
    data = CallEnded(**fields_of(call_id, caller, lender, number), status=status, duration_s=duration, ended_at=at)
    draft = draft_of(f"twilio:{call_id}:ended:{status}", data, at=at, branch_id=branch.id)
    return Reading(drafts=(draft,), unusable=caller.reason)


def recording(form: Fields, query: Fields, lender: Lender, now: datetime) -> Reading:
    """A voicemail was left; `step=after` is the `<Record>`'s own action, which also ends the call."""
    is_after = query.raw("step") == "after"
    call_id = form.sid("CallSid", "CA")
    recording_id = form.optional_sid("RecordingSid", "RE")
    status = form.text("RecordingStatus", 40) or "completed"
    instruction = HangUp() if is_after else NoContent()
    if recording_id is None and not is_after:
        raise InvalidField("RecordingSid", "is missing")
    if recording_id is None or status != "completed":
        return Reading(instruction=instruction, ignored="no_recording")
    url = form.text("RecordingUrl", 2000)
    if not url.startswith(("https://", "http://")):
        raise InvalidField("RecordingUrl", "is not a URL; it starts with https:// or http://")
    data = VoicemailRecorded(
        **fields_of(call_id, Caller("invalid"), lender),
        recording_id=recording_id,
        url=url,
        duration_s=max(0, form.integer("RecordingDuration") or 0),
    )
    branch_id = lender.branch_id(query.optional_id("branch"))
    draft = draft_of(f"twilio:{recording_id}:recorded", data, at=form.time(now), branch_id=branch_id)
    return Reading(drafts=(draft,), instruction=instruction)


def transcription(form: Fields, query: Fields, lender: Lender, now: datetime) -> Reading:
    """A voicemail's words, or that there are none."""
    call_id, recording_id = form.sid("CallSid", "CA"), form.sid("RecordingSid", "RE")
    is_read = form.required("TranscriptionStatus") == "completed"
    text = (form.raw("TranscriptionText") or "")[:LONGEST_TRANSCRIPT] if is_read else None
    data = VoicemailTranscribed(
        **fields_of(call_id, Caller("invalid"), lender), recording_id=recording_id, text=text or None
    )
    branch_id = lender.branch_id(query.optional_id("branch"))
    return Reading(
        drafts=(draft_of(f"twilio:{recording_id}:transcribed", data, at=form.time(now), branch_id=branch_id),)
    )


class CallFields(TypedDict):
    """The fields of every call fact."""

    provider: str
    call_id: str
    caller: str | None
    caller_withheld: bool
    dialled: str | None
    test: bool


def fields_of(call_id: str, caller: Caller, lender: Lender, dialed: str | None = None) -> CallFields:
    """Return the fields that every fact of a call has."""
    return {
        "provider": "twilio",
        "call_id": call_id,
        "caller": caller.e164,
        "caller_withheld": caller.withheld,
        "dialled": dialed,
        "test": lender.is_test(caller.e164),
    }


def draft_of(id_: str, data: CallFact, *, at: datetime, branch_id: str) -> Draft[CallFact]:
    """Return a fact of a call as a draft."""
    return Draft(id=id_, data=data, time=at, branch_id=branch_id, caller=data.caller, call_id=data.call_id)


def _not_final(status: str) -> Reading:
    return Reading(ignored="not_final" if status in RUNNING else "unknown_status")
