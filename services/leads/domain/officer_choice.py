"""Who gets a lead: whoever is reachable, has room today, is available, and is furthest below their share."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, date, datetime

from schemas.card import OfficerStatus
from services.leads.domain.model import TAKEN_LIMIT, OfficerState

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_ORDER_OF_STATUS: Mapping[OfficerStatus, int] = {"available": 0, "busy": 1, "in_meeting": 1, "off": 2}
"""A busy officer is back in minutes and counts as reachable. An officer who is off gets a lead only when nobody else is
there: a lead without an owner is worse, for every lead has one as soon as it exists (fact Q22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An officer of the branch with what the directory says of them."""

    officer: OfficerState
    _: KW_ONLY
    weight: int = 1
    daily_capacity: int = 25


def choose(candidates: Sequence[Candidate], local_day: date, cause_id: str) -> OfficerState | None:
    """Return who gets the lead, or None when the branch has nobody.

    With unchanged candidates the rule keeps everyone within 1 lead of their share of a local day at equal weights, and
    within 2 where no weight is more than 3 times another. It is the Sainte-Lague method of apportionment: it rounds each
    share to the nearest whole number, and only the sum makes it deviate further.

    Args:
        candidates: the branch's people in the directory's order, which breaks ties.
        local_day: of the branch; capacity and shares are counted per local day.
        cause_id: whoever has taken this lead already, before a crash, gets it again.
    """
    for candidate in candidates:
        if cause_id in candidate.officer.taken:
            return candidate.officer

    def rank(candidate: Candidate) -> tuple[bool, bool, bool, int, float, datetime]:
        officer, weight = candidate.officer, candidate.weight
        today = assigned_on(officer, local_day)
        return (
            weight == 0,
            officer.status == "off",
            today >= candidate.daily_capacity,
            _ORDER_OF_STATUS[officer.status],
            (2 * today + 1) / weight if weight else 0.0,
            officer.last_assigned_at or _LONG_AGO,
        )

    return min(candidates, key=rank).officer if candidates else None


def assigned_on(officer: OfficerState, local_day: date) -> int:
    """Return how many leads the officer has on a day; a day before the one counted is read as that one.

    A late report of yesterday's call is handed out today, so it counts as one of today's.
    """
    return officer.assigned_today if officer.day is not None and officer.day >= local_day else 0


def take(officer: OfficerState, cause_id: str, local_day: date, now: datetime) -> OfficerState:
    """Return the officer with one more lead; unchanged when they have taken this lead already."""
    if cause_id in officer.taken:
        return officer
    return replace(
        officer,
        day=max(officer.day or local_day, local_day),
        assigned_today=assigned_on(officer, local_day) + 1,
        last_assigned_at=now,
        taken=(*officer.taken, cause_id)[-TAKEN_LIMIT:],
    )
