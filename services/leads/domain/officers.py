"""Who gets a lead: available first, then whoever has waited longest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from schemas.card import OfficerStatus
from services.leads.domain.model import TAKEN_LIMIT, Officer

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_REACHABLE: Mapping[OfficerStatus, int] = {"available": 0, "busy": 1, "in_meeting": 1, "off": 2}
"""A busy officer is back in minutes; one who is off is asked only when nobody else is there, for a lead that nobody owns
is worse (Q22: somebody's name is on it at once)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An officer of the branch with what the directory says of them."""

    officer: Officer
    weight: int = 1
    daily_capacity: int = 25


def choose(candidates: Sequence[Candidate], local_day: date, cause_id: str) -> Officer | None:
    """Return who gets the lead, or None when the branch has nobody.

    Args:
        candidates: the branch's people in the directory's order, which breaks ties.
        local_day: of the branch; capacity is per local day.
        cause_id: whoever has taken it already, before a crash, gets it again.
    """
    for candidate in candidates:
        if cause_id in candidate.officer.taken:
            return candidate.officer

    def rank(candidate: Candidate) -> tuple[bool, int, bool, datetime]:
        officer = candidate.officer
        today = officer.assigned_today if officer.day == local_day else 0
        full = today >= candidate.daily_capacity
        return candidate.weight == 0, _REACHABLE[officer.status], full, officer.last_assigned_at or _LONG_AGO

    return min(candidates, key=rank).officer if candidates else None


def take(officer: Officer, cause_id: str, local_day: date, now: datetime) -> Officer:
    """Return the officer with one more lead; unchanged when it is a lead they have already taken."""
    if cause_id in officer.taken:
        return officer
    return replace(
        officer,
        day=local_day,
        assigned_today=officer.assigned_today + 1 if officer.day == local_day else 1,
        last_assigned_at=now,
        taken=(*officer.taken, cause_id)[-TAKEN_LIMIT:],
    )
