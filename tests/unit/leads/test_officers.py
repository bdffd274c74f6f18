"""Who gets a lead: available first, then whoever has waited longest."""

from dataclasses import replace
from datetime import timedelta

from services.leads.domain.model import Officer
from services.leads.domain.officers import Candidate, choose, take
from tests.unit.leads.build import AT

DAY = AT.date()
EARLY, LATE = AT - timedelta(hours=2), AT - timedelta(hours=1)


def _chosen(*candidates: Candidate, cause: str = "e1") -> str | None:
    found = choose(candidates, DAY, cause)
    return found.officer_id if found else None


def test_least_recently_assigned_of_the_available_gets_it() -> None:
    assert _chosen(
        Candidate(Officer("a", last_assigned_at=LATE)),
        Candidate(Officer("b", last_assigned_at=EARLY)),
        Candidate(Officer("c", status="off")),
    ) == "b"  # fmt: skip


def test_nobody_available_still_gives_the_lead_an_owner_the_busy_before_those_who_are_off() -> None:
    """Q22."""
    assert _chosen(Candidate(Officer("a", status="off")), Candidate(Officer("b", status="busy"))) == "b"
    assert _chosen(Candidate(Officer("a", status="off"))) == "a"
    assert _chosen() is None


def test_full_day_and_no_weight_come_last_and_a_new_day_counts_anew() -> None:
    full = Officer("a", day=DAY, assigned_today=2)
    assert _chosen(Candidate(full, daily_capacity=2), Candidate(Officer("b", last_assigned_at=LATE))) == "b"
    assert _chosen(Candidate(replace(full, day=DAY - timedelta(days=1)), daily_capacity=2)) == "a"
    assert _chosen(Candidate(Officer("a"), weight=0), Candidate(Officer("b", status="off"))) == "b"


def test_officer_who_took_it_before_a_crash_gets_it_again_and_is_not_counted_twice() -> None:
    taken = take(Officer("b", last_assigned_at=LATE), "e1", DAY, AT)
    assert _chosen(Candidate(Officer("a")), Candidate(taken)) == "b"
    assert take(taken, "e1", DAY, AT) == taken
    assert (taken.assigned_today, taken.last_assigned_at) == (1, AT)
