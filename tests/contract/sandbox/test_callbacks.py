"""Status callbacks and incoming texts arrive signed, and as well or badly as the sandbox is told."""

from typing import Any

import pytest

from tests.contract.sandbox.kit import PUBLIC, SDK_WARNINGS, TO, MakeSandbox, Receiver, client_of, control, create
from tests.infra.polling import eventually

pytestmark = SDK_WARNINGS


async def test_callbacks_come_signed_in_order_without_the_fragment(
    make: MakeSandbox, http: Any, hooks: Receiver
) -> None:
    sandbox = await make()
    made = await create(
        client_of(sandbox, http),
        status_callback=f"{PUBLIC}/webhooks/twilio/message-status?touch=a%2Fb&b=c+d#rc=5&rp=all",
    )
    await eventually(lambda: len(hooks.got) == 3)
    assert hooks.statuses() == ["queued", "sent", "delivered"]
    assert {path for path, _ in hooks.got} == {"/webhooks/twilio/message-status?touch=a%2Fb&b=c+d"}
    assert {form["MessageSid"] for _, form in hooks.got} == {made.sid}
    assert hooks.unsigned == 0
    await eventually(lambda: sandbox.idle()["idle"])


async def test_callback_refused_with_503_is_retried_only_when_the_url_asks(
    make: MakeSandbox, http: Any, hooks: Receiver
) -> None:
    sandbox = await make(status_steps=("final",))
    client = client_of(sandbox, http)
    hooks.answers = [503]
    await create(client, status_callback=f"{PUBLIC}/status")
    await eventually(lambda: sandbox.webhooks.counts["failed"] == 1)
    assert len(hooks.got) == 1
    hooks.answers = [503, 503]
    await create(client, status_callback=f"{PUBLIC}/status#rc=5&rp=all")
    await eventually(lambda: sandbox.webhooks.counts["posted"] == 1)
    assert len(hooks.got) == 4


async def test_undeliverable_number_calls_back_with_its_error_code(
    make: MakeSandbox, http: Any, hooks: Receiver
) -> None:
    sandbox = await make()
    await control(sandbox, "script", {"number": TO, "outcome": {"status": "undelivered", "error_code": 30006}})
    client = client_of(sandbox, http)
    made = await create(client, status_callback=f"{PUBLIC}/status")
    await eventually(lambda: hooks.statuses() == ["queued", "sent", "undelivered"])
    assert hooks.got[-1][1]["ErrorCode"] == "30006"
    assert (await client.messages(made.sid).fetch_async()).error_code == 30006


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"reorder": 1}, ["delivered", "sent", "queued"]),
        ({"duplicate": 1}, ["queued", "queued", "sent", "sent", "delivered", "delivered"]),
        ({"drop": 1}, []),
    ],
)
async def test_callbacks_travel_badly_when_told(
    make: MakeSandbox, http: Any, hooks: Receiver, faults: dict[str, float], expected: list[str]
) -> None:
    sandbox = await make(callback_faults=faults)
    await create(client_of(sandbox, http), status_callback=f"{PUBLIC}/status")
    await eventually(lambda: sandbox.idle()["idle"])
    assert hooks.statuses() == expected
