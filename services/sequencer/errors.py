"""What can go wrong in the sequencer.

RingbackError
└── PermanentError
    ├── UnknownCadence     an event asks for a cadence that no file describes: a dead letter
    ├── BrokenRow          a row's bytes are not what this version wrote: a dead letter, and the row stays
    ├── CadenceError       a cadence file is wrong: the service does not start
    └── BrokenTimer        a timer's document is none: counted and logged, and the other timers fire
"""

from services.runtime.errors import PermanentError


class UnknownCadence(PermanentError):
    """An event asks for a cadence that no file describes."""


class BrokenRow(PermanentError):
    """A row's bytes are not what this version of the sequencer writes or reads."""


class CadenceError(PermanentError):
    """A cadence file is wrong; the message names the file, the path in it and the reason."""


class BrokenTimer(PermanentError):
    """The document of a timer cannot be read."""
