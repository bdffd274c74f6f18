"""Twilio through its official SDK, on an HTTP client of ours.

The SDK's own async client has no time-out at all (it hands `None` to aiohttp), and its `max_retries` re-POSTs messages
after a 5xx, which would text the same borrower twice. So ours has one time-out and no retries.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
from twilio.base.exceptions import TwilioRestException, TwilioServiceException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from services.notifier.domain.delivery import RenderedText
from services.notifier.domain.facts import LeftInDoubt, NotSent, ProviderAccepted, SendOutcome
from services.notifier.domain.twilio_codes import meaning_of_error
from services.notifier.errors import ProviderAway

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


MayWrite = Callable[[], Awaitable[NotSent | None]]
"""Asked once, right before a request is written: None lets it go."""


class TextProvider(Protocol):
    """A provider that carries texts."""

    async def start(self) -> None:
        """Open the connections."""

    async def stop(self) -> None:
        """Close the connections."""

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        """Send a text once; never raises, unless it is cancelled after the request was written.

        Args:
            text: what to send.
            callback_url: where receipts go.
            validity_s: how long the provider may try.
            last_look: awaited once a connection is there and before the first byte. Whatever ends the request before it
                has said yes, the text is known not to be sent.
        """

    async def listed(self, to: str, from_number: str) -> list[Listed]:
        """Return the newest messages between two numbers; raises ProviderAway."""


class _NotNow(Exception):
    """The last look said no."""


@dataclass(slots=True)
class _Writing:
    """One request that must ask before it is written."""

    last_look: MayWrite
    refusal: NotSent | None = None
    written: bool = False

    async def ask(self) -> None:
        """Let the request be written, or raise."""
        self.refusal = await self.last_look()
        if self.refusal is not None:
            raise _NotNow
        self.written = True  # nothing may stand between this and the first byte

    def outcome_of(self, error: BaseException) -> SendOutcome:
        """Return what an error says about the text.

        Where nothing was written, no kind of error can mean that the text went. Where it was, only an answer of the API
        says what became of it.
        """
        if not self.written:
            return self.refusal or NotSent(reason=type(error).__name__)
        if isinstance(error, TwilioRestException | TwilioServiceException):
            return meaning_of_error(_whole(error.status) or 0, _whole(error.code))
        return LeftInDoubt(type(error).__name__)


def _whole(value: object) -> int | None:
    """Return what an answer of somebody unknown gives for a number, where it is one."""
    try:
        return int(str(value))
    except ValueError:
        return None


_writing: ContextVar[_Writing | None] = ContextVar("writing", default=None)


async def _before_the_first_byte(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    """Ask. aiohttp awaits this on the connected socket before it writes; raising here writes nothing and closes it.

    Raising in its hooks for connections would leak the connection instead.
    """
    if context.trace_request_ctx is not None:
        await context.trace_request_ctx.ask()


def session_that_asks() -> aiohttp.ClientSession:
    """Return a session whose requests ask before they are written."""
    traces = aiohttp.TraceConfig()
    traces.on_request_headers_sent.append(_before_the_first_byte)
    connector = aiohttp.TCPConnector(limit=256, keepalive_timeout=KEEPALIVE_S)
    return aiohttp.ClientSession(connector=connector, trace_configs=[traces])


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
        async with self._session.request(
            method.upper(),
            url,
            params=params,
            data=data,
            headers=sent,
            timeout=self._timeout,
            allow_redirects=False,
            trace_request_ctx=_writing.get(),
        ) as answer:
            return Response(answer.status, await answer.text(), answer.headers)


class TwilioProvider:
    """Twilio itself, or the sandbox at its base URL."""

    def __init__(self, *, account_sid: str, auth_token: str, base_url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._account_sid, self._auth_token = account_sid, auth_token
        self._base_url, self._timeout_s = base_url, timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._client: Any = None

    async def start(self) -> None:
        """Make the session, and load the parts of the SDK that it would load during the first text."""
        self._session = session_that_asks()
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

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        """POST once."""
        writing = _Writing(last_look)
        token = _writing.set(writing)
        try:
            message = await self._messages().create_async(
                to=text.to,
                from_=text.from_number,
                body=text.body,
                status_callback=callback_url,
                validity_period=validity_s,
            )
        except asyncio.CancelledError as cancelled:
            if writing.written:
                raise
            return writing.outcome_of(cancelled)  # what is known is saved first; a second cancellation ends that too
        except Exception as error:
            return writing.outcome_of(error)
        finally:
            _writing.reset(token)
        return ProviderAccepted(str(message.sid)) if message.sid else LeftInDoubt("an answer without a sid")

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

    answers: list[SendOutcome] = field(default_factory=list)
    texts: list[tuple[RenderedText, str, int]] = field(default_factory=list)
    list_of: list[Listed] = field(default_factory=list)
    away: bool = False

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def send(self, text: RenderedText, *, callback_url: str, validity_s: int, last_look: MayWrite) -> SendOutcome:
        """Take it, or answer as told."""
        if refusal := await last_look():
            return refusal
        self.texts.append((text, callback_url, validity_s))
        return self.answers.pop(0) if self.answers else ProviderAccepted(f"SM{len(self.texts):032x}")

    async def listed(self, to: str, from_number: str) -> list[Listed]:
        """Return what it was told."""
        if self.away:
            raise ProviderAway("the fake was told to be away")
        return list(self.list_of)
