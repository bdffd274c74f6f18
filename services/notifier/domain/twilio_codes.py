"""What the provider's error codes mean for a text, in its answer to a request and in a receipt.

Twilio adds codes and says so only in its documentation; `tests/contract/twilio_messaging_codes.csv` lists those that a text
can meet, and a test fails where one of them is not here. A code that is not here is on the safe side in both places: a
refusal is final, and a failed receipt asks for a person. Neither sends again.
"""

from collections.abc import Mapping
from typing import Final, Literal

from services.notifier.domain.facts import LeftInDoubt, NotSent, Refused, SendOutcome
from services.policy.optout import CODE_OF_CARRIER_OPT_OUT

Meaning = Literal[
    "busy",
    "queue_overflow",
    "unreachable",
    "configuration",
    "opted_out",
    "bad_number",
    "landline",
    "filtered",
    "blocked",
    "request",
    "expired",
    "unclear",
]
"""
- `busy`: too many texts for the account, the number or its campaign. Answered: not taken, tried again.
- `queue_overflow`, `unreachable`: the queue was full, the handset was off. In a receipt: may go once more (`machine`).
- `configuration`: our account, number, registration or credentials; no text goes until a person corrects it.
- `opted_out`: the carrier knows a STOP; the leads service takes it as one.
- `bad_number`, `landline`: this number takes no texts.
- `filtered`: judged to be spam, or stopped as from a number without a registered campaign: never sent again.
- `blocked`: a rule of the carrier, of Twilio or of our account stopped it: fraud, quiet hours, a blocklist, a country to which
  the account does not send (another caller's text still goes).
- `request`: what we asked for is wrong: a defect or a wording of ours.
- `expired`: `ValidityPeriod` ran out in the provider's queue.
- `unclear`: it may have arrived or not, and nobody says.
"""

UNREGISTERED_NUMBER: Final = 30034
"""All of this number's texts to the US are stopped until a person has put it into a registered campaign."""

_BY_MEANING: Final[Mapping[Meaning, tuple[int, ...]]] = {
    "busy":           (14107, 20429, 21611, 21730, 30017, 30022, 30023, 30027, 30454, 60728, 63017, 63018, 63038),
    "queue_overflow": (30001,),
    "unreachable":    (30003,),
    "configuration":  (20003, 20005, 20006, 20008, 20403, 20404, 21212, 21213, 21264, 21267, 21601, 21603, 21606,
                       21607, 21608, 21609, 21616, 21659, 21660, 21661, 21703, 21704, 21705, 30002, 30018, 30024, 30032,
                       30033, 30035, 30037, 63007),
    "opted_out":      (CODE_OF_CARRIER_OPT_OUT,),
    "bad_number":     (21211, 21214, 21217, 21219, 21265, 21266, 21268, 21401, 21612, 30005, 63003),
    "landline":       (21614, 21635, 30006),
    "filtered":       (30007, UNREGISTERED_NUMBER, 30038, 30039),
    "blocked":        (21408, 30004, 30450, 30453, 30610, 30640),
    "request":        (20001, 20004, 20422, 21602, 21604, 21605, 21617, 21618, 21619, 21620, 21621, 21622, 21623, 21624,
                       21627, 21654, 21655, 21656, 30010, 30011, 30012, 30013, 30014, 30019, 30029, 30030, 30044),
    "expired":        (30036,),
    "unclear":        (20408, 20500, 20503, 30008, 30046, 30410, 30500),
}  # fmt: skip
CODES: Final[Mapping[int, Meaning]] = {code: meaning for meaning, codes in _BY_MEANING.items() for code in codes}

API_CODES_FROM: Final = 10_000
"""The API's own codes have five digits. The SDK puts the HTTP status where an answer has none."""


def meaning_of_error(status: int, code: int | None) -> SendOutcome:
    """Return what an error answer to "send this" means.

    429 is documented as not processed. Another 4xx with a code of the API is its answer: it has not taken the text. One
    without (a proxy's 404, 407, 413) says nothing about the text, and nor does a 5xx: nobody can say whether it was taken.
    """
    own = code if code is not None and code >= API_CODES_FROM else None
    if status == 429:
        return NotSent(reason="provider_busy", code=own)
    if own is None or not 400 <= status < 500:
        return LeftInDoubt(f"answered {status}", server_error=500 <= status < 600)
    meaning = CODES.get(own)
    if meaning in ("busy", "queue_overflow"):
        return NotSent(reason="provider_busy", code=own)
    if meaning == "configuration" or (meaning is None and status in (401, 403)):
        return NotSent(reason="configuration", code=own, configuration=True)
    if meaning == "unclear":
        return LeftInDoubt(f"answered {own}")
    return Refused(meaning or "refused", own)


def meaning_of_receipt(code: int | None) -> Meaning:
    """Return why a text that was taken did not arrive; `unclear` where no code says it, or one that is not known here."""
    return CODES.get(code or 0, "unclear")
