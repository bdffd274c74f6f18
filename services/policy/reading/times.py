"""When a borrower wants to be called, as he said it: `tomorrow after 3`, `in 20 min`, `lunch`.

Which instant that is depends on his zone and on now, so that it is a second step (`resolve`).
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

Relation = Literal["at", "after", "before", "between"]
DayPart = Literal["morning", "lunch", "afternoon", "evening"]
Meridiem = Literal["am", "pm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackTime:
    """A time as it was said; what was not said is None.

    Attributes:
        days: days from the day on which it was said: 0 for today, 1 for tomorrow.
        weekday: Monday is 0.
        date: month and day.
        hour: as it was said, 1-12, or 0-23 in `14:00`; with `meridiem` None it may mean either half of the day.
        minute: of the hour.
        meridiem: which half of the day was said.
        until_hour: the end of a range.
        part: a part of the day.
        in_minutes: from now.
        relation: how the hour is meant.
    """

    days: int | None = None
    weekday: int | None = None
    date: tuple[int, int] | None = None
    hour: int | None = None
    minute: int = 0
    meridiem: Meridiem | None = None
    until_hour: int | None = None
    part: DayPart | None = None
    in_minutes: int | None = None
    relation: Relation = "at"


Unclear = Literal["past", "ambiguous", "impossible"]


@dataclass(frozen=True, slots=True)
class CallbackSpan:
    """When to call: from `start`; by `end`, where an end was said.

    Attributes:
        start: aware UTC.
        end: aware UTC, or None.
    """

    start: datetime
    end: datetime | None = None


_NUMBERS: Final = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "couple": 2, "few": 3, "un": 1, "una": 1,
    "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5, "seis": 6, "siete": 7, "ocho": 8, "nueve": 9, "diez": 10, "quince": 15,
    "veinte": 20, "treinta": 30, "once": 11, "doce": 12,
}  # fmt: skip
_DAYS: Final = (
    ("mon", "lunes"), ("tue", "martes"), ("wed", "miercoles"), ("thu", "jueves"), ("fri", "viernes"), ("sat", "sabado"), ("sun", "domingo"),
)  # fmt: skip
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_NUMBER: Final = r"(?:\d{1,3}|" + "|".join(_NUMBERS) + r")"
_RELATIVE: Final = re.compile(
    rf"\b(?:in |en |give me |gimme |like |about |call (?:me )?(?:back )?in |dame |deme )?(?:about |unos |otros |another |a |like )?({_NUMBER})(?: of| more)?\s?(minutes?|mins?|minutos?|hours?|hrs?|horas?|hr)\b"
)
_HALF_HOUR: Final = re.compile(r"\b(?:half an? hour|half hour|media hora)\b")
_IN_BARE: Final = re.compile(r"^(?:\w+ )*in (5|10|15|20|25|30|40|45|60)$")
_DAY: Final = re.compile(
    r"\b(?:(today|tonight|hoy|esta noche|esta tarde|this evening|this afternoon|this morning|later tonight|later today)|(tomorrow|tomorow|tommorow|tommorrow|tmrw|tmw|tomm?or?row|manana)|"
    r"(mon|tues?|wed|wednes|thur?s?|fri|sat|satur|sun)(?:day)?s?|(lunes|martes|miercoles|jueves|viernes|sabado|domingo)|(weekend|fin de semana|weekdays?))\b"
)
_DATE: Final = re.compile(
    rf"\b(?:({'|'.join(_MONTHS)})[a-z]* (\d{{1,2}})(?:st|nd|rd|th)?|(?:on )?the (\d{{1,2}})(?:st|nd|rd|th)|el (\d{{1,2}}) de \w+)\b"
)
_SLASHED: Final = re.compile(r"(?<!\d)(\d{1,2})/(\d{1,2})(?!\d|/)")
_RANGE: Final = re.compile(
    r"\b(?:between |from |entre |de )?(?:las? )?(\d{1,2})(?::\d{2})?\s?(?:am|pm)?\s?(?: and | to | y | a |-| )\s?(?:las? )?(\d{1,2})(?::\d{2})?\s?(am|pm)?\b"
)
_RANGE_SAID: Final = re.compile(r"\b(?:between|from|entre)\s(?:las? )?\d|^(?:\w+ )?\d{1,2} ?- ?\d{1,2}$")
_CLOCK: Final = re.compile(
    r"(?<![\d:])(?:(at|@|around|about|by|like|after|before|until|till?|til|past|antes de|despues de|hasta|como|tipo|a eso de) )?(?:a )?(?:las? |the )?(?:como a las )?(\d{1,2})(?::?([0-5]\d))?\s?(am|pm|a m|p m|a|p|ish|oclock)?\b(?!:)"
)
_AFTER: Final = re.compile(
    r"\b(?:after|past|not before|despues|off(?: work)? at|till?|til|until|hasta|once|i get off|not until)\b"
)
_BEFORE: Final = re.compile(r"\b(?<!not )(?:before|antes|by|no later than)\b")
_PARTS: Final[tuple[tuple[DayPart, re.Pattern[str]], ...]] = (
    ("lunch", re.compile(r"\b(?:lunch\w*|noon|midday|mediodia|medio dia|almuerzo)\b")),
    ("morning", re.compile(r"\b(?:mornings?|first thing|en la manana|por la manana|temprano|mid morning)\b")),
    ("afternoon", re.compile(r"\b(?:afternoons?|la tarde|mediatarde|tarde)\b")),
    ("evening", re.compile(r"\b(?:evenings?|tonight|night|after work|after dinner|noche|despues del trabajo)\b")),
)  # fmt: skip
_PART_HOURS: Final[dict[str, tuple[int, int]]] = {
    "morning": (9, 12),
    "lunch": (12, 13),
    "afternoon": (13, 17),
    "evening": (17, 20),
}
"""Local hours that a part of the day begins and ends at."""

_HOURS_THAT_NEED_WORDS: Final = re.compile(
    r"\b(?:months?|meses|mes|years?|anos?|days?|dias?|weeks?|semanas?|percent|por ciento|bed\w*|bath\w*|credit|score|down|year|yr|fixed|k|thousand|grand|units?|people|kids|times|loans?|lenders?)\b|[%$]"
)
_CALL_WORDS: Final = re.compile(r"\b(?:las?|at|call|talk|how (?:about|bout)|make it|works?|or so|would|once|off)\b")
_LATER_TODAY: Final = re.compile(r"\blater (?:today|tonight|on|this)\b")


def read_callback_time(text: str, raw: str = "") -> CallbackTime | None:
    """Return the time a plain text names for a call, or None.

    Args:
        text: plain (`normal`).
        raw: as it was written: `12/3` and `2-4` live in marks that plain text has lost.
    """
    lowered = raw.casefold()
    if _HALF_HOUR.search(text):
        return CallbackTime(in_minutes=30)
    if (soon := _RELATIVE.search(text)) and not re.search(r"\b(?:for|every|away|ago|drive|week|took|hold)\b", text):
        count = _NUMBERS.get(soon[1]) or int(soon[1] if soon[1].isdigit() else 1)
        return CallbackTime(in_minutes=count * (60 if soon[2].startswith("h") else 1))
    if bare := _IN_BARE.match(text):
        return CallbackTime(in_minutes=int(bare[1]))
    said = _said_day(text, lowered)
    clock = _said_clock(text, lowered, said)
    if clock is not None:
        return clock
    for part, pattern in _PARTS:
        if pattern.search(text):
            return replace(said or CallbackTime(), part=part)
    return said


def _said_day(text: str, lowered: str) -> CallbackTime | None:
    if day := _DATE.search(text):
        if day[1]:
            return CallbackTime(date=(_MONTHS.index(day[1]) + 1, int(day[2])))
        return CallbackTime(date=(0, int(day[3] or day[4])))
    if (slashed := _SLASHED.search(lowered)) and 1 <= int(slashed[1]) <= 12 and 1 <= int(slashed[2]) <= 31:
        return CallbackTime(date=(int(slashed[1]), int(slashed[2])))
    found = _DAY.search(text)
    if found is None:
        return None
    if found[2] and re.search(r"\b(?:en|por) la manana\b", text):
        rest = re.sub(r"\b(?:en|por) la manana\b", " ", text)
        return replace(_said_day(rest, "") or CallbackTime(), part="morning")
    if found[1]:
        part: DayPart | None = "evening" if re.search("night|noche|evening", found[1]) else None
        if re.search("tarde|afternoon", found[1]):
            part = "afternoon"
        return CallbackTime(days=0, part="morning" if "morning" in found[1] else part)
    if found[2]:
        return CallbackTime(days=1)
    name = found[3] or found[4]
    if name is None:
        return CallbackTime(weekday=5) if found[5] in ("weekend", "fin de semana") else None
    for number, starts in enumerate(_DAYS):
        if name.startswith(starts):
            return CallbackTime(weekday=number)
    return None


def _said_clock(text: str, lowered: str, said: CallbackTime | None) -> CallbackTime | None:
    base = said or CallbackTime()
    text = _DATE.sub(" ", text)
    if base.date is not None:
        text = re.sub(rf"\b{base.date[0]} {base.date[1]}\b", " ", text)
    if _HOURS_THAT_NEED_WORDS.search(text) or "%" in lowered or "$" in lowered:
        return None
    if _RANGE_SAID.search(text) or re.search(r"(?<!\d)\d{1,2} ?- ?\d{1,2}(?:\s?[ap]m)?\s*$", lowered.strip()):
        found = _RANGE.search(text)
        if found is not None and 1 <= int(found[1]) <= 12 and 1 <= int(found[2]) <= 12:
            half: Meridiem | None = "am" if found[3] == "am" else "pm" if found[3] == "pm" else None
            return replace(base, hour=int(found[1]), until_hour=int(found[2]), meridiem=half, relation="between")
    call_words = _CALL_WORDS.search(text) is not None
    for clock in _CLOCK.finditer(text):
        hour, minute = int(clock[2]), int(clock[3] or 0)
        joined = clock[3] is not None and ":" not in clock[0]
        named = clock[1] or clock[4] or said or ":" in clock[0] or call_words
        alone = text == clock[0].strip()
        if (
            not 1 <= hour <= 23
            or (joined and not (100 <= hour * 100 + minute <= 1259))
            or not (named or (alone and joined))
        ):
            continue
        return replace(base, hour=hour, minute=minute, meridiem=_half(clock[4], base, text), relation=_relation(text))
    return None


def _half(said: str | None, base: CallbackTime, text: str) -> Meridiem | None:
    if said in ("am", "a m", "a") or re.search(r"\bde la manana\b", text):
        return "am"
    if (
        said in ("pm", "p m", "p")
        or base.part in ("afternoon", "evening")
        or re.search(r"\b(?:tonight|de la (?:tarde|noche)|after work|evening|afternoon)\b", text)
    ):
        return "pm"
    return "am" if base.part == "morning" or "morning" in text else None


def _relation(text: str) -> Relation:
    if _AFTER.search(text):
        return "after"
    return "before" if _BEFORE.search(text) else "at"


def resolve(said: CallbackTime, now: datetime, zone: ZoneInfo) -> CallbackSpan | Unclear:
    """Return when to call, as the borrower's clock has it.

    An hour without its half of the day is between 9 in the morning and 8 in the evening; 8 alone is ambiguous. A bare hour that
    has gone by today is not moved to tomorrow: he is asked.

    Args:
        said: the time as he said it.
        now: aware.
        zone: his.
    """
    here = now.astimezone(zone)
    if said.in_minutes is not None:
        return CallbackSpan(_utc(now) + timedelta(minutes=said.in_minutes))
    day = _day_of(said, here)
    if day is None:
        return "impossible"
    hour, end_hour = _hours_of(said)
    if hour is None:
        return "ambiguous"
    start = _local(day, hour, said.minute, zone)
    end = None if end_hour is None else _local(day, end_hour, 0, zone)
    if said.relation == "before":
        start, end = max(now, _local(day, 9, 0, zone)), start
        return "past" if end <= start else CallbackSpan(_utc(start), _utc(end))
    if start <= now:
        if end is not None and end > now:
            return CallbackSpan(_utc(now), _utc(end))
        return "past"
    return CallbackSpan(_utc(start), None if end is None else _utc(end))


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(ZoneInfo("UTC"))


def _local(day: datetime, hour: int, minute: int, zone: ZoneInfo) -> datetime:
    # Through UTC, so that a time that the clocks skip becomes one that exists.
    return _utc(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)).astimezone(zone)


def _day_of(said: CallbackTime, here: datetime) -> datetime | None:
    if said.date is not None:
        month, number = said.date
        try:
            if month == 0:
                month = here.month if number >= here.day else here.month % 12 + 1
            year = here.year + (1 if (month, number) < (here.month, here.day) else 0)
            return here.replace(year=year, month=month, day=number)
        except ValueError:
            return None
    if said.weekday is not None:
        ahead = (said.weekday - here.weekday()) % 7
        return here + timedelta(days=ahead or 7)
    return here + timedelta(days=said.days or 0)


def _hours_of(said: CallbackTime) -> tuple[int | None, int | None]:
    if said.hour is None:
        part = said.part or ("morning" if said.days != 0 else None)
        return (None, None) if part is None else _PART_HOURS[part]
    hour = _full_hour(said.hour, said.meridiem)
    if said.until_hour is None:
        return hour, None
    end = _full_hour(said.until_hour, said.meridiem)
    if hour is not None and end is not None and end < hour:
        hour = _full_hour(said.hour, "am")
    return hour, end


def _full_hour(hour: int, meridiem: Meridiem | None) -> int | None:
    if hour > 12:
        return hour
    if meridiem is not None:
        return hour % 12 + (12 if meridiem == "pm" else 0)
    if hour == 8:
        return None
    return hour if 9 <= hour <= 12 else hour + 12
