"""What can go wrong in leads.

RingbackError
├── PermanentError
│   ├── StoreRefused        MongoDB says this document or command can never work
│   └── KeyDiffers          RINGBACK_NUMBER_KEY is not the one that made `suppressions`; leads refuses to start
└── TransientError
    ├── StoreAway           MongoDB is not there, has no primary, or did not acknowledge
    └── TooMuchContention   others changed the document each time we had decided
"""

from services.runtime.errors import PermanentError, TransientError


class StoreRefused(PermanentError):
    """MongoDB says this document or command can never work."""


class KeyDiffers(PermanentError):
    """RINGBACK_NUMBER_KEY is not the one that made `suppressions`: with it, no opt-out would be found."""


class StoreAway(TransientError):
    """MongoDB is not there, has no primary, or did not acknowledge."""


class TooMuchContention(TransientError):
    """Others changed the document each time we had decided."""
