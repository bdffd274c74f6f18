"""What a borrower's text means, by simple rules; opt-outs are read before, by `services.policy.optout`."""

import re
from typing import Final, Literal

_PURPOSES: Final[dict[Literal["purchase", "refinance"], re.Pattern[str]]] = {
    "purchase": re.compile(
        r"\b(?:buy|buying|bought|purchas\w+|pre-?approv\w+|pre-?qual\w*|house hunting|home ?buyer|first home|new home|"
        r"new house|offer (?:on|accepted))\b"
    ),
    "refinance": re.compile(r"\b(?:re-?fi|re-?financ\w+|cash[- ]?out|heloc|lower (?:my |our |the )?(?:rate|pay)\w*)\b"),
}
_ASKS_FOR_A_CALL: Final = re.compile(
    r"\b(?:call|phone|ring) (?:me|us)\b|\bcall(?:ing)? (?:me |us )?back\b|\bcallback\b|"
    r"\bgive (?:me|us) a (?:call|ring)\b|\b(?:can|could|will|would|should) (?:you|someone|somebody|we) (?:please )?(?:call|talk|speak)\b|"
    r"\bplease call\b"
)
_ASKS_FOR_NO_CALL: Final = re.compile(r"\b(?:do not|don'?t|dont|no need to|never) (?:call|phone|ring)\b")


def intents_of(body: str) -> tuple[str, ...]:
    """Return what a text wants, from `purchase`, `refinance`, `callback`; empty when we cannot tell."""
    text = " ".join(body.replace("\u2019", "'").casefold().split())
    found: list[str] = [purpose for purpose, pattern in _PURPOSES.items() if pattern.search(text)]
    if _ASKS_FOR_A_CALL.search(text) and not _ASKS_FOR_NO_CALL.search(text):
        found.append("callback")
    return tuple(found)


def purpose_of(intents: tuple[str, ...]) -> Literal["purchase", "refinance"] | None:
    """Return the one purpose the intents name; None when they name none, or both."""
    named = [purpose for purpose in _PURPOSES if purpose in intents]
    return named[0] if len(named) == 1 else None
