"""Signing webhooks as their senders do: for the replayer, the sandbox, tests, benchmarks, and lenders' own systems.

Twilio's scheme is the official SDK's; ours for `/webhooks/calls` is
`Ringback-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`, made and checked in the machine's real time.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal
from urllib.parse import urldefrag

from twilio.request_validator import SIGNATURE_HEADER, RequestValidator

TWILIO_HEADER: Final = SIGNATURE_HEADER
CALLS_HEADER: Final = "Ringback-Signature"
TOLERANCE_S: Final = 300

Verdict = Literal["ok", "unsigned", "bad_signature", "stale_signature"]
_STAMP: Final = re.compile(r"[0-9]{1,12}")


def sign_twilio(url: str, params: Mapping[str, str], token: str) -> str:
    """Return the `X-Twilio-Signature` of a form webhook.

    Args:
        url: the public URL with its query. A fragment (`#rc=5`, Twilio's overrides) is never sent and never signed.
        params: the form.
        token: the account's auth token.
    """
    return str(RequestValidator(token).compute_signature(urldefrag(url).url, dict(params)))


def sign_twilio_json(url: str, body: str, token: str) -> tuple[str, str]:
    """Return the URL to post a JSON webhook to, with `bodySHA256` in its query, and its `X-Twilio-Signature`."""
    plain = urldefrag(url).url
    signed = f"{plain}{'&' if '?' in plain else '?'}bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
    return signed, str(RequestValidator(token).compute_signature(signed, {}))


def sign_calls(body: bytes, t: int, secret: str) -> str:
    """Return the `Ringback-Signature` of a `/webhooks/calls` body; `t` is the unix time of the machine that sends."""
    return f"t={t},v1={_digest(body, str(t), secret)}"


def verify_calls(header: str | None, body: bytes, now_s: float, secrets: Iterable[str]) -> Verdict:
    """Check a `Ringback-Signature`: one of its `v1` fits one of the secrets, and `t` is within five minutes of now."""
    if not header:
        return "unsigned"
    parts = [part.strip().partition("=") for part in header.split(",")[:10]]
    stamps = [value for name, _, value in parts if name == "t"]
    given = [value.encode() for name, _, value in parts if name == "v1"]
    if len(stamps) != 1 or not _STAMP.fullmatch(stamps[0]) or not given:
        return "bad_signature"
    expected = [_digest(body, stamps[0], secret).encode() for secret in secrets]
    if not any(hmac.compare_digest(one, other) for one in given for other in expected):
        return "bad_signature"
    return "ok" if abs(now_s - int(stamps[0])) <= TOLERANCE_S else "stale_signature"


def _digest(body: bytes, stamp: str, secret: str) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
