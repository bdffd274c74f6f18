"""What a borrower's text says about being texted, as the services act on it today: stop, start, help, yes, or none of these.

`services.policy.reading` reads; this is its answer in five words. A doubt counts as a stop, and so does a stop of texts alone or
of everything: the one mistake is a text too many, the other a call that an officer makes anyway. Only `don't call, text me` is
no stop of texts.
Sources: 47 CFR 64.1200(a)(10) (stop, quit, end, revoke, opt out, cancel, unsubscribe always count, and so does wording
that a reasonable person would read so); Twilio's default words (STOPALL, OPTOUT; START, YES, UNSTOP; HELP, INFO).
"""

from enum import StrEnum
from typing import Final, Literal

from services.policy.reading.normal import make_plain
from services.policy.reading.optouts import TEXTS_WANTED, core_of, read_opt_out

CODE_OF_CARRIER_OPT_OUT: Final = 21610
"""Twilio's error code for a recipient who has told the carrier STOP: an opt-out that nobody has told us."""


class Keyword(StrEnum):
    """What the text asks for; YES opts in only a borrower who is opted out, else it is an answer."""

    STOP = "stop"
    START = "start"
    YES = "yes"
    HELP = "help"
    NONE = "none"


HELP_WORDS: Final = frozenset({"help", "info"})
"""What the carrier answers itself; any other call for help is a text that a person answers."""

_POLITE: Final = frozenset({"please", "thanks", "now", "thank", "you", "immediately"})


def read_keyword(body: str, carrier: Literal["STOP", "START", "HELP"] | None = None) -> Keyword:
    """Return what a text asks for.

    Args:
        body: as the borrower wrote it.
        carrier: what the carrier has already read in it (Twilio's OptOutType); it has acted on that, so it wins.
    """
    if carrier is not None:
        return Keyword(carrier.lower())
    reading = read_opt_out(body)
    match reading.optout:
        case "stop" | "doubt":
            return Keyword.NONE if reading.why == TEXTS_WANTED else Keyword.STOP
        case "start":
            return Keyword.START
    plain = make_plain(body).text
    if reading.optout == "help":
        return Keyword.HELP if core_of(plain) in HELP_WORDS else Keyword.NONE
    return Keyword.YES if [word for word in plain.split() if word not in _POLITE] == ["yes"] else Keyword.NONE
