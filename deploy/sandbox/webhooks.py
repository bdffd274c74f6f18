"""Posts signed webhooks as Twilio does, its connection overrides included."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urldefrag, urlsplit

import aiohttp
import structlog
from twilio.request_validator import RequestValidator
from yarl import URL

from deploy.sandbox.model import new_sid

log = structlog.get_logger(__name__)

TOTAL_S = 15.0
"""Twilio gives a webhook 15 s in all, retries included."""
FIRST_BACKOFF_S = 0.1
RETRIES_MAX = 5
URL_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook URL as signed, and what its fragment asked for (`#rc=5&rp=all&ct=500&rt=5000`)."""

    url: str
    retries: int = 1
    policies: frozenset[str] = frozenset({"ct"})  # Twilio's default: only when the connection failed
    connect_s: float = 5.0
    read_s: float = 15.0

    @classmethod
    def parse(cls, raw: str) -> "Target":
        """Read a webhook URL.

        Raises:
            ValueError: it is not one Twilio would call.
        """
        try:
            url, fragment = urldefrag(raw)
            found = urlsplit(url)
            complete = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
        except ValueError:
            complete = False
        if not complete or len(raw) > URL_BYTES_MAX or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("not an absolute http or https URL")
        options = dict(parse_qsl(fragment))

        def number(name: str, default: int, low: int, high: int) -> int:
            text = options.get(name, "")
            return min(max(int(text), low), high) if text.isascii() and text.isdigit() else default

        return cls(
            url=url,
            retries=number("rc", 1, 0, RETRIES_MAX),
            policies=frozenset(options.get("rp", "ct").split(",")),
            connect_s=number("ct", 5000, 100, 10_000) / 1000,
            read_s=number("rt", 15_000, 100, 15_000) / 1000,
        )

    def retries_on(self, outcome: str) -> bool:
        """Return whether an outcome (`ct`, `rt`, `4xx`, `5xx`) is tried again."""
        return outcome in self.policies or "all" in self.policies


class Webhooks:
    """Signs with the account's token for the public URL, connects to where it really listens."""

    def __init__(self, auth_token: str, public_base: str, local_base: str | None) -> None:
        self._validator = RequestValidator(auth_token)
        self._session: aiohttp.ClientSession | None = None
        self.counts = {"posted": 0, "failed": 0, "retried": 0}
        self.aim(public_base, local_base)

    def aim(self, public_base: str, local_base: str | None) -> None:
        """Change what is signed and where it goes."""
        self.public_base = public_base.rstrip("/")
        self.local_base = (local_base or public_base).rstrip("/")

    async def open(self) -> None:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=100, keepalive_timeout=30),
            headers={"User-Agent": "TwilioProxy/1.1"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    def _route(self, url: str) -> URL:
        if url == self.public_base or url.startswith((self.public_base + "/", self.public_base + "?")):
            url = self.local_base + url[len(self.public_base) :]
        return URL(url, encoded=True)  # as signed, byte for byte

    async def post(self, target: Target, params: Mapping[str, str]) -> bool:
        """Post a webhook, with the retries its URL asks for; return whether it was taken (2xx)."""
        signature = self._validator.compute_signature(target.url, params)
        headers = {"X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": new_sid("IT")}
        outcome, backoff_s = "rt", FIRST_BACKOFF_S
        try:
            async with asyncio.timeout(TOTAL_S):
                for attempt in range(target.retries + 1):
                    outcome = await self._once(target, params, headers)
                    if outcome == "2xx":
                        self.counts["posted"] += 1
                        return True
                    if attempt == target.retries or not target.retries_on(outcome):
                        break
                    self.counts["retried"] += 1
                    await asyncio.sleep(backoff_s)
                    backoff_s *= 2
        except TimeoutError:
            outcome = "rt"
        self.counts["failed"] += 1
        log.warning("webhook_failed", path=urlsplit(target.url).path, outcome=outcome)
        return False

    async def _once(self, target: Target, params: Mapping[str, str], headers: Mapping[str, str]) -> str:
        if self._session is None:
            raise RuntimeError("open() first")
        timeout = aiohttp.ClientTimeout(sock_connect=target.connect_s, sock_read=target.read_s)
        try:
            async with self._session.post(
                self._route(target.url), data=params, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                await answer.content.read(65_536)  # so that the connection can be used again
                return f"{answer.status // 100}xx"
        except aiohttp.SocketTimeoutError:
            return "rt"
        except (aiohttp.ClientError, OSError):  # refused, reset, or a kept connection that died under the request
            return "ct"
