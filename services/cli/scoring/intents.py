"""The figures of a reader of intents over labeled texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.cli.exits import WrongUse
from services.cli.scoring.labeled import LabeledText
from services.cli.scoring.wilson import Share
from services.policy.reading.interpreter import VALUES, Interpreter, Kind

CONFIDENT: Final = 0.5
"""What is read with less is a doubt, and no answer."""
_WITHOUT_VALUES: Final = (
    "callback", "callback_at", "call_now", "wrong_number", "not_interested", "existing_loan", "not_a_borrower", "hardship", "legal",
    "thanks", "yes", "no", "urgency", "none",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadIntents:
    """A labeled text, and the labels it is read as."""

    case: LabeledText
    wanted: frozenset[str]
    found: frozenset[str]


@dataclass(frozen=True, slots=True)
class IntentFigures:
    """How one intent is read.

    Attributes:
        recall: of the texts that have it.
        precision: of the texts it was read in.
    """

    recall: Share
    precision: Share


def read_all(cases: Sequence[LabeledText], reader: Interpreter) -> list[ReadIntents]:
    """Return how each text is read; labels of one text are parted by semicolons, `none` is none.

    Raises:
        WrongUse: a label is none of ours.
    """
    texts = []
    for case in cases:
        wanted = frozenset(case.label.split(";")) - {"none"}
        for label in wanted:
            _check(label)
        found = frozenset(intent.label for intent in reader.read(case.text) if intent.confidence >= CONFIDENT)
        texts.append(ReadIntents(case, wanted, found))
    return texts


def _check(label: str) -> None:
    kind, _, value = label.partition(":")
    kinds: dict[str, Kind] = {name: name for name in VALUES}
    if kind in kinds and value in VALUES[kinds[kind]]:
        return
    if label in _WITHOUT_VALUES or (kind == "property_state" and len(value) == 2 and value.isupper()):
        return
    raise WrongUse(
        f"{label!r} is no intent", "write one like purpose:purchase, timeline:3m, callback_at or none; `;` between two"
    )


def exact(texts: Sequence[ReadIntents]) -> Share:
    """Return the share of texts that are read as labeled, nothing missing and nothing added."""
    return Share(sum(text.wanted == text.found for text in texts), len(texts))


def figures_by_kind(texts: Sequence[ReadIntents]) -> dict[str, IntentFigures]:
    """Return the figures of each intent, states together."""
    names = sorted({_named(label) for text in texts for label in text.wanted | text.found})
    figures = {}
    for name in names:
        wanted = [text for text in texts if any(_named(label) == name for label in text.wanted)]
        found = [text for text in texts if any(_named(label) == name for label in text.found)]
        right = sum(bool({x for x in text.wanted & text.found if _named(x) == name}) for text in wanted)
        figures[name] = IntentFigures(Share(right, len(wanted)), Share(right, len(found)))
    return figures


def _named(label: str) -> str:
    return "property_state" if label.startswith("property_state:") else label
