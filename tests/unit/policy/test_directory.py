"""The lender's directory: what is in the example, what a wrong file is told, and when a branch is open."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from services.policy.directory import Directory, DirectoryError, load_directory, parse_directory
from services.policy.hours import Calendar, Exceptions, Hours, federal_holidays

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "lender.yaml"


@pytest.fixture(scope="module")
def lender() -> Directory:
    return load_directory(EXAMPLE)


def local(zone: str, *parts: int) -> datetime:
    year, month, day, hour, minute = parts
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def broken(edit: Any) -> DirectoryError:
    data = yaml.safe_load(EXAMPLE.read_text())
    edit(data)
    with pytest.raises(DirectoryError) as caught:
        parse_directory(yaml.safe_dump(data), "lender.yaml")
    return caught.value


def test_example_has_three_branches_in_three_zones(lender: Directory) -> None:
    assert [b.time_zone for b in lender.branches] == ["America/New_York", "America/Denver", "America/Los_Angeles"]
    assert all(len(lender.officers_of(b.id)) == 3 for b in lender.branches)


def test_example_numbers_are_all_of_the_block_kept_for_fiction(lender: Directory) -> None:
    numbers = [n for b in lender.branches for n in b.numbers] + [o.phone for o in lender.officers]
    assert all(number[5:8] == "555" and number[8:10] == "01" for number in numbers)


def test_lookups_find_what_is_there_and_say_what_is_not(lender: Directory) -> None:
    found = lender.branch_by_number("+16465550100")
    assert found is not None
    assert found.id == "new-york"
    assert lender.branch_by_number("+12025550100") is None
    officer = lender.officer("june-kowalczyk")
    assert officer is not None
    assert lender.nmls_ids(officer) == "9900022/9900001"
    assert lender.nmls_ids(None) == "9900001"
    assert lender.officer("gone") is None
    with pytest.raises(DirectoryError, match="no branch has the id 'gone'"):
        lender.branch("gone")
    with pytest.raises(DirectoryError, match=r"templates\.missed_call_first\.gone: not there"):
        lender.template("missed_call_first", "gone")


@pytest.mark.parametrize("name", ["Maria", None])
@pytest.mark.parametrize("variant", ["free", "busy", "no_name", "after_hours"])
def test_first_text_reads_well_with_and_without_a_name(lender: Directory, variant: str, name: str | None) -> None:
    """Facts C1, C7, C10: it says sorry, who writes and one next step, and reads well without a name."""
    env = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    text = env.from_string(lender.template("missed_call_first", variant).text).render(
        name=name,
        officer_name="Marcus Oyelaran",
        company=lender.name,
        number="+12125550100",
        nmls_ids="9900012/9900001",
    )
    assert "  " not in text
    assert " ," not in text
    assert text.isascii()
    assert len(text) <= 2 * 153
    assert lender.name in text
    assert "NMLS 9900012/9900001" in text
    assert "Reply STOP to opt out." in text
    if name and variant != "no_name":
        assert text.startswith("Hi Maria, sorry")


def test_only_the_free_variant_says_the_officer_is_available_now(lender: Directory) -> None:
    """Fact C14: "I'm available now" is not sent when the officer is not."""
    says = {
        v for v, t in lender.templates["missed_call_first"].items() if "available" in t.text or "now" in t.text.split()
    }
    assert says == {"free"}


def test_second_text_has_the_wording_of_the_guide_in_one_segment(lender: Directory) -> None:
    """Fact C2: the second text asks for the best time for a quick call."""
    text = lender.template("missed_call_second", "default").text
    assert text == "Happy to answer any mortgage questions. What's the best time for a quick 10-minute call?"


def test_unknown_zone_is_named_with_its_path() -> None:
    error = broken(lambda d: d["branches"][1].update(time_zone="US/Pacfic"))
    assert (
        str(error)
        == "lender.yaml: branches[1].time_zone: unknown time zone 'US/Pacfic'; write its IANA name, such as America/New_York"
    )


@pytest.mark.parametrize(
    "name", ["   ", " Dana", "Dana ", "\U0001f3e0", "Dana \U0001f3e0", "--", "Da\u200bna", "Da\nna"]
)
@pytest.mark.parametrize("where", ["name", "legal_name", "officer", "branch", "approved_by"])
def test_name_that_says_nothing_or_that_no_text_can_say_is_refused(name: str, where: str) -> None:
    def edit(data: Any) -> None:
        spots = {
            "officer": (data["officers"][0], "name"),
            "branch": (data["branches"][0], "name"),
            "approved_by": (data["templates"]["missed_call_first"]["free"], "approved_by"),
        }
        found, key = spots.get(where, (data, where))
        found[key] = name

    assert "is not a name" in str(broken(edit))


@pytest.mark.parametrize("name", ["José Núñez", "O'Brien-Smith, Jr.", "21st Mortgage & Co.", "Søren (West)"])
def test_names_as_people_and_companies_have_them_are_taken(name: str) -> None:
    data = yaml.safe_load(EXAMPLE.read_text())
    data["officers"][0]["name"] = name
    assert parse_directory(yaml.safe_dump(data)).officers[0].name == name


@pytest.mark.parametrize(
    "zone", ["Factory", "localtime", "EST", "EST5EDT", "Etc/GMT+5", "UTC", "america/new_york", " "]
)
def test_zone_that_is_no_places_is_refused(zone: str) -> None:
    error = broken(lambda d: d["branches"][1].update(time_zone=zone))
    assert "branches[1].time_zone: " in str(error)
    assert "such as America/New_York" in str(error)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda d: d["branches"][0]["officers"].append("gone"),
         "branches[0].officers[3]: no officer has the id 'gone'"),
        (lambda d: d["branches"][0]["officers"].append("dana-whitfield"),
         "branches[0].officers[3]: duplicate id 'dana-whitfield'"),
        (lambda d: d["branches"][2]["numbers"].append("+13035550100"),
         "branches[2].numbers[1]: +13035550100 already belongs to branch 'denver'"),
        (lambda d: d["officers"][0].update(phone="+13035550100"),
         "officers[0].phone: +13035550100 is a branch's number"),
        (lambda d: d["officers"][0].update(phone="303-555-0123"),
         "officers[0].phone: '303-555-0123' is not a phone number; write +1 and ten digits, such as +12125550100"),
        (lambda d: d["officers"][1].update(id="dana-whitfield"), "officers[1].id: duplicate id 'dana-whitfield'"),
        (lambda d: d["officers"][0].update(licensed_states=["NY",
         "XX"]), "officers[0].licensed_states[1]: unknown state 'XX'; write its two letters, such as NY"),
        (lambda d: d["branches"][0]["hours"].update({"mon-fry": []}),
         "branches[0].hours: 'mon-fry' is not a day such as 'mon' or 'mon-fri'"),
        (lambda d: d["branches"][0]["hours"].update(mon=[]), "branches[0].hours: duplicate day 'mon'"),
        (lambda d: d["branches"][0]["hours"].update(sat=["9-12"]),
         "branches[0].hours: '9-12' is not a window such as '08:30-12:00'"),
        (lambda d: d["branches"][0]["hours"].update(sat=["13:00-12:00"]),
         "branches[0].hours: '13:00-12:00' ends before it starts"),
        (lambda d: d["branches"][0]["hours"].update(sat=["25:00-26:00"]),
         "branches[0].hours: '25:00-26:00': hour must be in 0..23"),
        (lambda d: d["branches"][0]["hours"].update(sat=["09:00-12:00", "11:00-13:00"]),
         "branches[0].hours: '11:00-13:00' starts before the window in front of it ends"),
        (lambda d: d["templates"]["missed_call_first"]["free"].update(text="Call {{ phone }}. {{ nmls_ids }} STOP"),
         "templates.missed_call_first.free.text: unknown placeholder 'phone'; there are company, name, nmls_ids, "
         "number, officer_name"),
        (lambda d: d["templates"]["missed_call_first"]["free"].update(text="STOP"),
         "templates.missed_call_first.free.text: a first text shows {{ nmls_ids }}, also to a borrower without a name"),
        (lambda d: d["templates"]["missed_call_first"]["free"].update(text="{{ nmls_ids }}"),
         "templates.missed_call_first.free.text: a first text says how to opt out (STOP), also to a borrower without a name"),
        (lambda d: d["templates"]["missed_call_second"]["default"].update(text="Hi \u2014 you"),
         "templates.missed_call_second.default.text: '\u2014' makes every text cost more segments; write plain ASCII"),
        (lambda d: d.update(colour="red"), "colour: is not a known field"),
        (lambda d: d.pop("legal_name"), "legal_name: is missing"),
    ],
)  # fmt: skip
def test_wrong_entry_is_named_with_path_and_reason(edit: Any, problem: str) -> None:
    assert problem in broken(edit).problems


def test_several_wrong_entries_are_all_named() -> None:
    def edit(data: Any) -> None:
        data["branches"][0]["time_zone"] = "Mars/Base"
        data["officers"][2]["nmls_id"] = "none"

    assert len(broken(edit).problems) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "line 1: not YAML"),
        ("- 1\n", "file: not a mapping"),
        ("", "file: not a mapping"),
        ("name: a\nname: b\n", "line 2: not YAML: duplicate key 'name'"),
        ("on: 2026-02-30\n", "line 1: not YAML: day is out of range for month"),
    ],
)
def test_file_that_is_no_directory_says_where(text: str, problem: str) -> None:
    with pytest.raises(DirectoryError, match=r"lender\.yaml") as caught:
        parse_directory(text, "lender.yaml")
    assert caught.value.problems[0].startswith(problem)


def test_problem_that_quotes_a_huge_value_is_one_short_line() -> None:
    error = broken(lambda data: data["branches"][0].update(time_zone="x" * 100_000))
    assert [len(problem) for problem in error.problems] == [300]
    assert len(str(error)) < 400


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DirectoryError, match=r"gone\.yaml: file: cannot be read"):
        load_directory(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("branch", "parts", "is_open"),
    [
        ("new-york", (2026, 1, 20, 8, 29), False),
        ("new-york", (2026, 1, 20, 8, 30), True),
        ("new-york", (2026, 1, 20, 12, 45), False),  # lunch
        ("new-york", (2026, 1, 20, 13, 15), True),
        ("new-york", (2026, 1, 20, 18, 0), False),
        ("new-york", (2026, 1, 19, 10, 0), False),  # Martin Luther King Day
        ("new-york", (2026, 7, 3, 10, 0), False),  # the 4th is a Saturday, observed the day before
        ("new-york", (2026, 2, 6, 11, 0), True),  # dated exception
        ("new-york", (2026, 2, 6, 14, 0), False),
        ("denver", (2026, 1, 24, 11, 0), True),
        ("denver", (2026, 1, 25, 11, 0), False),
    ],
)
def test_branch_is_open_by_hours_lunch_holiday_and_exception(
    lender: Directory, branch: str, parts: tuple[int, ...], is_open: bool
) -> None:
    at = local(lender.branch(branch).time_zone, *parts)
    assert lender.is_open(branch, at) is is_open
    assert lender.is_open(lender.branch(branch), at) is is_open


@pytest.mark.parametrize(
    ("branch", "after", "day"),
    [
        ("new-york", (2026, 1, 20, 14, 0), date(2026, 1, 21)),
        ("new-york", (2026, 1, 21, 2, 0), date(2026, 1, 21)),
        ("new-york", (2026, 1, 21, 8, 30), date(2026, 1, 22)),  # strictly after
        ("new-york", (2026, 1, 16, 21, 0), date(2026, 1, 20)),  # Friday night before a holiday Monday
        ("denver", (2026, 1, 16, 21, 0), date(2026, 1, 17)),  # open on Saturdays
        ("new-york", (2026, 3, 6, 20, 0), date(2026, 3, 9)),  # summer time starts on the Sunday between
        ("new-york", (2026, 12, 31, 20, 0), date(2027, 1, 4)),
    ],
)
def test_next_business_morning_skips_closed_days(
    lender: Directory, branch: str, after: tuple[int, ...], day: date
) -> None:
    """Facts C3, D5: the callback is queued for the next business morning, past weekends and holidays."""
    zone = lender.branch(branch).time_zone
    found = lender.next_business_morning(branch, local(zone, *after))
    assert (found.on, found.at, found.zone) == (day, time(8, 30), zone)
    assert found.utc() == local(zone, day.year, day.month, day.day, 8, 30)


def test_next_business_morning_is_at_the_same_wall_time_across_summer_time(lender: Directory) -> None:
    before = lender.next_business_morning("new-york", local("America/New_York", 2026, 3, 5, 20, 0))
    after = lender.next_business_morning("new-york", local("America/New_York", 2026, 3, 6, 20, 0))
    assert (before.utc().hour, after.utc().hour) == (13, 12)


def test_local_day_is_the_branchs_and_not_utcs(lender: Directory) -> None:
    at = datetime(2026, 2, 1, 5, 30, tzinfo=UTC)
    assert [lender.local_day(b, at) for b in lender.branches] == [
        date(2026, 2, 1),
        date(2026, 1, 31),
        date(2026, 1, 31),
    ]


@pytest.mark.parametrize(
    ("hours", "exceptions", "day", "at"),
    [
        ({"mon-fri": ["13:00-17:00"]}, {}, date(2026, 1, 2), time(13)),  # New Year's Day is closed
        ({"mon-fri": ["12:00-17:00"], "sat": ["11:59-14:00"]}, {}, date(2026, 1, 3), time(8, 30)),
        ({}, {date(2026, 1, 8): ["14:00-15:00"]}, date(2026, 1, 8), time(14)),
        ({}, {date(2026, 1, 8): ["09:00-15:00"]}, date(2026, 1, 8), time(8, 30)),
        ({}, {}, date(2026, 1, 2), time(8, 30)),
    ],
    ids=["afternoons", "noon-is-no-morning", "one-afternoon", "one-morning", "closed-for-good"],
)
def test_branch_without_mornings_has_its_callbacks_as_it_opens_and_one_closed_for_good_the_next_day(
    hours: dict[str, list[str]], exceptions: dict[date, list[str]], day: date, at: time
) -> None:
    calendar = Calendar(
        zone=ZoneInfo("America/New_York"),
        hours=Hours.model_validate(hours),
        exceptions=Exceptions.model_validate(exceptions),
        federal_holidays=True,
    )
    assert calendar.next_callbacks(local("America/New_York", 2026, 1, 1, 14, 0), time(8, 30)) == (day, at)


def test_federal_holidays_have_the_observed_day_of_next_years_new_year() -> None:
    assert date(2027, 12, 31) in federal_holidays(2027)
    assert len([d for d in federal_holidays(2026) if d.month == 7]) == 2
