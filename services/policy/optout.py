"""What a borrower's text says about being texted: stop, start, help, or nothing of the kind.

Read like a person would, not like a parser: case, punctuation, politeness and spacing do not matter, and a doubtful
"stop" is a stop, because the one mistake is a text too many, the other a call that an officer makes anyway.
Sources: 47 CFR 64.1200(a)(10) (stop, quit, end, revoke, opt out, cancel, unsubscribe always count, and so does wording
that a reasonable person would read so); Twilio's default words (STOPALL, OPTOUT; START, YES, UNSTOP; HELP, INFO).
"""

import re
from enum import StrEnum
from typing import Final, Literal

CODE_OF_CARRIER_OPT_OUT: Final = 21610
"""Twilio's error code for a recipient who has told the carrier STOP: an opt-out that nobody has told us."""


class Keyword(StrEnum):
    """What the text asks for; YES opts in only a borrower who is opted out, else it is an answer."""

    STOP = "stop"
    START = "start"
    YES = "yes"
    HELP = "help"
    NONE = "none"


STOP_WORDS: Final = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out"}
)
START_WORDS: Final = frozenset({"start", "unstop"})
HELP_WORDS: Final = frozenset({"help", "info"})

_POLITE: Final = frozenset({"please", "pls", "plz", "thanks", "thx", "now", "thank", "you", "immediately"})
_STOP_PHRASE: Final = re.compile(
    r"\b(?:(?:stop|quit|cease) (?:(?:all|these|those|this|the|your|any|sending|with) )*(?:me )?"
    r"(?:text\w*|messag\w*|sms\w*|contact\w*)"
    r"|(?:stop|quit) (?:it|this|that|spamming|bothering)|stop sending"
    r"|opt(?:ing)? (?:me |us )?out|optout|unsubscribe|remove me|take me off|(?:do not|dont) (?:text|message|contact)"
    r"|no more (?:texts?|messages?|sms)|(?:leave me alone)|revoke (?:my )?consent)\b"
)


def _plain(body: str) -> str:
    # Apostrophes vanish (don't -> dont); every other mark is a space (S.T.O.P is handled by the caller's second look).
    text = re.sub(r"['\u2019\u02bc`]", "", body.casefold())
    return " ".join(re.sub(r"[\W_]+", " ", text).split())


def read_keyword(body: str, carrier: Literal["STOP", "START", "HELP"] | None = None) -> Keyword:
    """Return what a text asks for.

    Args:
        body: as the borrower wrote it.
        carrier: what the carrier has already read in it (Twilio's OptOutType); it has acted on that, so it wins.
    """
    if carrier is not None:
        return Keyword(carrier.lower())
    plain = _plain(body)
    core = " ".join(word for word in plain.split() if word not in _POLITE)
    spelled = core.replace(" ", "") if all(len(word) == 1 for word in core.split()) else core
    for words, keyword in ((STOP_WORDS, Keyword.STOP), (START_WORDS, Keyword.START), (HELP_WORDS, Keyword.HELP)):
        if core in words or spelled in words:
            return keyword
    if core == "yes":
        return Keyword.YES
    return Keyword.STOP if _STOP_PHRASE.search(plain) else Keyword.NONE
