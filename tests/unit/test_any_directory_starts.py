"""Whatever passes the directory's check can be started with and routed with: no service stops at a calendar."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.ingest.domain.lender import Lender
from services.leads.domain.model import OfficerState
from services.leads.domain.officer_choice import Candidate, choose
from services.policy.hours import DAYS
from services.runtime.lender_file import directory_or_exit

EXAMPLE: Final[Any] = yaml.safe_load((Path(__file__).parents[2] / "deploy/examples/lender.yaml").read_text())
DENVER: Final = EXAMPLE["branches"][1]
PEOPLE: Final = [officer for officer in EXAMPLE["officers"] if officer["id"] in DENVER["officers"]]

MINUTES: Final = st.lists(st.integers(0, 24 * 60 - 1), max_size=6, unique=True).map(sorted)
DAYTIMES: Final = st.dates(date(2024, 1, 1), date(2032, 12, 31))
NOW: Final = datetime(2026, 3, 3, 20, tzinfo=UTC)
INSTANTS: Final = st.integers(0, 8 * 365 * 24 * 60).map(
    lambda n: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n)
)
ZONES: Final = st.sampled_from(
    ["America/Denver", "America/New_York", "Africa/Abidjan", "America/St_Johns", "Pacific/Apia", "Pacific/Kiritimati"]
)


def windows(minutes: list[int]) -> list[str]:
    """Return opening windows from ends in order."""
    ends = [f"{at // 60:02}:{at % 60:02}" for at in minutes]
    return [f"{opens}-{closes}" for opens, closes in zip(ends[::2], ends[1::2], strict=False)]


WINDOWS: Final = MINUTES.map(windows)
HOURS: Final = st.dictionaries(st.sampled_from(DAYS), WINDOWS)
PERSON: Final = st.fixed_dictionaries({
    "status": st.sampled_from(["available", "busy", "in_meeting", "off"]), "weight": st.integers(0, 100),
    "daily_capacity": st.integers(0, 1000),
})  # fmt: skip
AFTERNOONS: Final[dict[str, list[str]]] = {"mon-fri": ["12:00-18:00"]}
OFF: Final[dict[str, Any]] = {"status": "off", "weight": 0, "daily_capacity": 0}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@example(hours=AFTERNOONS, exceptions={}, holidays="none", zone="Africa/Abidjan", people=[OFF] * 3, now=NOW)
@example(hours={}, exceptions={}, holidays="federal", zone="Africa/Abidjan", people=[OFF] * 3, now=NOW)
@given(
    hours=HOURS,
    exceptions=st.dictionaries(DAYTIMES, WINDOWS, max_size=4),
    holidays=st.sampled_from(["federal", "none"]),
    zone=ZONES,
    people=st.lists(PERSON, min_size=3, max_size=3),
    now=INSTANTS,
)
def test_directory_that_passes_the_check_starts_a_service_and_routes_a_lead(
    tmp_path: Path, hours: Any, exceptions: Any, holidays: str, zone: str, people: list[dict[str, Any]], now: datetime
) -> None:
    changes = {"hours": hours, "exceptions": exceptions, "holidays": holidays, "time_zone": zone}
    officers = [{**known, **drawn} for known, drawn in zip(PEOPLE, people, strict=True)]
    path = tmp_path / "lender.yaml"
    path.write_text(yaml.safe_dump({**EXAMPLE, "branches": [{**DENVER, **changes}], "officers": officers}))

    directory = directory_or_exit(path, now)
    branch = directory.branches[0]
    morning = directory.next_business_morning(branch, now)
    assert morning.utc() > now
    today, calendar = directory.local_day(branch, now), branch.calendar
    open_days = [day for day in (today + timedelta(days=n) for n in range(366)) if calendar.windows(day)]
    assert morning.on in open_days or not [day for day in open_days if day > today]
    assert morning.at == time(8, 30) or morning.at in [opens for opens, _ in calendar.windows(morning.on)]
    called = Lender(directory).on_shift(branch, now)
    assert bool(called) == (directory.is_open(branch, now) and any(one["status"] != "off" for one in people))
    here = directory.officers_of(branch.id)
    candidates = [
        Candidate(
            officer=OfficerState(officer_id=one.id, status=one.status),
            weight=one.weight,
            daily_capacity=one.daily_capacity,
        )
        for one in here
    ]
    assert choose(candidates, directory.local_day(branch, now), "cause") is not None


def test_service_that_is_given_a_wrong_directory_says_every_problem_and_exits_with_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lender.yaml"
    path.write_text(yaml.safe_dump({**EXAMPLE, "nmls_id": "none", "name": ""}))
    with pytest.raises(SystemExit) as exit_:
        directory_or_exit(path, datetime(2026, 3, 3, tzinfo=UTC))
    assert exit_.value.code == 78
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: name: is empty",
        f"{path}: nmls_id: is not an NMLS id; write up to 12 digits",
    ]
