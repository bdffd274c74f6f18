"""What can be wrong with a webhook; each error knows its HTTP status and its reason from a closed set.

RingbackError
├── PermanentError
│   └── Rejected              4xx, counted in ringback_webhooks_rejected_total; nothing else happens
│       ├── NotAuthentic      403  who sent it is not proved
│       ├── UnreadableBody    400, 408, 413, 415  the body is neither a form nor a JSON object
│       ├── InvalidField      400  a field is missing or wrong
│       └── UnknownNumber     404  no branch has the dialed number
│   └── SpoolInUse            another process of ingest has the spool's folder
└── TransientError
    ├── NotAcknowledged       503  neither Kafka nor the spool has the event; the sender must try again
    ├── SpoolRefuses          the spool is full, or the disk does not take an event
    └── ListsAway          the provider's lists of calls and messages cannot be read
"""

from typing import ClassVar, Final

from services.runtime.errors import PermanentError, TransientError

REASONS: Final = (
    "unsigned", "bad_signature", "stale_signature", "wrong_account", "not_configured",
    "malformed_body", "slow_body", "too_large", "unsupported_media_type", "invalid_field", "unknown_number",
)  # fmt: skip


class Rejected(PermanentError):
    """The webhook is refused; the message never repeats what was sent."""

    status: ClassVar[int] = 400

    def __init__(self, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.reason, self.message, self.field = reason, message, field

    @property
    def http_status(self) -> int:
        """The status to answer with."""
        return self.status


class NotAuthentic(Rejected):
    """Who sent it is not proved."""

    status = 403


class UnreadableBody(Rejected):
    """The body cannot be read at all."""

    _STATUS: ClassVar[dict[str, int]] = {"too_large": 413, "unsupported_media_type": 415, "slow_body": 408}

    @property
    def http_status(self) -> int:
        """The status to answer with."""
        return self._STATUS.get(self.reason, 400)


class InvalidField(Rejected):
    """A field is missing or wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("invalid_field", message, field)


class UnknownNumber(Rejected):
    """No branch has the dialed number."""

    status = 404

    def __init__(self, field: str) -> None:
        super().__init__("unknown_number", "no branch in the directory has this number", field)


class NotAcknowledged(TransientError):
    """Neither Kafka nor the spool has taken the event in time; it may still arrive."""


class SpoolInUse(PermanentError):
    """Another process of ingest has the spool's folder."""


class SpoolRefuses(TransientError):
    """The spool does not take an event; `reason` is `full` or `unwritable`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ListsAway(TransientError):
    """The provider's lists of calls and messages cannot be read."""
