"""The provider's lists of recordings and transcriptions, read as the facts that webhooks would have told, under the same ids."""

from dataclasses import dataclass
from datetime import datetime

from schemas.calls import CallFact, VoicemailRecorded, VoicemailTranscribed
from services.ingest.domain.fields import is_close
from services.ingest.domain.lender import Lender
from services.ingest.domain.listed import ListedCall
from services.ingest.domain.reading import Draft
from services.ingest.domain.twilio_calls import LONGEST_TRANSCRIPT, draft_of, fields_of
from services.policy.numbers import Caller, normalize_caller

COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRecording:
    """A recording, as the provider lists it; `at` is when it began."""

    sid: str
    call_sid: str
    status: str
    url: str
    at: datetime
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ListedTranscript:
    """A transcription that is over; `text` is None where there are no words."""

    text: str | None


def recorded_id(recording: ListedRecording) -> str:
    """Return the id of the event that a recording exists."""
    return f"twilio:{recording.sid}:recorded"


def transcribed_id(recording: ListedRecording) -> str:
    """Return the id of the event that it has words, or has none."""
    return f"twilio:{recording.sid}:transcribed"


def fact_of_recording(recording: ListedRecording, call: ListedCall, lender: Lender, now: datetime) -> Draft[CallFact]:
    """Return what the webhook of a recording would have told."""
    data = VoicemailRecorded(
        **fields_of(call.sid, Caller("invalid"), lender),
        recording_id=recording.sid,
        url=recording.url,
        duration_s=max(0, recording.duration_s),
    )
    return draft_of(recorded_id(recording), data, at=_time(recording, now), branch_id=_branch_id(call, lender))


def fact_of_transcript(
    transcript: ListedTranscript, recording: ListedRecording, call: ListedCall, lender: Lender, now: datetime
) -> Draft[CallFact]:
    """Return what the webhook of a transcription would have told."""
    data = VoicemailTranscribed(
        **fields_of(call.sid, Caller("invalid"), lender),
        recording_id=recording.sid,
        text=(transcript.text or "")[:LONGEST_TRANSCRIPT] or None,
    )
    return draft_of(transcribed_id(recording), data, at=_time(recording, now), branch_id=_branch_id(call, lender))


def _branch_id(call: ListedCall, lender: Lender) -> str:
    branch = lender.directory.branch_by_number(normalize_caller(call.dialed).e164 or "")
    return branch.id if branch else ""


def _time(recording: ListedRecording, now: datetime) -> datetime:
    return recording.at if is_close(recording.at, now) else now
