"""What the provider's error codes mean for a text. An unlisted 4xx is a refusal for good."""

from collections.abc import Mapping
from typing import Final, Literal

from services.notifier.domain.facts import LeftInDoubt, NotSent, Refused, SendOutcome
from services.policy.optout import CODE_OF_CARRIER_OPT_OUT

Meaning = Literal["busy", "configuration", "opted_out", "bad_number", "blocked"]

CODES: Final[Mapping[int, Meaning]] = {
    20429: "busy", 21611: "busy", 21730: "busy",
    20003: "configuration", 20404: "configuration", 21408: "configuration", 21606: "configuration",
    21608: "configuration", 21603: "configuration", 30002: "configuration", 30034: "configuration",
    CODE_OF_CARRIER_OPT_OUT: "opted_out",
    21211: "bad_number", 21612: "bad_number", 21614: "bad_number", 30005: "bad_number", 30006: "bad_number",
    30004: "blocked", 30007: "blocked", 30450: "blocked", 30610: "blocked", 30640: "blocked",
}  # fmt: skip


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
    if meaning == "busy":
        return NotSent(reason="provider_busy", code=own)
    if meaning == "configuration" or status in (401, 403):
        return NotSent(reason="configuration", code=own, configuration=True)
    return Refused(meaning or "refused", own)
