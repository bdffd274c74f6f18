"""What can go wrong in the sequencer.

RingbackError
└── PermanentError
    ├── UnknownCadence     an event asks for a cadence that no file describes: a dead letter
    ├── BrokenRow          a row's bytes are not what this version wrote: a dead letter, and the row stays
    ├── CadenceError       a cadence file is wrong: the service exits with 78
    └── BrokenTimer        a timer's document is none: counted and logged, and the other timers fire
"""

from collections.abc import Sequence

from services.runtime.errors import PermanentError


class UnknownCadence(PermanentError):
    """An event asks for a cadence that no file describes."""


class BrokenRow(PermanentError):
    """A row's bytes are not what this version of the sequencer writes or reads."""


class CadenceError(PermanentError):
    """Cadence files are wrong.

    Attributes:
        problems: all of them, each with the file, the path in it and the reason.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class BrokenTimer(PermanentError):
    """The document of a timer cannot be read."""
