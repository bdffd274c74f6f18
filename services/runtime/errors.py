"""What can go wrong, in two kinds; every error knows which of the two it is.

RingbackError
├── PermanentError          trying again cannot help: a dead letter, or a clear no to whoever asked
│   └── ConfigurationError  the operator must put something right: the service ends with exit code 78
└── TransientError          a dependency is away: try again in place, later; nothing is lost meanwhile
    └── ProcessMustEnd      only another process can go on: the service ends with exit code 1
"""

from typing import ClassVar


class RingbackError(Exception):
    """Anything Ringback raises on purpose."""

    retriable: ClassVar[bool] = False


class PermanentError(RingbackError):
    """Trying again cannot help."""


class ConfigurationError(PermanentError):
    """What the operator told the service does not fit the deployment; the message names the setting."""


class TransientError(RingbackError):
    """A dependency is away; the same work may succeed later."""

    retriable: ClassVar[bool] = True


class ProcessMustEnd(TransientError):
    """The same work may succeed, but not in this process: whoever catches TransientError to wait lets this one through."""
