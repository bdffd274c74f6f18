"""Who gets a lead: whoever is reachable, has room today, and is furthest below their share."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.card import OfficerStatus
from services.leads.domain.model import OfficerState
from services.leads.domain.officer_choice import Candidate, choose, take
from tests.unit.leads.events import AT

DAY = AT.date()
EARLY, LATE = AT - timedelta(hours=2), AT - timedelta(hours=1)


def _chosen(*candidates: Candidate, cause: str = "e1") -> str | None:
    found = choose(candidates, DAY, cause)
    return found.officer_id if found else None


def _day_of_leads(weights: list[int], leads: int, already: list[OfficerState] | None = None) -> list[int]:
    """Return how many of a day's leads each officer got; only the leads change the officers."""
    officers = already or [OfficerState(officer_id=f"officer-{n}") for n in range(len(weights))]
    for lead in range(leads):
        candidates = [
            Candidate(officer=officer, weight=weight, daily_capacity=1000)
            for officer, weight in zip(officers, weights, strict=True)
        ]
        chosen = choose(candidates, DAY, f"lead-{lead}")
        assert chosen is not None
        at = officers.index(chosen)
        officers[at] = take(chosen, f"lead-{lead}", DAY, AT + timedelta(seconds=lead))
    return [officer.assigned_today if officer.day == DAY else 0 for officer in officers]


def test_longest_waiting_of_the_available_with_equal_shares_gets_the_lead() -> None:
    assert (
        _chosen(
            Candidate(officer=OfficerState(officer_id="a", last_assigned_at=LATE)),
            Candidate(officer=OfficerState(officer_id="b", last_assigned_at=EARLY)),
            Candidate(officer=OfficerState(officer_id="c", status="off")),
        )
        == "b"
    )


def test_officer_with_fewer_leads_today_gets_the_lead_although_another_has_waited_longer() -> None:
    assert (
        _chosen(
            Candidate(officer=OfficerState(officer_id="a", day=DAY, assigned_today=2, last_assigned_at=EARLY)),
            Candidate(officer=OfficerState(officer_id="b", day=DAY, assigned_today=1, last_assigned_at=LATE)),
        )
        == "b"
    )


def test_officer_of_twice_the_weight_gets_two_leads_while_the_other_gets_one() -> None:
    assert _day_of_leads([2, 1], 30) == [20, 10]


@given(st.integers(1, 12), st.integers(0, 120))
def test_day_at_equal_weights_leaves_nobody_more_than_one_off_their_share(people: int, leads: int) -> None:
    for got in _day_of_leads([1] * people, leads):
        assert abs(got - leads / people) <= 1


@given(
    st.integers(1, 33).flatmap(lambda low: st.lists(st.integers(low, 3 * low), min_size=1, max_size=8)),
    st.integers(0, 120),
)
def test_day_with_weights_up_to_threefold_leaves_nobody_more_than_two_off_their_share(
    weights: list[int], leads: int
) -> None:
    for got, weight in zip(_day_of_leads(weights, leads), weights, strict=True):
        assert abs(got - leads * weight / sum(weights)) <= 2


def test_yesterdays_leads_leave_no_trace_in_todays_shares() -> None:
    yesterday = DAY - timedelta(days=1)
    tired = [
        OfficerState(officer_id="a", day=yesterday, assigned_today=9, last_assigned_at=LATE),
        OfficerState(officer_id="b"),
    ]
    assert _day_of_leads([1, 1], 10, tired) == [5, 5]


@pytest.mark.parametrize("status", ["busy", "in_meeting"])
def test_officer_who_is_busy_or_in_a_meeting_is_passed_over_for_an_available_one(status: OfficerStatus) -> None:
    """Fact G1: an officer on the phone or in a meeting is skipped, however long they have waited."""
    waiting = Candidate(officer=OfficerState(officer_id="a", status=status, last_assigned_at=EARLY))
    assert _chosen(waiting, Candidate(officer=OfficerState(officer_id="b", last_assigned_at=LATE))) == "b"


def test_nobody_available_still_gives_the_lead_an_owner_the_busy_before_those_who_are_off() -> None:
    """Fact Q22: every lead has an owner as soon as it exists."""
    off = Candidate(officer=OfficerState(officer_id="a", status="off"))
    assert _chosen(off, Candidate(officer=OfficerState(officer_id="b", status="busy"))) == "b"
    assert _chosen(off) == "a"
    assert _chosen() is None


def test_full_officer_comes_after_one_with_room_and_is_empty_again_on_a_new_day() -> None:
    """Fact G2: the leads never all go to one officer; whoever has their capacity for the day comes last."""
    full = OfficerState(officer_id="a", day=DAY, assigned_today=2)
    behind = Candidate(officer=OfficerState(officer_id="b", day=DAY, assigned_today=9, last_assigned_at=LATE))
    assert _chosen(Candidate(officer=full, daily_capacity=2), behind) == "b"
    assert _chosen(Candidate(officer=replace(full, day=DAY - timedelta(days=1)), daily_capacity=2), behind) == "a"


@pytest.mark.parametrize("status", ["busy", "in_meeting"])
def test_full_available_officer_comes_after_a_busy_one_with_room_and_before_one_who_is_off(
    status: OfficerStatus,
) -> None:
    """Fact G2: the leads never all go to one officer, and one who is busy is back in minutes."""
    full = Candidate(officer=OfficerState(officer_id="a", day=DAY, assigned_today=2), daily_capacity=2)
    busy = Candidate(
        officer=OfficerState(officer_id="b", status=status, day=DAY, assigned_today=9, last_assigned_at=LATE)
    )
    assert _chosen(full, busy) == "b"
    assert _chosen(full, Candidate(officer=OfficerState(officer_id="c", status="off"))) == "a"


def test_officer_of_weight_zero_comes_after_one_who_is_off() -> None:
    assert (
        _chosen(
            Candidate(officer=OfficerState(officer_id="a"), weight=0),
            Candidate(officer=OfficerState(officer_id="b", status="off")),
        )
        == "b"
    )
    assert _chosen(Candidate(officer=OfficerState(officer_id="a"), weight=0)) == "a"


def test_late_report_of_yesterday_leaves_an_officers_day_and_count() -> None:
    full = OfficerState(officer_id="a", day=DAY, assigned_today=2, last_assigned_at=EARLY)
    after = take(full, "late", DAY - timedelta(days=1), AT)
    assert (after.day, after.assigned_today, after.last_assigned_at) == (DAY, 3, AT)
    behind = Candidate(officer=OfficerState(officer_id="b", day=DAY, assigned_today=9, last_assigned_at=LATE))
    assert _chosen(Candidate(officer=after, daily_capacity=3), behind) == "b"
    late = choose([Candidate(officer=after, daily_capacity=3), behind], DAY - timedelta(days=1), "late-2")
    assert late == behind.officer


def test_officer_who_took_it_before_a_crash_gets_it_again_and_is_not_counted_twice() -> None:
    taken = take(OfficerState(officer_id="b", last_assigned_at=LATE), "e1", DAY, AT)
    assert _chosen(Candidate(officer=OfficerState(officer_id="a")), Candidate(officer=taken)) == "b"
    assert take(taken, "e1", DAY, AT) == taken
    assert (taken.assigned_today, taken.last_assigned_at) == (1, AT)
