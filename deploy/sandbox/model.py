"""Messages, calls and errors, and their JSON in Twilio's API (version 2010-04-01)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

from services.policy.gsm import segments

API_VERSION = "2010-04-01"
FINAL = frozenset({"delivered", "undelivered", "failed", "received"})

ERROR_WORDS = {
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
    30034: "US A2P 10DLC - Message from an Unregistered Number",
    30036: "Validity Period Expired",
}


def new_sid(prefix: str) -> str:
    """Return a Twilio-shaped id: two letters and 32 hex digits."""
    return prefix + uuid4().hex


def rfc2822(when: datetime | None) -> str | None:
    """Return a date the way the 2010-04-01 API writes it."""
    return None if when is None else format_datetime(when.astimezone(UTC))


class TwilioError(Exception):
    """A refusal in Twilio's shape."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def payload(self) -> dict[str, Any]:
        """Return the JSON body that the SDK turns into a TwilioRestException."""
        return {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }


@dataclass(slots=True)
class Message:
    """One text, sent or received. Mutable: its status changes."""

    n: int
    sid: str
    direction: str  # outbound-api, outbound-reply (Twilio's own answer to STOP or HELP), inbound
    from_: str | None
    to: str
    body: str
    status: str
    created_at: datetime
    received_real: datetime
    service_sid: str | None = None
    status_callback: str | None = None
    validity_s: int | None = None
    updated_at: datetime | None = None
    sent_at: datetime | None = None
    error_code: int | None = None

    @property
    def phone(self) -> str:
        """The borrower's (or officer's) number."""
        return self.from_ or "" if self.direction == "inbound" else self.to

    def payload(self, account_sid: str) -> dict[str, Any]:
        """Return the Message resource."""
        uri = f"/{API_VERSION}/Accounts/{account_sid}/Messages/{self.sid}"
        return {
            "account_sid": account_sid,
            "api_version": API_VERSION,
            "body": self.body,
            "date_created": rfc2822(self.created_at),
            "date_sent": rfc2822(self.sent_at),
            "date_updated": rfc2822(self.updated_at or self.created_at),
            "direction": self.direction,
            "error_code": self.error_code,
            "error_message": ERROR_WORDS.get(self.error_code, "Unknown error") if self.error_code else None,
            "from": self.from_,
            "messaging_service_sid": self.service_sid,
            "num_media": "0",
            # Twilio counts only once a service has chosen the sender.
            "num_segments": str(segments(self.body)) if self.from_ else "0",
            "price": None,
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }

    def record(self) -> dict[str, Any]:
        """Return what tests and reports read: virtual and real times, in our own shape."""
        return {
            "n": self.n,
            "sid": self.sid,
            "direction": self.direction,
            "from": self.from_,
            "to": self.to,
            "body": self.body,
            "status": self.status,
            "error_code": self.error_code,
            "messaging_service_sid": self.service_sid,
            "status_callback": self.status_callback,
            "validity_s": self.validity_s,
            "created_at": self.created_at.isoformat(),
            "sent_at": self.sent_at.isoformat() if self.sent_at else None,
            "received_real_at": self.received_real.isoformat(),
            "received_real_epoch": self.received_real.timestamp(),
        }


@dataclass(frozen=True, slots=True)
class Call:
    """One call or leg, as `replay` registers it for list and fetch."""

    sid: str
    from_: str
    to: str
    status: str
    direction: str
    created_at: datetime
    start_time: datetime | None
    end_time: datetime | None
    duration_s: int | None
    parent_sid: str | None = None

    def payload(self, account_sid: str) -> dict[str, Any]:
        """Return the Call resource."""
        uri = f"/{API_VERSION}/Accounts/{account_sid}/Calls/{self.sid}"
        return {
            "account_sid": account_sid,
            "annotation": None,
            "answered_by": None,
            "api_version": API_VERSION,
            "caller_name": None,
            "date_created": rfc2822(self.created_at),
            "date_updated": rfc2822(self.end_time or self.created_at),
            "direction": self.direction,
            "duration": None if self.duration_s is None else str(self.duration_s),
            "end_time": rfc2822(self.end_time),
            "forwarded_from": None,
            "from": self.from_,
            "from_formatted": self.from_,
            "group_sid": None,
            "parent_call_sid": self.parent_sid,
            "phone_number_sid": None,
            "price": None,
            "price_unit": "USD",
            "queue_time": "0",
            "sid": self.sid,
            "start_time": rfc2822(self.start_time),
            "status": self.status,
            "subresource_uris": {"recordings": f"{uri}/Recordings.json"},
            "to": self.to,
            "to_formatted": self.to,
            "trunk_sid": None,
            "uri": f"{uri}.json",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One voicemail, as a test registers it for list; `transcript` is None while, or because, there is none."""

    sid: str
    call_sid: str
    created_at: datetime
    duration_s: int
    status: str
    transcription_status: str | None = None
    transcript: str | None = None

    def payload(self, account_sid: str) -> dict[str, Any]:
        """Return the Recording resource."""
        uri = f"/{API_VERSION}/Accounts/{account_sid}/Recordings/{self.sid}"
        return {
            "account_sid": account_sid,
            "api_version": API_VERSION,
            "call_sid": self.call_sid,
            "channels": 1,
            "date_created": rfc2822(self.created_at),
            "date_updated": rfc2822(self.created_at),
            "duration": str(self.duration_s),
            "error_code": None,
            "sid": self.sid,
            "source": "RecordVerb",
            "start_time": rfc2822(self.created_at),
            "status": self.status,
            "subresource_uris": {"transcriptions": f"{uri}/Transcriptions.json"},
            "uri": f"{uri}.json",
        }

    def transcriptions(self, account_sid: str) -> list[dict[str, Any]]:
        """Return its Transcription resources."""
        if self.transcription_status is None:
            return []
        return [
            {
                "account_sid": account_sid,
                "api_version": API_VERSION,
                "date_created": rfc2822(self.created_at),
                "recording_sid": self.sid,
                "sid": "TR" + self.sid[2:],
                "status": self.transcription_status,
                "transcription_text": self.transcript,
            }
        ]
