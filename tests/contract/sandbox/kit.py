"""What the sandbox's contract tests share: the official SDK as its client, and a receiver of its webhooks."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, Protocol, Self

import aiohttp
import pytest
from aiohttp import web
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from deploy.sandbox import Sandbox
from services.runtime.clock import Clock

PUBLIC = "https://hooks.example.com"
FROM = "+15550006001"
TO = "+15125550134"
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
SDK_WARNINGS = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]
"""The SDK's own HTTP client still uses what aiohttp 3.14 deprecates; nothing of ours does."""


class MakeSandbox(Protocol):
    """Starts a sandbox whose webhooks arrive at the receiver; it is stopped after the test."""

    async def __call__(self, clock: Clock | None = None, **settings: Any) -> Sandbox: ...


class Receiver:
    """Where webhooks arrive: checks every signature against the public URL, as ingest does."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str]]] = []
        self.answers: list[int] = []
        self.unsigned = 0
        self.url = ""

    async def _take(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        signed = RequestValidator("secret").validate(
            PUBLIC + request.raw_path, form, request.headers.get("X-Twilio-Signature", "")
        )
        if not signed:
            self.unsigned += 1
            return web.Response(status=403)
        self.got.append((request.raw_path, form))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{tail:.*}", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def statuses(self) -> list[str]:
        return [form["MessageStatus"] for _, form in self.got if "MessageStatus" in form]

    def incoming(self) -> list[dict[str, str]]:
        return [form for path, form in self.got if path == "/webhooks/twilio/sms"]


def client_of(sandbox: Sandbox, http: Any, token: str = "secret") -> Any:
    client = Client(sandbox.settings.account_sid, token, http_client=http)
    client.api.base_url = sandbox.url
    return client


async def create(client: Any, **fields: Any) -> Any:
    return await client.messages.create_async(
        **{"to": TO, "from_": FROM, "body": "Sorry we missed you.", "validity_period": 240} | fields
    )


async def code_of(work: Awaitable[Any]) -> tuple[int, int | None]:
    with pytest.raises(TwilioRestException) as caught:
        await work
    return caught.value.status, caught.value.code


async def control(sandbox: Sandbox, what: str, body: Any = None, expect: int | None = None) -> Any:
    async with aiohttp.ClientSession() as session:
        url = f"{sandbox.url}/_control/{what}"
        async with session.get(url) if body is None else session.post(url, json=body) as answer:
            if expect is None:
                answer.raise_for_status()
            else:
                assert answer.status == expect, await answer.text()
            return await answer.json()
