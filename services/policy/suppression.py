"""How a number is named in `suppressions`: never in clear, the same by leads (who writes) and the notifier (who reads)."""

import hashlib
import hmac

KEY_CHECK_ID = "key-check"


def suppression_id(number_key: str, lender_id: str, number: str) -> str:
    """Return the `_id` of a number's suppression: HMAC-SHA256 under RINGBACK_NUMBER_KEY, hex."""
    return hmac.new(number_key.encode(), f"{lender_id}:{number}".encode(), hashlib.sha256).hexdigest()


def key_check(number_key: str) -> str:
    """Return what the `key-check` document must hold; services refuse to start when theirs differs."""
    return hmac.new(number_key.encode(), b"ringback key check", hashlib.sha256).hexdigest()
