"""What a call log says, whichever phone system wrote it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.policy.numbers import Caller, CallerKind

MAX_CALLS: Final = 250_000
"""Most inbound calls of one log, and most legs of them. They are held until the file ends, because exports come newest
first and a leg may stand before its call: about 1.5 KB a call, so 90 days at 150 a day (13,500) are 20 MB."""

KEPT_PROBLEMS: Final = 100
"""Bad rows that are remembered one by one; the rest is only counted."""


ANSWERED_FROM_S: Final = 30.0
"""From this length on, a completed call of a log that cannot say who talked counts as answered. Ringing is in it: our
phones ring for about 20 s, then a greeting begins, so what ends sooner was hardly a talk."""


class CompletedMeans(StrEnum):
    """What a completed call was, for all calls of which the log does not say who talked."""

    MISSED = "missed"
    ANSWERED = "answered"


class CallLogError(ValueError):
    """The file as a whole is not a call log that we can read; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out. `line` is the line of the CSV, or the number of the record, both from 1."""

    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.reason}"


class RowError(ValueError):
    """A field of one row makes no sense."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field}: {reason}")


@dataclass(slots=True, kw_only=True)
class Tally:
    """What reading a log came to; filled while the calls are iterated."""

    rows: int = 0
    calls: int = 0
    legs: int = 0
    skipped: int = 0
    """Rows that are fine and not inbound calls of a borrower: outbound calls, faxes, internal calls."""
    duplicates: int = 0
    """Rows whose id was there before, as in exports that overlap."""
    has_legs: bool = False
    """Whether a leg of the file belongs to one of its calls: at least there the file says who talked."""
    judged: bool = False
    """Whether the file does not say who talked in some completed calls, so that these were judged; see `LoggedCall.judged`."""
    bad: int = 0
    problems: list[BadRow] = field(default_factory=list)

    def report(self, line: int, where: str, reason: str) -> None:
        """Count a bad row, and remember it while there are few."""
        self.bad += 1
        if len(self.problems) < KEPT_PROBLEMS:
            self.problems.append(BadRow(line, where, reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedLeg:
    """One phone of ours that the call was passed on to."""

    leg_id: str
    to: str | None
    status: str
    """Twilio's words: completed, busy, no-answer, failed, canceled."""
    answered: bool
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime

    @property
    def talk_s(self) -> float:
        """Seconds between answer and end."""
        return (self.ended_at - self.answered_at).total_seconds() if self.answered_at else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCall:
    """One inbound call, as the log tells it; what it *was* is decided by leads. Times are aware UTC."""

    provider: str
    call_id: str
    caller: str | None
    """E.164; None when withheld or no number: `caller_kind` tells which."""
    caller_kind: CallerKind
    caller_raw: str
    """As the phone system wrote it, so that a replay sends what the phone system would have sent."""
    dialled: str
    status: str
    started_at: datetime
    ended_at: datetime
    legs: tuple[LoggedLeg, ...] = ()
    voicemail: bool = False
    voicemail_s: float = 0.0
    transcript: str | None = None
    judged: bool = False
    """The log does not say who talked in this call; whether the call counts as answered was judged by its length, or by the user."""

    @property
    def answered(self) -> bool:
        """Whether the log says that someone of ours picked up. A carrier's voicemail may look the same (fact Q1)."""
        return any(leg.answered for leg in self.legs)

    @property
    def textable(self) -> bool:
        """Whether there is a number that a text could go to."""
        return Caller(self.caller_kind, self.caller).textable

    @property
    def duration_s(self) -> float:
        """Seconds from the first ring to the end."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def talk_s(self) -> float:
        """Seconds with someone of ours."""
        return sum(leg.talk_s for leg in self.legs)

    @property
    def ring_s(self) -> float:
        """Seconds until someone answered, or the voicemail took over, or the end."""
        answers = [leg.answered_at for leg in self.legs if leg.answered_at is not None]
        if answers:
            return max(0.0, (min(answers) - self.started_at).total_seconds())
        return max(0.0, self.duration_s - self.voicemail_s)

    @property
    def hung_up_ringing(self) -> bool:
        """Whether the log says that the caller gave up while our phones rang (facts A4, A8).

        Only a canceled leg, or a canceled call without legs, says so: phones that rang out, were busy or declined, or a
        greeting that was heard, are a call that nobody took.
        """
        if self.answered or self.voicemail:
            return False
        said = [leg.status for leg in self.legs] or [self.status]
        return all(status == "canceled" for status in said)
