"""What can go wrong in the notifier.

RingbackError
├── PermanentError
│   ├── NumberKeyDiffers     this key is not the one that `suppressions` were written with: refuse to start
│   └── Unsendable           no text can be made of this touch: wording, branch or recipient is missing
└── TransientError
    ├── StoreAway            MongoDB did not answer; a write may or may not have happened
    └── ProviderAway         the provider's list could not be read; nothing is known
"""

from services.runtime.errors import PermanentError, TransientError


class NumberKeyDiffers(PermanentError):
    """RINGBACK_NUMBER_KEY is not the key that `suppressions` were written with: every opt-out would be missed."""


class StoreAway(TransientError):
    """MongoDB did not answer; a write may or may not have happened."""


class ProviderAway(TransientError):
    """The provider's list could not be read; nothing is known."""
