"""`/webhooks/calls`: whole calls from systems that report so (facts A1-A4), in one JSON shape for all of them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from schemas.calls import CallCompleted
from services.ingest.domain.fields import CLOSE_S, is_close
from services.ingest.domain.lender import Lender
from services.ingest.domain.outcome import Accepted, Fact, Outcome
from services.ingest.errors import InvalidField, UnreadableBody
from services.policy.numbers import normalise_caller

LONGEST_S: Final = 86_400.0
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)

Seconds = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]


class CallReport(BaseModel):
    """The JSON of `/webhooks/calls`. `talk_time` counts a human on the lender's side, not queue, hold or voicemail."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    event: Literal["call.completed"]
    call_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
    from_: Annotated[str | None, Field(alias="from", max_length=200)]
    to: Annotated[str, Field(max_length=200)]
    started_at: AwareDatetime
    duration: Seconds
    answered: bool
    talk_time: Seconds
    ended_at: AwareDatetime | None = None
    voicemail: bool = False


def completed(body: bytes, lender: Lender, now: datetime) -> Outcome:
    """One whole call: `call.completed`."""
    try:
        report = CallReport.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        if not first["loc"]:
            raise UnreadableBody("malformed_body", "the body is no JSON object") from error
        raise InvalidField(".".join(str(part) for part in first["loc"]), first["msg"]) from error
    latest = now + timedelta(seconds=CLOSE_S)
    for name, at in (("started_at", report.started_at), ("ended_at", report.ended_at)):
        if at is not None and at > latest:
            raise InvalidField(name, "lies in the future")
        if at is not None and at < _EARLIEST:
            raise InvalidField(name, "lies too far in the past")
    started = report.started_at.astimezone(UTC)
    ended = report.ended_at.astimezone(UTC) if report.ended_at else started + timedelta(seconds=report.duration)
    if ended < started:
        raise InvalidField("ended_at", "is before started_at")
    if ended > latest:
        raise InvalidField("duration", "makes the call end in the future")
    if report.talk_time > report.duration:
        raise InvalidField("talk_time", "is longer than duration")
    number, branch = lender.dialled(report.to, "to")
    caller = normalise_caller(report.from_)
    data = CallCompleted(
        provider="calls",
        call_id=report.call_id,
        caller=caller.e164,
        caller_withheld=caller.withheld,
        dialled=number,
        test=lender.is_test(caller.e164),
        started_at=started,
        ended_at=ended,
        duration_s=report.duration,
        answered=report.answered,
        talk_time_s=report.talk_time,
        voicemail=report.voicemail,
    )
    event_id = f"calls:{report.call_id}:completed"
    at = ended if is_close(ended, now) else now
    fact = Fact(event_id, data, at, branch.id, caller.e164, report.call_id)
    return Outcome((fact,), Accepted(event_id), unusable=caller.reason)
