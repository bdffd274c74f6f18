"""Numbers that a borrower should not have texted, masked before anything is kept: social security, card and account numbers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Secret = Literal["ssn", "card", "account"]

_SSN: Final = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}[-. ](?!00)\d{2}[-. ](?!0000)\d{4}(?![\d-])")
_SSN_NAMED: Final = re.compile(
    r"(?i)\b(?:ssn?|social(?: security)?|seguro social|itin|tin)\b(\D{0,20})(\d{3}[-. ]?\d{2}[-. ]?\d{4})(?!\d)"
)
_CARD: Final = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_ACCOUNT_NAMED: Final = re.compile(
    r"(?i)\b(?:accounts?|acct?|routing|aba|iban|cuenta|checking|savings|loan)\b(\D{0,20})(\d(?:[ -]?\d){5,16})(?!\d)"
)
_LONG: Final = re.compile(r"(?<![\d+-])\d{8,17}(?![\d-])")
_PHONE: Final = re.compile(r"1?[2-9]\d{2}[2-9]\d{6}")


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without its secrets.

    Attributes:
        text: each secret replaced by a word that names it.
        found: which kinds were in it.
    """

    text: str
    found: frozenset[Secret]


def mask_secrets(body: str) -> Masked:
    """Return a text without numbers shaped like secrets.

    A phone number is none, unless the words before it call it an account. A long number that is neither phone nor card is an
    account's: masking a harmless one costs a question, keeping a real one cannot be undone.
    """
    if sum(letter.isdigit() for letter in body) < 6:
        return Masked(body, frozenset())
    found: set[Secret] = set()

    def put(kind: Secret, test: Callable[[str], bool], group: int = 0) -> Callable[[re.Match[str]], str]:
        def replaced(match: re.Match[str]) -> str:
            digits = "".join(filter(str.isdigit, match[group]))
            if not test(digits):
                return match[0]
            found.add(kind)
            return match[0][: match.start(group) - match.start()] + f"[{kind}]"

        return replaced

    text = _CARD.sub(put("card", passes_luhn), body)
    text = _SSN_NAMED.sub(put("ssn", lambda _: True, 2), text)
    text = _SSN.sub(put("ssn", lambda _: True), text)
    text = _ACCOUNT_NAMED.sub(put("account", lambda _: True, 2), text)
    text = _LONG.sub(put("account", lambda digits: _PHONE.fullmatch(digits) is None), text)
    return Masked(text, frozenset(found))


def passes_luhn(digits: str) -> bool:
    """Return whether the last digit checks the others, as on every payment card (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
