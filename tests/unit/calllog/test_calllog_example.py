"""The example log is what its generator writes, and has the shape that lenders see."""

import gzip
from collections import Counter
from datetime import date

import pytest

from deploy.examples import generate_calls
from services.cli.calllog import LoggedCall, Tally, calls_of_day, read_call_log
from services.policy.directory import Branch, Directory, load_directory
from services.policy.hours import federal_holidays

LENDER = load_directory(generate_calls.DIRECTORY)


def branch_of(call: LoggedCall, directory: Directory = LENDER) -> Branch:
    branch = directory.branch_by_number(call.dialled)
    assert branch is not None
    return branch


@pytest.fixture(scope="module")
def log() -> list[LoggedCall]:
    tally = Tally()
    calls = list(read_call_log(generate_calls.TWILIO_LOG, tally))
    assert tally.problems == []
    assert (tally.calls, tally.skipped, tally.duplicates) == (len(calls), 0, 0)
    return calls


def share(part: int, whole: list[LoggedCall]) -> float:
    return part / len(whole)


def test_generator_writes_the_committed_bytes_again() -> None:
    calls = generate_calls.make_calls(LENDER)
    assert gzip.decompress(generate_calls.TWILIO_LOG.read_bytes()) == generate_calls.twilio_csv(calls).encode()
    assert generate_calls.RINGCENTRAL_LOG.read_bytes() == generate_calls.ringcentral_json(calls).encode()
    assert generate_calls.TWILIO_LOG.stat().st_size < 1024 * 1024
    assert generate_calls.main(["--check"]) == 0


def test_log_has_ninety_days_of_three_branches_across_a_change_to_summer_time(log: list[LoggedCall]) -> None:
    days = Counter((branch_of(c).id, LENDER.local_day(branch_of(c), c.started_at)) for c in log)
    assert len(days) == 3 * 90
    assert min(day for _, day in days) == date(2026, 1, 15)
    assert max(day for _, day in days) == date(2026, 4, 14)
    assert 100 <= len(log) / 90 <= 150
    offsets = {c.started_at.astimezone(branch_of(c).zone).utcoffset() for c in log if branch_of(c).id == "new-york"}
    assert len(offsets) == 2


def test_a_third_of_the_calls_come_between_six_and_ten_in_the_evening(log: list[LoggedCall]) -> None:
    """Fact D2: a third of the calls come when the branch is closed or closing."""
    evening = sum(18 <= c.started_at.astimezone(branch_of(c).zone).hour < 22 for c in log)
    assert 0.31 <= share(evening, log) <= 0.37


def test_three_quarters_are_answered_and_withheld_callers_are_as_many_as_expected(log: list[LoggedCall]) -> None:
    """Fact A10: some callers withhold their number."""
    assert 0.70 <= share(sum(c.answered for c in log), log) <= 0.76
    assert 0.03 <= share(sum(c.caller_kind == "withheld" for c in log), log) <= 0.07
    assert all(c.caller_kind != "invalid" for c in log)


def test_missed_calls_are_voicemails_and_hang_ups_one_ring_ones_too(log: list[LoggedCall]) -> None:
    """Facts A8, Q1: calls of one ring count, and a carrier's voicemail is no answer."""
    missed = [c for c in log if not c.answered]
    assert 0.3 <= share(sum(c.voicemail for c in missed), missed) <= 0.45
    assert 0.06 <= share(sum(c.duration_s < 7 for c in missed), missed) <= 0.2
    assert any(c.transcript for c in missed)
    assert any(leg.status == "completed" and not leg.answered for c in missed for leg in c.legs)


def test_callers_come_back_the_same_day_and_later(log: list[LoggedCall]) -> None:
    """Fact C11: callers who try again the same day are in the log."""
    a_day = Counter(
        (c.caller, LENDER.local_day(branch_of(c), c.started_at)) for c in log if c.textable and not c.answered
    )
    assert sum(n > 1 for n in a_day.values()) > 90
    assert sum(n > 1 for n in Counter(c.caller for c in log if c.caller).values()) > 500


def test_holidays_and_sundays_are_quiet(log: list[LoggedCall]) -> None:
    days = Counter(LENDER.local_day(branch_of(c), c.started_at) for c in log)
    mondays = [n for day, n in days.items() if day.weekday() == 0 and day not in federal_holidays(2026)]
    quiet = [n for day, n in days.items() if day.weekday() == 6 or day in federal_holidays(2026)]
    assert sum(quiet) / len(quiet) < 0.5 * sum(mondays) / len(mondays)


def test_every_number_is_of_the_block_kept_for_fiction(log: list[LoggedCall]) -> None:
    numbers = {c.caller for c in log if c.caller} | {c.dialled for c in log} | {leg.to for c in log for leg in c.legs}
    assert all(number is not None and number[5:10] == "55501" for number in numbers)


def test_ringcentral_example_tells_of_the_same_calls(log: list[LoggedCall]) -> None:
    tally = Tally()
    theirs = list(read_call_log(generate_calls.RINGCENTRAL_LOG, tally))
    denver = LENDER.branch(generate_calls.RINGCENTRAL_BRANCH)
    ours = [c for c in calls_of_day(log, generate_calls.RINGCENTRAL_DAY, denver.zone) if branch_of(c) is denver]
    assert tally.problems == []

    def told(calls: list[LoggedCall]) -> list[tuple[object, ...]]:
        return [(c.caller, c.dialled, c.started_at, c.ended_at, c.answered, c.voicemail, c.talk_s) for c in calls]

    assert told(theirs) == told(ours)
