"""The opt-out reader's figures over labeled texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.cli.exits import WrongUse
from services.cli.scoring.labeled import LabeledText
from services.cli.scoring.wilson import Share
from services.policy.reading.optouts import OptOutReading, read_opt_out

LABELS = ("stop", "start", "help", "doubt", "other")


@dataclass(frozen=True, slots=True)
class ReadText:
    """A labeled text, and how it is read."""

    case: LabeledText
    reading: OptOutReading

    @property
    def wanted(self) -> str:
        """Return the label without its scope, `none` for `other`."""
        name = self.case.label.partition(":")[0]
        return "none" if name == "other" else name

    @property
    def is_wrong(self) -> bool:
        """Return whether the reading differs from the label, its scope included where the label has one."""
        scope = self.case.label.partition(":")[2]
        return self.reading.optout != self.wanted or bool(scope and scope != self.reading.scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutFigures:
    """What counts.

    Attributes:
        recall: of true opt-outs; a doubt counts half.
        doubts: of true opt-outs.
        scopes: right, of the opt-outs read as one.
        false_stops: of texts that ask for nothing.
        false_doubts: of the same.
        commands: START and HELP read right.
    """

    recall: Share
    doubts: Share
    scopes: Share
    false_stops: Share
    false_doubts: Share
    commands: Share


def read_all(cases: Sequence[LabeledText]) -> list[ReadText]:
    """Return how each text is read.

    Raises:
        WrongUse: a label is none of ours.
    """
    return [ReadText(case, read_opt_out(case.text)) for case in _checked(cases)]


def _checked(cases: Sequence[LabeledText]) -> Iterator[LabeledText]:
    for case in cases:
        if case.label.partition(":")[0] not in LABELS:
            raise WrongUse(
                f"{case.label!r} is no label",
                f"write one of {', '.join(LABELS)}; a stop may say stop:text or stop:call",
            )
        yield case


def figures_of(texts: Sequence[ReadText]) -> OptOutFigures:
    """Return the figures of some texts."""
    stops = [text for text in texts if text.wanted == "stop"]
    others = [text for text in texts if text.wanted == "none"]
    commands = [text for text in texts if text.wanted in ("start", "help")]
    understood = [text for text in stops if text.reading.optout == "stop"]
    doubts = sum(text.reading.optout == "doubt" for text in stops)
    return OptOutFigures(
        recall=Share(len(understood) + doubts / 2, len(stops)),
        doubts=Share(doubts, len(stops)),
        scopes=Share(sum(not text.is_wrong for text in understood), len(understood)),
        false_stops=Share(sum(text.reading.optout == "stop" for text in others), len(others)),
        false_doubts=Share(sum(text.reading.optout == "doubt" for text in others), len(others)),
        commands=Share(sum(not text.is_wrong for text in commands), len(commands)),
    )
