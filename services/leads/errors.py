"""What can go wrong in the leads service, beside what the store raises (`services.runtime.mongo_errors`).

RingbackError
├── ConfigurationError
│   └── KeyDiffers          RINGBACK_NUMBER_KEY is not the one that made `suppressions`; the service refuses to start
└── TransientError
    └── TooMuchContention   others changed the document each time we had decided
"""

from services.runtime.errors import ConfigurationError, TransientError


class KeyDiffers(ConfigurationError):
    """RINGBACK_NUMBER_KEY is not the one that made `suppressions`: with it, no opt-out would be found."""


class TooMuchContention(TransientError):
    """Others changed the document each time we had decided."""
