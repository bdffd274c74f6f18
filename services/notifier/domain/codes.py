"""What the provider's error codes mean for a text. An unlisted 4xx is a refusal for good."""

from collections.abc import Mapping
from typing import Final, Literal

from services.notifier.domain.facts import LeftInDoubt, NotSent, Refused, SendOutcome

Meaning = Literal["busy", "configuration", "opted_out", "bad_number", "blocked"]

CODES: Final[Mapping[int, Meaning]] = {
    20429: "busy", 429: "busy",
    20003: "configuration", 20404: "configuration", 21408: "configuration", 21606: "configuration",
    21608: "configuration", 21603: "configuration", 30002: "configuration", 30034: "configuration",
    21610: "opted_out",
    21211: "bad_number", 21612: "bad_number", 21614: "bad_number", 30005: "bad_number", 30006: "bad_number",
    30004: "blocked", 30007: "blocked", 30450: "blocked", 30610: "blocked", 30640: "blocked",
}  # fmt: skip


def meaning_of_error(status: int, code: int | None) -> SendOutcome:
    """Return what an error answer to "send this" means.

    429 is documented as not processed. Any other 4xx is an answer too: the provider has not taken the text. After a 5xx,
    or an answer that is not the API's, nobody can say whether the text was taken.
    """
    if status == 429:
        return NotSent("provider_busy", code)
    if not 400 <= status < 500:
        return LeftInDoubt(f"answered {status}")
    meaning = CODES.get(code or 0)
    if meaning == "busy":
        return NotSent("provider_busy", code)
    if meaning == "configuration" or status in (401, 403):
        return NotSent("configuration", code, configuration=True)
    return Refused(meaning or "refused", code)
