"""Where a lead belongs: a branch, its day, its next business morning."""

from dataclasses import dataclass
from datetime import date, datetime

from schemas.base import LocalTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the directory says of the lead's branch at the end of the call.

    `task_due_at` is None for a task that is due at once. It is a later instant where nobody answers: the branch is
    closed, and its lender sends this caller no text after hours.
    """

    branch_id: str
    local_day: date
    callback_morning: LocalTime
    task_due_at: datetime | None = None
