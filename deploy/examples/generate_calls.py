"""Makes the example call logs: ninety days of an invented lender's calls, the same bytes from the same seed.

    python -m deploy.examples.generate_calls            # writes both files beside this one
    python -m deploy.examples.generate_calls --check    # says whether they are what this would write

The shape is what lenders see: a third of the calls between six and ten in the evening, quiet Sundays and holidays,
callers who try again, some who withhold their number, many who hang up rather than talk to a machine. The directory
beside this file says who works where; every number is of the block reserved for fiction (NPA-555-01XX).
"""

import argparse
import csv
import gzip
import io
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from deploy.examples.voices import AREA_CODES, voicemail_words
from services.policy.directory import Branch, Directory, Officer, load_directory
from services.policy.hours import federal_holidays
from services.policy.numbers import WITHHELD_SENTINELS

HERE: Final = Path(__file__).parent
DIRECTORY: Final = HERE / "lender.yaml"
TWILIO_LOG: Final = HERE / "calls-90d.csv.gz"
RINGCENTRAL_LOG: Final = HERE / "calls-ringcentral.json"

SEED: Final = 20260115
FIRST_DAY: Final = date(2026, 1, 15)
DAYS: Final = 90  # to 14 April: summer time starts on 8 March in between
ACCOUNT_ZONE: Final = ZoneInfo("America/Los_Angeles")  # Twilio prints times in the account's zone
RINGCENTRAL_DAY: Final = date(2026, 3, 10)
RINGCENTRAL_BRANCH: Final = "denver"

COLUMNS: Final = (
    "Call Sid", "Parent Call Sid", "From", "To", "Status", "Start Time", "End Time", "Duration", "Direction",
    "Answered By", "Price", "Price Unit", "Voicemail Duration", "Transcription",
)  # fmt: skip

A_DAY: Final = {"new-york": 62, "denver": 39, "los-angeles": 51}
"""Calls on an average weekday."""
BY_WEEKDAY: Final = (1.12, 1.06, 1.0, 0.98, 0.92, 0.55, 0.38)
ON_HOLIDAYS: Final = 0.35
BY_HOUR: Final = (
    0.2, 0.1, 0.1, 0.1, 0.1, 0.2, 0.5, 1.0, 3.0, 5.0, 6.0, 6.0, 5.5, 5.0, 5.0, 5.0, 5.0, 5.5,
    8.0, 9.0, 7.0, 5.0, 1.5, 0.6,
)  # fmt: skip
"""Weight of each local hour; 18 to 21 hold 34 % (fact D2)."""

WITHHELD: Final = 0.05  # fact A10: 3 to 7 % of calls
KNOWN_CALLER: Final = 0.12  # someone who has called on an earlier day
TRIES_AGAIN: Final = 0.22  # of missed callers, the same day


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One officer's phone, called for one call. Seconds count from the start of the call."""

    officer: str
    phone: str
    status: str
    ended_after_s: int
    after_s: int = 1
    talk_s: int = 0
    answered_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCall:
    """One invented call, before any phone system's way of writing it down."""

    branch: Branch
    caller: str
    to: str
    at: datetime
    status: str
    seconds: int
    legs: tuple[Leg, ...]
    voicemail_s: int = 0
    words: str = ""


class _Callers:
    """Chooses caller ids of a branch's region: new callers, known ones, and some who withhold their number."""

    def __init__(self, rng: random.Random, branch: Branch, taken: frozenset[str]) -> None:
        pool = [f"+1{area}555{line:04d}" for area in AREA_CODES[branch.id] for line in range(100, 200)]
        self._rng = rng
        self._fresh = [number for number in pool if number not in taken]
        rng.shuffle(self._fresh)
        self._next = 0

    def pick(self) -> str:
        if self._rng.random() < WITHHELD:
            return self._rng.choice([*WITHHELD_SENTINELS, "anonymous", "+266696687", ""])
        if self._next and self._rng.random() < KNOWN_CALLER:
            return self._fresh[self._rng.randrange(min(self._next, len(self._fresh)))]
        self._next += 1
        return self._fresh[(self._next - 1) % len(self._fresh)]


def make_calls(directory: Directory, seed: int = SEED) -> list[MadeCall]:
    """Return all calls of the ninety days in the order of their start."""
    made: list[MadeCall] = []
    taken = frozenset(
        [o.phone for o in directory.officers]
        + [n for b in directory.branches for n in b.numbers]
        + list(directory.internal_numbers)
    )
    for branch in directory.branches:
        # One generator a branch: another branch in the directory changes nothing about this one.
        rng = random.Random(f"{seed}:{branch.id}")
        callers = _Callers(rng, branch, taken)
        for day in (FIRST_DAY + timedelta(days=n) for n in range(DAYS)):
            made.extend(_day(rng, directory, branch, callers, day))
    return sorted(made, key=lambda call: (call.at, call.branch.id, call.caller))


def _day(rng: random.Random, directory: Directory, branch: Branch, callers: _Callers, day: date) -> Iterator[MadeCall]:
    expected = A_DAY[branch.id] * BY_WEEKDAY[day.weekday()] * (ON_HOLIDAYS if day in federal_holidays(day.year) else 1)
    for _ in range(max(1, round(rng.gauss(expected, expected**0.5)))):
        hour = rng.choices(range(24), BY_HOUR)[0]
        local = datetime.combine(day, time(hour, rng.randrange(60), rng.randrange(60)), branch.zone)
        call = _call(rng, directory, branch, callers.pick(), local)
        yield call
        if not any(leg.talk_s and not leg.answered_by for leg in call.legs) and rng.random() < TRIES_AGAIN:
            again = call.at + timedelta(seconds=call.seconds + rng.randrange(90, 7200))
            if again.astimezone(branch.zone).date() == day:
                yield _call(rng, directory, branch, call.caller, again)


def _call(rng: random.Random, directory: Directory, branch: Branch, caller: str, at: datetime) -> MadeCall:
    local = at.astimezone(branch.zone)
    is_open = directory.is_open(branch, at)
    # After hours one officer has the evening's calls; at night hardly any call is answered.
    picked_up = 0.88 if is_open else 0.68 if 7 <= local.hour < 22 else 0.12
    people = list(directory.officers_of(branch.id))
    rng.shuffle(people)
    called = people[: 2 if is_open else 1]
    to = branch.numbers[0] if len(branch.numbers) == 1 or rng.random() < 0.8 else branch.numbers[1]
    made = partial(MadeCall, branch=branch, caller=caller, to=to, at=at.astimezone(ZoneInfo("UTC")))
    if rng.random() < picked_up:
        rings = rng.randrange(3, 22)
        talk = int(min(2700, max(15, rng.lognormvariate(5.3, 0.8))))
        legs = [_leg(called[0], "completed", rings + talk, talk_s=talk)]
        legs += [_leg(one, "canceled", rings) for one in called[1:]]
        return made(status="completed", seconds=rings + talk, legs=tuple(legs))
    return _missed(rng, made, called)


def _missed(rng: random.Random, made: Callable[..., MadeCall], called: Sequence[Officer]) -> MadeCall:
    kind = rng.random()
    if kind < 0.12:  # hung up after one ring (fact A8)
        seconds = rng.randrange(2, 7)
        legs = [_leg(one, "canceled", seconds) for one in called]
        return made(status="no-answer", seconds=seconds, legs=tuple(legs))
    if kind < 0.42:  # hung up while the phones were ringing (fact A4)
        seconds = rng.randrange(8, 25)
        legs = [_leg(one, "canceled", seconds) for one in called]
        return made(status="completed", seconds=seconds, legs=tuple(legs))
    if kind < 0.48:  # an officer's own voicemail picked up: a call the carrier answered, and no officer did (fact Q1)
        heard = rng.randrange(4, 20)
        legs = [_leg(called[0], "completed", 21 + heard, talk_s=heard, answered_by="machine_start")]
        legs += [_leg(one, "canceled", 21) for one in called[1:]]
        return made(status="completed", seconds=21 + heard, legs=tuple(legs))
    legs = [_leg(one, "busy", 3) if rng.random() < 0.3 else _leg(one, "no-answer", 26) for one in called]
    greeting_at = max(leg.ended_after_s for leg in legs)
    if kind < 0.64:  # heard the greeting and hung up
        return made(status="completed", seconds=greeting_at + rng.randrange(2, 12), legs=tuple(legs))
    spoken = int(min(118, max(4, rng.lognormvariate(3.1, 0.6))))
    words = voicemail_words(rng) if spoken >= 8 else ""
    return made(status="completed", seconds=greeting_at + 9 + spoken, legs=tuple(legs), voicemail_s=spoken, words=words)


def _leg(officer: Officer, status: str, ended_after_s: int, *, talk_s: int = 0, answered_by: str = "") -> Leg:
    return Leg(
        officer=officer.id,
        phone=officer.phone,
        status=status,
        ended_after_s=ended_after_s,
        talk_s=talk_s,
        answered_by=answered_by,
    )


def twilio_csv(calls: Sequence[MadeCall]) -> str:
    """Return the calls as Twilio exports them: newest first, legs as rows of their own."""
    rows: list[tuple[datetime, int, list[str]]] = []
    number = 0
    for call in calls:
        number += 1
        parent = f"CA{number:032x}"
        end = call.at + timedelta(seconds=call.seconds)
        vm = str(call.voicemail_s) if call.voicemail_s else ""
        rows.append(
            (
                call.at,
                number,
                [
                    parent,
                    "",
                    call.caller,
                    call.to,
                    call.status,
                    _printed(call.at),
                    _printed(end),
                    str(call.seconds),
                    "inbound",
                    "",
                    _price(call.seconds, 0.0085),
                    "USD",
                    vm,
                    call.words,
                ],
            )
        )
        for leg in call.legs:
            number += 1
            start, over = call.at + timedelta(seconds=leg.after_s), call.at + timedelta(seconds=leg.ended_after_s)
            by = leg.answered_by or ("human" if leg.talk_s else "")
            rows.append(
                (
                    start,
                    number,
                    [
                        f"CA{number:032x}",
                        parent,
                        call.caller,
                        leg.phone,
                        leg.status,
                        _printed(start),
                        _printed(over),
                        str(leg.talk_s),
                        "outbound-dial",
                        by,
                        _price(leg.talk_s, 0.014),
                        "USD",
                        "",
                        "",
                    ],
                )
            )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row for _, _, row in sorted(rows, key=lambda r: (r[0], r[1]), reverse=True))
    return out.getvalue()


def _printed(at: datetime) -> str:
    return at.astimezone(ACCOUNT_ZONE).strftime("%Y-%m-%d %H:%M:%S %Z")


def _price(seconds: int, a_minute: float) -> str:
    return f"-{-(-seconds // 60) * a_minute:.5f}" if seconds else ""


def ringcentral_json(calls: Sequence[MadeCall]) -> str:
    """Return one branch's calls of one day as RingCentral's call log API answers them, newest first."""
    day = [
        c
        for c in calls
        if c.branch.id == RINGCENTRAL_BRANCH and c.at.astimezone(c.branch.zone).date() == RINGCENTRAL_DAY
    ]
    records = [_record(number, call) for number, call in enumerate(day, start=1)]
    return json.dumps({"records": records[::-1], "paging": {"page": 1, "perPage": 100}}, indent=1) + "\n"


def _record(number: int, call: MadeCall) -> dict[str, Any]:
    human = any(leg.talk_s and not leg.answered_by for leg in call.legs)
    result = "Voicemail" if call.voicemail_s else "Accepted" if human else "Missed"
    said = {"completed": "Accepted", "canceled": "Stopped", "busy": "Busy", "no-answer": "No Answer"}
    sender = {} if not call.caller.startswith("+1") else {"phoneNumber": call.caller}
    party = {"type": "Voice", "direction": "Inbound", "from": sender, "to": {"phoneNumber": call.to}}
    legs: list[dict[str, Any]] = [
        {
            **party,
            "startTime": _iso(call.at),
            "duration": call.seconds,
            "action": "Phone Call",
            "result": result,
            "legType": "Accept",
            "master": True,
        },
    ]
    for leg in call.legs:
        # RingCentral's leg lasts from the answer on where there was one.
        after = leg.ended_after_s - leg.talk_s if leg.talk_s else leg.after_s
        legs.append(
            {
                "type": "Voice",
                "direction": "Outbound",
                "from": sender,
                "to": {"phoneNumber": leg.phone, "name": leg.officer},
                "startTime": _iso(call.at + timedelta(seconds=after)),
                "duration": leg.ended_after_s - after,
                "action": "FindMe",
                "result": said[leg.status],
                "legType": "FindMe",
            }
        )
    if call.voicemail_s:
        at = call.at + timedelta(seconds=call.seconds - call.voicemail_s)
        legs.append(
            {
                **party,
                "startTime": _iso(at),
                "duration": call.voicemail_s,
                "action": "Phone Call",
                "result": "Voicemail",
                "legType": "Accept",
            }
        )
    return {
        "id": f"example{number:04d}",
        "sessionId": f"{70000000000 + number}",
        "startTime": _iso(call.at),
        "duration": call.seconds,
        **party,
        "action": "Phone Call",
        "result": result,
        **({"message": {"id": f"{number}", "type": "VoiceMail"}} if call.voicemail_s else {}),
        "legs": legs,
    }


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the example files, or check them; 1 when they are stale."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="write nothing, say whether the files are up to date")
    check = options.parse_args(argv).check
    calls = make_calls(load_directory(DIRECTORY))
    table, records = twilio_csv(calls).encode(), ringcentral_json(calls).encode()
    if check:
        # Unpacked: another build of zlib may pack the same text otherwise.
        fresh = gzip.decompress(TWILIO_LOG.read_bytes()) == table and RINGCENTRAL_LOG.read_bytes() == records
        sys.stdout.write("up to date\n" if fresh else "stale: run python -m deploy.examples.generate_calls\n")
        return 0 if fresh else 1
    TWILIO_LOG.write_bytes(gzip.compress(table, 9, mtime=0))
    RINGCENTRAL_LOG.write_bytes(records)
    sys.stdout.write(f"{TWILIO_LOG.name}: {len(calls)} calls\n{RINGCENTRAL_LOG.name}: {RINGCENTRAL_DAY}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
