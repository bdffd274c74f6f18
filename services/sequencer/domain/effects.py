"""What a decision asks for: data, not calls to anything. All of it is about the caller's current sequence."""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import Lane, LocalTime
from schemas.touches import SuppressReason


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitTouch:
    """A text is due now."""

    step: str
    attempt: int
    template: str
    lane: Lane
    due_at: datetime
    expires_at: datetime
    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Have a tick come at `due_at`, for this attempt at this step."""

    step: str
    attempt: int
    due_at: datetime
    due_local: LocalTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTask:
    """A person has to call the borrower."""

    step: str
    attempt: int
    due_at: datetime
    due_local: LocalTime | None
    urgent: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Suppress:
    """This step will not happen, and why."""

    step: str
    attempt: int
    reason: SuppressReason


Effect = EmitTouch | SetTimer | RequestTask | Suppress
