"""The JSON of `/webhooks/calls`, read strictly: a wrong type is named, never guessed at."""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from schemas.problems import problems_of, written
from services.ingest.domain.reported_calls import Report
from services.ingest.errors import InvalidField, UnreadableBody

LONGEST_S: Final = 86_400.0

Seconds = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]


class CallReportBody(BaseModel):
    """The JSON; `from` is null or a word such as `anonymous` when the caller withheld it, and must be there."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    event: Literal["call.completed"]
    call_id: Annotated[
        str, written(r"[\x21-\x7e]{1,128}", "is not an id; write up to 128 letters, digits or signs, no spaces")
    ]
    from_: Annotated[str | None, Field(alias="from", max_length=200)]
    to: Annotated[str, Field(max_length=200)]
    started_at: AwareDatetime
    duration: Seconds
    answered: bool
    talk_time: Seconds
    ended_at: AwareDatetime | None = None
    voicemail: bool = False
    system: (
        Annotated[
            str,
            written("[a-z0-9][a-z0-9-]{0,31}", "is not a name; write up to 32 lowercase letters, digits and hyphens"),
        ]
        | None
    ) = None


def read_report(body: bytes) -> Report:
    """Return the report in a body.

    Raises:
        UnreadableBody: no JSON object.
        InvalidField: a field is missing or wrong.
    """
    try:
        said = CallReportBody.model_validate_json(body)
    except ValidationError as error:
        where, why = problems_of(error)[0]
        if not where:
            raise UnreadableBody("malformed_body", "the body is not a JSON object") from error
        raise InvalidField(where, why) from error
    return Report(
        call_id=said.call_id,
        caller=said.from_,
        to=said.to,
        started_at=said.started_at,
        duration=said.duration,
        answered=said.answered,
        talk_time=said.talk_time,
        ended_at=said.ended_at,
        voicemail=said.voicemail,
        system=said.system,
    )
