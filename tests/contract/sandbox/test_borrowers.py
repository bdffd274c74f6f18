"""Phones answer: opt-outs block a pair of numbers, scripted replies come in virtual time."""

from datetime import timedelta
from typing import Any

from tests.contract.sandbox.kit import (
    FROM,
    SDK_WARNINGS,
    START,
    TO,
    MakeSandbox,
    Receiver,
    client_of,
    code_of,
    control,
    create,
)
from tests.infra.clock import FakeClock
from tests.infra.polling import eventually

pytestmark = SDK_WARNINGS


async def test_stop_blocks_that_pair_alone_until_start(make: MakeSandbox, http: Any, hooks: Receiver) -> None:
    sandbox = await make()
    client = client_of(sandbox, http)
    await control(sandbox, "incoming", {"from": TO, "to": FROM, "body": "please stop"})
    await create(client)
    await control(sandbox, "incoming", {"from": TO, "to": FROM, "body": " Stop "})
    assert await code_of(create(client)) == (400, 21610)
    await create(client, from_="+15550006002")
    await control(sandbox, "incoming", {"from": TO, "to": FROM, "body": "START"})
    await create(client)
    await eventually(lambda: len(hooks.incoming()) == 3)
    first = next(form for form in hooks.incoming() if form["Body"] == "please stop")
    assert first["From"] == TO
    assert first["To"] == FROM
    assert (first["NumMedia"], first["NumSegments"]) == ("0", "1")
    assert first["AccountSid"] == sandbox.settings.account_sid
    assert hooks.unsigned == 0
    replies = [m for m in sandbox.store.newest_first(TO) if m.direction == "outbound-reply"]
    assert len(replies) == 2  # the carrier's own confirmations, never counted as ours
    assert len(sandbox.sent(TO)) == 3


async def test_scripted_replies_come_when_virtual_time_reaches_them(
    make: MakeSandbox, http: Any, hooks: Receiver
) -> None:
    clock = FakeClock(START)
    sandbox = await make(clock)
    await control(
        sandbox,
        "script",
        {"number": TO, "replies": [{"after_s": 300, "body": "Purchase, in 2 months"}, {"after_s": 60, "body": "STOP"}]},
    )
    client = client_of(sandbox, http)
    made = await create(client)
    assert made.date_created == START
    await eventually(lambda: sandbox.idle()["idle"] and sandbox.idle()["next_act_at"] is not None)
    assert (await control(sandbox, "idle"))["next_act_at"] == (START + timedelta(seconds=300)).isoformat()
    assert hooks.incoming() == []
    clock.virtual = START + timedelta(seconds=300)
    assert sandbox.idle()["idle"] is False
    await eventually(lambda: len(hooks.incoming()) == 1)
    assert hooks.incoming()[0]["Body"] == "Purchase, in 2 months"
    await eventually(lambda: sandbox.idle()["idle"])
    await create(client, body="Where are you buying?")
    await eventually(lambda: sandbox.idle()["next_act_at"] is not None)
    clock.move(61)
    await eventually(lambda: len(hooks.incoming()) == 2)
    assert await code_of(create(client)) == (400, 21610)


async def test_phone_told_to_text_later_waits_for_virtual_time(make: MakeSandbox, hooks: Receiver) -> None:
    clock = FakeClock(START)
    sandbox = await make(clock)
    await control(sandbox, "incoming", {"from": TO, "to": FROM, "body": "call me at 5", "after_s": 3600})
    assert sandbox.idle() == {"idle": True, "next_act_at": "2026-03-02T16:00:00+00:00", "callbacks_open": 0}
    clock.move(3600)
    await eventually(lambda: [form["Body"] for form in hooks.incoming()] == ["call me at 5"])
