"""`call-events`: one fact for each webhook. Facts of one call may arrive in any order and more than once."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.base import E164, EventData, Id, Instant

LegStatus = Literal["completed", "busy", "no-answer", "failed", "canceled"]
CallStatus = Literal["completed", "busy", "no-answer", "failed", "canceled"]


class CallFact(EventData):
    """Something that is true of one call."""

    TOPIC: ClassVar[str] = "call-events"

    provider: Id = Field(examples=["twilio"])
    call_id: Id = Field(description="the provider's own id of the whole call", examples=["CA" + "0" * 32])
    caller: E164 | None = Field(default=None, description="null: the caller withheld it, or this fact does not name it")
    caller_withheld: bool = Field(
        default=False, description="true: the provider says that the caller withheld the number"
    )
    dialled: E164 | None = Field(default=None, description="the branch's number; null where this fact does not name it")
    test: bool = Field(default=False, description="a call from an internal number: no figure counts it")


class CallStarted(CallFact):
    """A borrower calls; our TwiML dials `legs_dialled` officers."""

    TYPE: ClassVar[str] = "call.started"
    legs_dialled: int = Field(ge=0, le=32)
    started_at: Instant


class CallLegAnswered(CallFact):
    """A person took the call: an officer pressed the key that a carrier's voicemail cannot press."""

    TYPE: ClassVar[str] = "call.leg_answered"
    leg_id: Id
    officer_id: Id | None = None
    answered_at: Instant


class CallLegEnded(CallFact):
    """One officer's leg is over. `completed` does not prove that a person answered: a voicemail box picks up too."""

    TYPE: ClassVar[str] = "call.leg_ended"
    leg_id: Id
    officer_id: Id | None = None
    status: LegStatus
    ended_at: Instant
    listed: bool = Field(
        default=False,
        description="true: read from the provider's list because no webhook told it; what was pressed is not in that list",
    )


class CallEnded(CallFact):
    """The borrower's own call is over."""

    TYPE: ClassVar[str] = "call.ended"
    status: CallStatus
    duration_s: float | None = Field(default=None, ge=0)
    ended_at: Instant


class VoicemailRecorded(CallFact):
    """The caller left a voicemail. It does not change what the call was."""

    TYPE: ClassVar[str] = "voicemail.recorded"
    recording_id: Id
    url: str = Field(max_length=2000)
    duration_s: float = Field(ge=0)


class VoicemailTranscribed(CallFact):
    """A voicemail's words; `text` is null when the provider could not transcribe it."""

    TYPE: ClassVar[str] = "voicemail.transcribed"
    recording_id: Id
    text: str | None = Field(default=None, max_length=10_000)


class CallCompleted(CallFact):
    """A whole call in one report, from systems that report only finished calls. `talk_time_s` counts only a person of ours."""

    TYPE: ClassVar[str] = "call.completed"
    started_at: Instant
    ended_at: Instant
    duration_s: float = Field(ge=0)
    answered: bool
    talk_time_s: float = Field(ge=0)
    voicemail: bool = False


CALL_EVENTS: tuple[type[CallFact], ...] = (
    CallStarted, CallLegAnswered, CallLegEnded, CallEnded, VoicemailRecorded, VoicemailTranscribed, CallCompleted,
)  # fmt: skip
