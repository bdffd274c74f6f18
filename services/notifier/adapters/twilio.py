"""Twilio through its official SDK, on an HTTP client of ours.

The SDK's own async client has no time-out at all (it hands `None` to aiohttp), and its `max_retries` re-POSTs messages
after a 5xx, which would text the same borrower twice. So ours has one time-out and no retries.
"""

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import client_exceptions as http
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from services.notifier.domain.codes import meaning_of_error
from services.notifier.domain.delivery import RenderedText
from services.notifier.domain.facts import LeftInDoubt, NotSent, ProviderAccepted, SendOutcome
from services.notifier.errors import ProviderAway
from services.runtime.clock import monotonic_s

TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 4.0
KEEPALIVE_S: Final = 5.0
"""Idle connections close before any server closes them: one that breaks during a write leaves a text in doubt."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A message in the provider's list."""

    sid: str
    body: str
    created_at: datetime


class TextProvider(Protocol):
    """A provider that carries texts."""

    async def start(self) -> None:
        """Open the connections."""

    async def stop(self) -> None:
        """Close the connections."""

    async def send(
        self, text: RenderedText, *, callback_url: str, validity_s: int, write_before_s: float
    ) -> SendOutcome:
        """Send a text once; never raises.

        Args:
            text: what to send.
            callback_url: where receipts go.
            validity_s: how long the provider may try.
            write_before_s: on the monotonic clock; from then on the request is not written.
        """

    async def listed(self, to: str, from_number: str) -> list[Listed]:
        """Return the newest messages between two numbers; raises ProviderAway."""


class _TooLate(Exception):
    """The request would have been written after `post_by`."""


ERRORS: Final[Sequence[tuple[type[BaseException], str]]] = (
    # Most specific first. `unsent`: nothing of the request reached the provider. `answer`: the API answered, and its code
    # says what. `doubt`: nobody can say. A test fails on an error that a vendor adds and that is not listed here.
    (_TooLate, "unsent"),
    (TwilioRestException, "answer"),
    (TwilioServiceException, "answer"),
    (TwilioException, "doubt"),
    (http.ClientConnectorDNSError, "unsent"),
    (http.ClientProxyConnectionError, "unsent"),
    (http.UnixClientConnectorError, "unsent"),
    (http.ClientConnectorSSLError, "unsent"),
    (http.ClientConnectorCertificateError, "unsent"),
    (http.ClientSSLError, "unsent"),
    (http.ClientConnectorError, "unsent"),
    (http.ConnectionTimeoutError, "unsent"),
    (http.ServerFingerprintMismatch, "unsent"),
    (http.InvalidUrlRedirectClientError, "doubt"),
    (http.NonHttpUrlRedirectClientError, "doubt"),
    (http.RedirectClientError, "doubt"),
    (http.InvalidUrlClientError, "unsent"),
    (http.NonHttpUrlClientError, "unsent"),
    (http.InvalidURL, "unsent"),
    (http.ContentTypeError, "doubt"),
    (http.WSServerHandshakeError, "doubt"),
    (http.ClientHttpProxyError, "doubt"),
    (http.TooManyRedirects, "doubt"),
    (http.ClientResponseError, "doubt"),
    (http.ClientConnectionResetError, "doubt"),
    (http.ClientOSError, "doubt"),
    (http.ServerDisconnectedError, "doubt"),
    (http.SocketTimeoutError, "doubt"),
    (http.ServerTimeoutError, "doubt"),
    (http.ServerConnectionError, "doubt"),
    (http.ClientConnectionError, "doubt"),
    (http.ClientPayloadError, "doubt"),
    (http.UploadAbortedError, "doubt"),
    (http.ClientError, "doubt"),
    (TimeoutError, "doubt"),
    (OSError, "doubt"),
    (ValueError, "doubt"),  # an answer that is not JSON
    (Exception, "doubt"),
)


def outcome_of(error: BaseException) -> SendOutcome:
    """Return what an exception out of the SDK says about the text."""
    kind = next(kind for error_type, kind in ERRORS if isinstance(error, error_type))
    if kind == "answer":
        code = getattr(error, "code", None)
        return meaning_of_error(int(getattr(error, "status", 0)), int(code) if code else None)
    name = type(error).__name__.lstrip("_")
    return NotSent(name) if kind == "unsent" else LeftInDoubt(name)


_write_before_s: ContextVar[float | None] = ContextVar("write_before_s", default=None)


@contextmanager
def _writing_before(limit_s: float) -> Iterator[None]:
    token = _write_before_s.set(limit_s)
    try:
        yield
    finally:
        _write_before_s.reset(token)


class HttpClient(AsyncHttpClient):  # type: ignore[misc]
    """The SDK's transport: one shared session, one time-out, no retries, no redirects, our base URL."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, timeout_s: float) -> None:
        super().__init__(logging.getLogger("twilio"), is_async=True)
        self._session, self._base_url = session, base_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, timeout_s))

    async def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the SDK's signature; ours is fixed
        allow_redirects: bool = False,
    ) -> Response:
        """Make one request."""
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        parts = urlsplit(uri)
        url = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        limit_s = _write_before_s.get()
        if limit_s is not None and monotonic_s() >= limit_s:
            raise _TooLate
        async with self._session.request(
            method.upper(), url, params=params, data=data, headers=sent, timeout=self._timeout, allow_redirects=False
        ) as answer:
            return Response(answer.status, await answer.text(), answer.headers)


class TwilioProvider:
    """Twilio itself, or the sandbox at its base URL."""

    def __init__(self, account_sid: str, auth_token: str, base_url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._account_sid, self._auth_token = account_sid, auth_token
        self._base_url, self._timeout_s = base_url, timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._client: Any = None

    async def start(self) -> None:
        """Make the session, and load the parts of the SDK that it would load during the first text."""
        connector = aiohttp.TCPConnector(limit=256, keepalive_timeout=KEEPALIVE_S)
        self._session = aiohttp.ClientSession(connector=connector)
        # A region or edge in the machine's environment must not send texts elsewhere; the SDK would ignore `{}`.
        self._client = Client(
            self._account_sid,
            self._auth_token,
            environment={"RINGBACK": "1"},
            http_client=HttpClient(self._session, self._base_url, self._timeout_s),
        )
        self._messages()

    def _messages(self) -> Any:
        return self._client.api.v2010.account.messages

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def send(
        self, text: RenderedText, *, callback_url: str, validity_s: int, write_before_s: float
    ) -> SendOutcome:
        """POST once."""
        try:
            with _writing_before(write_before_s):
                message = await self._messages().create_async(
                    to=text.to,
                    from_=text.from_number,
                    body=text.body,
                    status_callback=callback_url,
                    validity_period=validity_s,
                )
            if not message.sid:
                return LeftInDoubt("an answer without a sid")
            return ProviderAccepted(str(message.sid))
        except Exception as error:
            return outcome_of(error)

    async def listed(self, to: str, from_number: str) -> list[Listed]:
        """GET the list, newest first. Not filtered by date sent: a queued text has none."""
        try:
            found = await self._messages().list_async(to=to, from_=from_number, limit=50, page_size=50)
        except Exception as error:
            raise ProviderAway(f"the list of messages: {type(error).__name__}") from error
        return [Listed(str(item.sid), item.body or "", item.date_created) for item in found if item.date_created]


@dataclass
class FakeProvider:
    """Answers as it is told: with `answers` first, then by accepting every text."""

    answers: list[SendOutcome | BaseException] = field(default_factory=list)
    texts: list[tuple[RenderedText, str, int]] = field(default_factory=list)
    list_of: list[Listed] = field(default_factory=list)
    away: bool = False

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def send(
        self, text: RenderedText, *, callback_url: str, validity_s: int, write_before_s: float
    ) -> SendOutcome:
        """Take it, or answer as told."""
        if monotonic_s() >= write_before_s:
            return NotSent("TooLate")
        self.texts.append((text, callback_url, validity_s))
        answer = self.answers.pop(0) if self.answers else ProviderAccepted(f"SM{len(self.texts):032x}")
        if isinstance(answer, BaseException):
            return outcome_of(answer)
        return answer

    async def listed(self, to: str, from_number: str) -> list[Listed]:
        """Return what it was told."""
        if self.away:
            raise ProviderAway("the fake was told to be away")
        return list(self.list_of)
