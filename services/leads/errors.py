"""What can go wrong in the leads service, beside what the store raises (`services.runtime.mongo_errors`).

RingbackError
├── ConfigurationError
│   └── KeyDiffers          RINGBACK_NUMBER_KEY is not the one that made `suppressions`; the service refuses to start
├── PermanentError
│   └── NobodyTakesIt       a lead's branch has no officers
└── TransientError
    └── TooMuchContention   others changed the document each time we had decided
"""

from services.runtime.errors import ConfigurationError, PermanentError, TransientError


class KeyDiffers(ConfigurationError):
    """RINGBACK_NUMBER_KEY is not the one that made `suppressions`: with it, no opt-out would be found."""


class NobodyTakesIt(PermanentError):
    """A lead's branch has no officers."""


class TooMuchContention(TransientError):
    """Others changed the document each time we had decided."""
