"""Who called: a number we may keep, a caller who withheld theirs, or something that is not a number.

Every way in (webhooks, call logs) asks here, so a caller is spelled the same everywhere.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import phonenumbers

from schemas.base import E164_PATTERN

CallerKind = Literal["e164", "withheld", "invalid"]
InvalidReason = Literal["not_a_number", "impossible", "not_dialable"]

WITHHELD_WORDS: Final = frozenset(
    {
        "anonymous", "restricted", "unavailable", "unknown", "private", "blocked", "withheld", "nocallerid", "none",
        "anonymouscaller", "unknowncaller", "unknownnumber", "privatecaller", "privatenumber", "restrictednumber",
        "blockednumber", "blockedcaller", "withheldnumber", "numberwithheld", "unavailablenumber", "callerunknown",
        "noname", "nonumber", "outofarea",
    }
)  # fmt: skip
"""What phone systems write instead of a number (fact A10), compared without case, spaces and punctuation."""

WITHHELD_SENTINELS: Final = {
    "+266696687": "anonymous",
    "+7378742833": "restricted",
    "+86282452253": "unavailable",
    "+2562533": "blocked",
    "+8656696": "unknown",
}
"""Twilio's numbers for a withheld caller (fact A10): each spells its word on a keypad. `+7378742833` and `+86282452253` have
the shape of Russian and Chinese numbers, so this table is asked before any check of a number."""

# Without its plus, 737 874-2833 is an ordinary Austin number; the other four are not North American numbers.
_BARE_SENTINELS: Final = frozenset(s.removeprefix("+") for s in WITHHELD_SENTINELS) - {"7378742833"}

# Area code and exchange start with 2-9, an area code is no N11 service code. This, and not `is_valid_number`, is the
# rule for North America: the fictional numbers of tests, examples and the demo (NPA-555-01XX) are possible but by
# definition not assigned, and a real caller in a newly opened area code must not wait for a library release.
_NANP: Final = re.compile(r"\+1(?!.11)[2-9]\d{2}[2-9]\d{6}")
_E164: Final = re.compile(E164_PATTERN)
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """What a phone system said of its caller; exactly one of the three kinds, `e164` set only for the first."""

    kind: CallerKind
    e164: str | None = None
    reason: InvalidReason | None = None

    @property
    def textable(self) -> bool:
        """Whether a text could go to it at all; what the law and the caller say is asked elsewhere."""
        return self.kind == "e164"

    @property
    def withheld(self) -> bool:
        """Whether the caller hid the number: the call is counted, there is no lead and no text (fact A10)."""
        return self.kind == "withheld"


WITHHELD: Final = Caller("withheld")


def normalize_caller(raw: str | None, default_region: str = "US") -> Caller:
    """Read a caller id as a phone system writes it; never raises.

    Args:
        raw: `+13035550123`, `(303) 555-0123`, a withheld word or sentinel, empty, or anything else.
        default_region: whose national format a number without a plus is in.

    Returns:
        The number in E.164; `WITHHELD`; or `invalid` with the reason.

    Source: fact A10.
    """
    text = (raw or "").strip()
    if not text or text in WITHHELD_SENTINELS or text in _BARE_SENTINELS:
        return WITHHELD
    if re.sub(r"[^a-z]", "", text.lower()) in WITHHELD_WORDS and not any(c.isdigit() for c in text):
        return WITHHELD
    # Letters are refused, not read as keypad digits: `client:dana` and `sip:...` must not become a stranger's number.
    if len(text) > _LONGEST or any(c.isalpha() for c in text):
        return Caller("invalid", reason="not_a_number")
    try:
        number = phonenumbers.parse(text, default_region)
    except phonenumbers.NumberParseException:
        return Caller("invalid", reason="not_a_number")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if e164 in WITHHELD_SENTINELS:
        return WITHHELD
    if not phonenumbers.is_possible_number(number) or not _E164.fullmatch(e164):
        return Caller("invalid", reason="impossible")
    dialable = is_north_american(e164) if number.country_code == 1 else phonenumbers.is_valid_number(number)
    return Caller("e164", e164) if dialable else Caller("invalid", reason="not_dialable")


def is_north_american(e164: str) -> bool:
    """Return whether a number has the form of a North American one: +1 and ten digits that can be dialed."""
    return _NANP.fullmatch(e164) is not None


def mask(number: str | None) -> str:
    """Return a number as logs may show it, ASCII: `+1303***0134`; shorter ones show less, none is `withheld`."""
    if not number:
        return "withheld"
    if is_north_american(number):
        return f"{number[:5]}***{number[-4:]}"
    if _E164.fullmatch(number):
        return f"{number[:3]}{'*' * (len(number) - 5)}{number[-2:]}"
    return "***"


@lru_cache(maxsize=1024)
def national(e164: str) -> str:
    """Return a number as people in its country write it: `(212) 555-0100`."""
    return phonenumbers.format_number(phonenumbers.parse(e164), phonenumbers.PhoneNumberFormat.NATIONAL)
