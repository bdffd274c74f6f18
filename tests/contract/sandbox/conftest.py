"""Fixtures of the sandbox's contract tests."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from twilio.http.async_http_client import AsyncTwilioHttpClient

from deploy.sandbox import Sandbox, SandboxSettings
from services.runtime.clock import Clock
from tests.contract.sandbox.kit import PUBLIC, MakeSandbox, Receiver


@pytest.fixture
async def hooks() -> AsyncIterator[Receiver]:
    """Where webhooks arrive."""
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def make(hooks: Receiver) -> AsyncIterator[MakeSandbox]:
    """Start sandboxes as a test wants them."""
    made: list[Sandbox] = []

    async def _make(clock: Clock | None = None, **settings: Any) -> Sandbox:
        base = {"auth_token": "secret", "public_base_url": PUBLIC, "webhook_base": hooks.url, "step_s": 0.005}
        sandbox = Sandbox(SandboxSettings.model_validate(base | settings), clock)
        await sandbox.start()
        made.append(sandbox)
        return sandbox

    yield _make
    for sandbox in made:
        await sandbox.stop()


@pytest.fixture
async def http() -> AsyncIterator[Any]:
    """The SDK's asynchronous HTTP client."""
    found = AsyncTwilioHttpClient()
    yield found
    await found.close()
