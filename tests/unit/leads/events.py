"""Call facts, texts and results as ingest and the notifier write them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from schemas.base import EventData
from schemas.calls import (
    CallCompleted,
    CallEnded,
    CallFact,
    CallLegAnswered,
    CallLegEnded,
    CallStarted,
    LegStatus,
    VoicemailRecorded,
    VoicemailTranscribed,
)
from schemas.envelope import Event
from schemas.ids import partition_key
from schemas.inbound import ReplyReceived
from schemas.touches import TouchResult

LENDER = "larkspur"
CALLER = "+17185550134"
BRANCH_NUMBER = "+12125550100"
AT = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
"""A Tuesday, noon in New York."""

E = TypeVar("E", bound=EventData)
F = TypeVar("F", bound=CallFact)


def at(seconds: float) -> datetime:
    """Return an instant after the call began."""
    return AT + timedelta(seconds=seconds)


def event(id_: str, data: E, seconds: float = 0.0, caller: str | None = CALLER) -> Event[E]:
    """Return an event of the New York branch."""
    return Event(
        id=id_,
        data=data,
        source="test",
        time=at(seconds),
        key=partition_key(LENDER, caller, data.call_id if isinstance(data, CallFact) else ""),
        lender_id=LENDER,
        branch_id="new-york",
        received_at=at(seconds),
        traceparent="00-trace-span-01",
    )


@dataclass
class InboundCall:
    """One call to the branch, which dials `legs` officers."""

    call_id: str = "CA1"
    caller: str | None = CALLER
    legs: int = 2
    withheld: bool = False
    offset_s: float = 0.0

    def _fact(self, model: type[F], suffix: str, seconds: float, *, named: bool = True, **more: Any) -> Event[CallFact]:
        data = model(
            provider="twilio",
            call_id=self.call_id,
            caller=self.caller if named else None,
            caller_withheld=self.withheld and named,
            dialled=BRANCH_NUMBER if named else None,
            **more,
        )
        caller = self.caller if named else None
        return event(f"twilio:{self.call_id}:{suffix}", data, self.offset_s + seconds, caller)

    def at(self, seconds: float) -> datetime:
        return at(self.offset_s + seconds)

    def started(self) -> Event[CallFact]:
        return self._fact(CallStarted, "started", 0, legs_dialled=self.legs, started_at=self.at(0))

    def leg_answered(self, leg: int = 1, *, named: bool = True) -> Event[CallFact]:
        return self._fact(
            CallLegAnswered,
            f"L{leg}:answered",
            6,
            named=named,
            leg_id=f"{self.call_id}L{leg}",
            officer_id="dana-whitfield",
            answered_at=self.at(6),
        )

    def leg_ended(self, leg: int = 1, status: LegStatus = "no-answer") -> Event[CallFact]:
        return self._fact(
            CallLegEnded, f"L{leg}:ended", 20, leg_id=f"{self.call_id}L{leg}", status=status, ended_at=self.at(20)
        )

    def ended(self, seconds: float = 21) -> Event[CallFact]:
        return self._fact(
            CallEnded, "ended:completed", seconds, status="completed", duration_s=seconds, ended_at=self.at(seconds)
        )

    def recorded(self, duration_s: float = 12.0) -> Event[CallFact]:
        return self._fact(
            VoicemailRecorded,
            "RE1:recorded",
            40,
            named=False,
            recording_id=f"{self.call_id}RE",
            url="https://example.test/RE",
            duration_s=duration_s,
        )

    def transcribed(self, text: str | None = "Please call about a refinance") -> Event[CallFact]:
        return self._fact(
            VoicemailTranscribed, "RE1:transcribed", 60, named=False, recording_id=f"{self.call_id}RE", text=text
        )

    def completed(self, *, answered: bool, talk_time_s: float = 0.0, duration_s: float = 0.0) -> Event[CallFact]:
        return self._fact(
            CallCompleted,
            "completed",
            30,
            started_at=self.at(0),
            ended_at=self.at(30),
            duration_s=duration_s,
            answered=answered,
            talk_time_s=talk_time_s,
        )

    def missed(self) -> list[Event[CallFact]]:
        """Return every fact of a call that nobody took, the deciding one last."""
        return [self.started(), *(self.leg_ended(leg + 1) for leg in range(self.legs)), self.ended()]


def text(body: str, id_: str = "SM1", seconds: float = 120.0, caller: str = CALLER) -> Event[EventData]:
    """Return a borrower's text."""
    data = ReplyReceived(message_id=id_, caller=caller, to=BRANCH_NUMBER, body=body, received_at=at(seconds))
    return event(f"twilio:{id_}:received", data, seconds, caller)


def result(model: type[TouchResult], lead_id: str, state: str, step: str = "text-now", **more: Any) -> Event[EventData]:
    """Return a touch's result."""
    touch_id = f"touch-{step}"
    data = model(touch_id=touch_id, lead_id=lead_id, caller=CALLER, sequence_id="S1", step=step, **more)
    return event(f"{touch_id}:{state}", data, 60)
