"""What can go wrong in the notifier.

RingbackError
├── PermanentError
│   ├── ConfigurationError
│   │   └── NumberKeyDiffers this key is not the one that `suppressions` were written with: refuse to start
│   ├── StoreRefused         MongoDB will never take this document (services.runtime.mongo_errors)
│   └── UnreadableDocument   a stored document is not as this version needs it: nothing is decided from it
└── TransientError
    ├── StoreAway            MongoDB did not answer; a write may or may not have happened (services.runtime.mongo_errors)
    └── ProviderAway         the provider's list could not be read; nothing is known
"""

from services.runtime.errors import ConfigurationError, PermanentError, TransientError


class NumberKeyDiffers(ConfigurationError):
    """RINGBACK_NUMBER_KEY is not the key that `suppressions` were written with: every opt-out would be missed."""


class UnreadableDocument(PermanentError):
    """A stored document is not as this version needs it; nothing can be decided from it."""


class ProviderAway(TransientError):
    """The provider's list could not be read; nothing is known."""
