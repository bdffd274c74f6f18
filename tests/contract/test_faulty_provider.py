"""The notifier with the official SDK against a provider that fails one request in five, and an ingest that hears nothing.

Everything but the store and Kafka is real; the clock is moved by hand, so that a minute's doubt takes no minute.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from deploy.sandbox import Sandbox, SandboxSettings
from deploy.sandbox.faults import FaultSpec
from schemas.ids import partition_key
from services.notifier.adapters.twilio import TwilioProvider
from services.notifier.dispatcher import Dispatcher, DoubtSweep, OutboxSweep
from tests.infra.polling import eventually
from tests.unit.notifier.build import CALLER, LENDER, card, event, receipt, touch
from tests.unit.notifier.rig import Rig

TEXTS = 300
FAULTS = [
    FaultSpec(kind="429", share=0.05),
    FaultSpec(kind="5xx", share=0.053),
    FaultSpec(kind="hang", share=0.056, accepted=True),
    FaultSpec(kind="lost", share=0.06),
]
"""Together one request in five: each share is of what the faults before it left."""
FINAL = {"touch.sent", "touch.task_requested"}
WAITS_S = (8, 75, 8, 75, 30)
"""Back-off, doubt, the resend's back-off and doubt."""


@asynccontextmanager
async def notifying(sandbox: Sandbox, rig: Rig) -> AsyncIterator[Dispatcher]:
    """Have a notifier send to the sandbox, through the official SDK, with a time-out of a second."""
    provider = TwilioProvider(
        account_sid=sandbox.settings.account_sid,
        auth_token=sandbox.settings.auth_token,
        base_url=sandbox.url,
        timeout_s=1.0,
    )
    await provider.start()
    rig.shell.provider = provider
    rig.shell.public_base_url = "http://127.0.0.1:8080"
    dispatcher = Dispatcher(rig.shell, senders=64)
    await dispatcher.start()
    with capture_logs():
        yield dispatcher
    await dispatcher.stop()
    await provider.stop()


async def look(rig: Rig, dispatcher: Dispatcher) -> None:
    """Do what the rounds do, until no text is under way."""
    while True:
        await dispatcher.round()
        await eventually(lambda: at_rest(rig), 10)
        if not await due(rig):
            break
    await OutboxSweep(rig.shell, lambda _: 0).round()
    for _ in range(1 + TEXTS // DoubtSweep.BATCH):
        await DoubtSweep(rig.shell, 60).round()


async def at_rest(rig: Rig) -> bool:
    return not any("under way" in why for why in await rig.health.busy_with())


async def due(rig: Rig) -> bool:
    return await rig.store.busy(rig.clock.now()) == "texts due"


@pytest.mark.parametrize("seed", [1, 2])
async def test_provider_that_fails_one_request_in_five_loses_and_doubles_no_text(seed: int) -> None:
    """429, 500, a time-out after accepting, and a response lost after accepting. No receipt ever comes."""
    settings = SandboxSettings(webhook_base="http://127.0.0.1:9", seed=seed, status_steps=())
    rig = Rig()
    async with Sandbox(settings) as sandbox, notifying(sandbox, rig) as dispatcher:
        for fault in FAULTS:
            sandbox.faults.add(fault)
        callers = {}
        for n in range(TEXTS):
            caller, lead = f"+1720555{n:04}", f"lead-{n}"
            rig.store.leads[lead] = card(_id=lead, caller=caller)
            first = touch(touch_id=f"touch-{n}", lead_id=lead, caller=caller, sequence_id=f"sequence-{n}")
            callers[first.touch_id] = caller
            await rig.shell.on_touch(replace(event(first), key=partition_key(LENDER, caller)), dispatcher)
        await look(rig, dispatcher)
        for wait_s in WAITS_S:
            rig.clock.move(wait_s)
            await look(rig, dispatcher)
        assert set(sandbox.faults.counts) == {"429", "5xx", "hang", "lost"}
        taken = Counter(text.to for text in sandbox.store.messages.values())
    assert set(taken.values()) == {1}, "texted twice"
    ends: dict[str, set[str]] = {}
    for one in rig.producer.sent:
        if one.data.TYPE in FINAL:
            ends.setdefault(one.id.rsplit(":", 1)[0], set()).add(one.data.TYPE)
    assert ends == {
        touch_id: {"touch.sent"} if taken[caller] else {"touch.task_requested"} for touch_id, caller in callers.items()
    }
    assert await rig.store.busy(rig.clock.now()) is None


@asynccontextmanager
async def deaf_ingest(asked: list[str]) -> AsyncIterator[str]:
    """An ingest that is up and answers 503; note the touches whose receipts it did not take."""

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.query["touch"])
        return web.Response(status=503)

    app = web.Application()
    app.router.add_post("/webhooks/twilio/message-status", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("ingest", ["answers 503", "refuses connections"])
async def test_lost_answer_is_settled_by_the_list_while_ingest_takes_no_receipt(ingest: str) -> None:
    """Neither the answer nor a receipt arrives. A receipt that comes once ingest is back adds only its news."""
    rig, asked = Rig(), list[str]()
    async with deaf_ingest(asked) as base:
        settings = SandboxSettings(webhook_base=base if ingest == "answers 503" else "http://127.0.0.1:9")
        async with Sandbox(settings) as sandbox, notifying(sandbox, rig) as dispatcher:
            sandbox.faults.add(FaultSpec(kind="lost", next=1))
            await rig.shell.on_touch(event(), dispatcher)
            await look(rig, dispatcher)
            assert rig.said() == [], "nobody knows yet"
            if ingest == "answers 503":
                await eventually(lambda: touch().touch_id in asked)
            rig.clock.move(75)
            await look(rig, dispatcher)
            (text,) = sandbox.store.messages.values()
            assert (text.to, rig.stored().sid, rig.said()) == (CALLER, text.sid, ["touch.sent"])
            await rig.shell.on_receipt(receipt(text.sid, "delivered", touch=touch().touch_id))
            rig.clock.virtual += timedelta(hours=1)
            await look(rig, dispatcher)
            assert rig.said() == ["touch.sent", "touch.delivered"]
            assert len(sandbox.store.messages) == 1
