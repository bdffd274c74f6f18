"""How handling an event ended: the one answer that every handler gives, and where the reasons are counted."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from services.runtime.metrics import EVENTS_CONSUMED, EVENTS_IGNORED

EventOutcome = Literal["applied", "ignored", "dead_lettered"]
OUTCOMES: Final[tuple[EventOutcome, ...]] = get_args(EventOutcome)


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of one event.

    Attributes:
        outcome: applied, ignored (nothing changed) or dead-lettered.
        why: for an ignored event its reason, one of a closed set: it is a metric's label.
    """

    outcome: EventOutcome
    why: str = ""


APPLIED: Final = Handled("applied")
DEAD_LETTERED: Final = Handled("dead_lettered")
UNKNOWN_TYPE: Final = Handled("ignored", "unknown_type")
"""A newer version's event, while a rolling upgrade is under way: it stops nobody."""


def ignored(why: str) -> Handled:
    """Return the answer for an event that changes nothing; `why` is from a closed set, such as `duplicate`."""
    return Handled("ignored", why)


def count(topic: str, handled: Handled) -> None:
    """Count a finished event by its outcome, and an ignored one by its reason too."""
    EVENTS_CONSUMED.labels(topic, handled.outcome).inc()
    if handled.outcome == "ignored":
        EVENTS_IGNORED.labels(topic, handled.why).inc()
