"""`/webhooks/calls`: whole calls from systems that report them so, in one shape for all of them (facts A1-A4)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.calls import CallCompleted
from services.ingest.domain.fields import CLOSE_S, is_close
from services.ingest.domain.lender import Lender
from services.ingest.domain.reading import Accepted, Draft, Reading
from services.ingest.errors import InvalidField
from services.policy.numbers import normalize_caller

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a phone system says of one call. `talk_time` counts a human on the lender's side, no queue or voicemail.

    `system` names the phone system where a lender has several: two of them may give two calls the same id.
    """

    call_id: str
    caller: str | None
    to: str
    started_at: datetime
    duration: float
    answered: bool
    talk_time: float
    ended_at: datetime | None = None
    voicemail: bool = False
    system: str | None = None


def completed(report: Report, lender: Lender, now: datetime) -> Reading:
    """One whole call: `call.completed`."""
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
    number, branch = lender.dialed(report.to, "to")
    caller = normalize_caller(report.caller)
    # A provider's name has no colon, so no call id can make the one of another system's call.
    provider = f"calls-{report.system}" if report.system else "calls"
    data = CallCompleted(
        provider=provider,
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
    event_id = f"{provider}:{report.call_id}:completed"
    at = ended if is_close(ended, now) else now
    draft = Draft(id=event_id, data=data, time=at, branch_id=branch.id, caller=caller.e164, call_id=report.call_id)
    return Reading(drafts=(draft,), instruction=Accepted(event_id), unusable=caller.reason)
