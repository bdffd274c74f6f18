"""The sandbox fails on demand the ways Twilio does: refused, answered too late, or accepted and not told."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.contract.sandbox.kit import (
    FROM,
    PUBLIC,
    SDK_WARNINGS,
    TO,
    MakeSandbox,
    Receiver,
    client_of,
    code_of,
    control,
    create,
)
from tests.infra.polling import eventually

pytestmark = SDK_WARNINGS


async def test_429_and_5xx_are_not_accepted_and_then_it_works_again(make: MakeSandbox, http: Any) -> None:
    sandbox = await make()
    await control(sandbox, "faults", {"faults": [{"kind": "429", "next": 1}, {"kind": "5xx", "next": 1}]})
    client = client_of(sandbox, http)
    assert await code_of(create(client)) == (429, 20429)
    assert await code_of(create(client)) == (503, 20500)
    await create(client)
    assert len(sandbox.sent()) == 1
    log = (await control(sandbox, "requests"))["requests"]
    assert [entry["status"] for entry in log] == [429, 503, 201]
    assert [entry.get("fault") for entry in log] == ["429", "5xx", None]


async def test_lost_answer_leaves_an_accepted_text_that_list_finds(
    make: MakeSandbox, http: Any, hooks: Receiver
) -> None:
    sandbox = await make()
    sandbox.fault(kind="lost", next=1)
    client = client_of(sandbox, http)
    with pytest.raises(aiohttp.ClientError):
        await create(client, status_callback=f"{PUBLIC}/status?touch=t9")
    found = await client.messages.list_async(to=TO)
    assert [(m.body, m.from_) for m in found] == [("Sorry we missed you.", FROM)]
    await eventually(lambda: hooks.statuses() == ["queued", "sent", "delivered"])


async def test_answered_5xx_may_have_been_accepted(make: MakeSandbox, http: Any) -> None:
    sandbox = await make()
    sandbox.fault(kind="5xx", next=1, accepted=True, status=502)
    assert await code_of(create(client_of(sandbox, http))) == (502, 20500)
    assert len(sandbox.sent(TO)) == 1


async def test_hang_answers_nothing_and_accepts_nothing(make: MakeSandbox, http: Any) -> None:
    sandbox = await make()
    sandbox.fault(kind="hang", next=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await create(client_of(sandbox, http))
    assert sandbox.sent() == []
    assert [entry["fault"] for entry in sandbox.store.requests] == ["hang"]


async def test_slow_answer_comes_after_its_delay(make: MakeSandbox, http: Any) -> None:
    sandbox = await make()
    sandbox.fault(kind="slow", next=1, delay_ms=200)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await create(client_of(sandbox, http))
    assert loop.time() - began >= 0.2
