"""What a request that is refused at the last look leaves behind: no byte at the provider and no connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from services.notifier.adapters.twilio import TwilioProvider
from services.notifier.domain.facts import LeftInDoubt, NotSent, ProviderAccepted, SendOutcome
from tests.infra.polling import eventually
from tests.unit.notifier.build import TEXT

ANSWER = b'{"sid": "SM1"}'
NO = NotSent(reason="gate_closed_again", pause=False)


class Wire:
    """A provider that counts bytes and connections, and answers each POST on a connection that it keeps open."""

    def __init__(self) -> None:
        self.received, self.opened, self.open = b"", 0, 0
        self.answers = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened, self.open = self.opened + 1, self.open + 1
        try:
            while found := await reader.read(65536):
                self.received += found
                if self.answers:
                    head = f"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n"
                    writer.write(head.encode() + ANSWER)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def twilio(wire: Wire) -> AsyncIterator[TwilioProvider]:
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = TwilioProvider(
        account_sid="AC" + "0" * 32, auth_token="t", base_url=f"http://127.0.0.1:{port}", timeout_s=0.5
    )
    await made.start()
    yield made
    await made.stop()
    server.close()
    await server.wait_closed()


async def yes() -> NotSent | None:
    return None


async def no() -> NotSent | None:
    return NO


async def raises() -> NotSent | None:
    raise ValueError("a defect in the last look")


async def hangs() -> NotSent | None:
    await asyncio.Event().wait()
    return None


async def cancels_itself() -> NotSent | None:
    raise asyncio.CancelledError


REFUSALS: list[tuple[Callable[[], Awaitable[NotSent | None]], NotSent]] = [
    (no, NO),
    (raises, NotSent(reason="ValueError")),
    (hangs, NotSent(reason="TimeoutError")),
    (cancels_itself, NotSent(reason="CancelledError")),
]


async def post(twilio: TwilioProvider, look: Callable[[], Awaitable[NotSent | None]]) -> SendOutcome:
    return await twilio.send(TEXT, callback_url="https://hooks.example.com/s", validity_s=60, last_look=look)


@pytest.mark.parametrize(("look", "said"), REFUSALS, ids=lambda one: getattr(one, "__name__", ""))
async def test_refusal_on_a_fresh_connection_writes_no_byte_and_keeps_no_connection(
    wire: Wire, twilio: TwilioProvider, look: Callable[[], Awaitable[NotSent | None]], said: NotSent
) -> None:
    assert await post(twilio, look) == said
    await eventually(lambda: (wire.opened, wire.open) == (1, 0))
    assert wire.received == b""
    assert await post(twilio, yes) == ProviderAccepted("SM1")


@pytest.mark.parametrize(("look", "said"), REFUSALS, ids=lambda one: getattr(one, "__name__", ""))
async def test_refusal_on_a_reused_connection_writes_no_byte_and_keeps_no_connection(
    wire: Wire, twilio: TwilioProvider, look: Callable[[], Awaitable[NotSent | None]], said: NotSent
) -> None:
    assert await post(twilio, yes) == ProviderAccepted("SM1")
    before = wire.received
    assert await post(twilio, look) == said
    await eventually(lambda: wire.open == 0)
    assert (wire.opened, wire.received) == (1, before), "the connection was reused, and nothing went over it"
    assert await post(twilio, yes) == ProviderAccepted("SM1")
    assert wire.opened == 2


async def test_last_look_is_asked_once_for_each_request_and_only_when_the_connection_is_there(
    wire: Wire, twilio: TwilioProvider
) -> None:
    seen: list[int] = []

    async def look() -> NotSent | None:
        await eventually(lambda: wire.opened == 1)
        seen.append(len(wire.received))
        return None

    await post(twilio, look)
    await post(twilio, look)
    assert len(seen) == 2
    assert seen[0] == 0


async def test_no_answer_after_the_last_look_said_yes_is_in_doubt(wire: Wire, twilio: TwilioProvider) -> None:
    wire.answers = False
    assert isinstance(await post(twilio, yes), LeftInDoubt)
    assert b"POST" in wire.received


async def test_cancellation_after_the_last_look_said_yes_is_not_taken_for_unsent(
    wire: Wire, twilio: TwilioProvider
) -> None:
    wire.answers = False
    sending = asyncio.create_task(post(twilio, yes))
    await eventually(lambda: b"POST" in wire.received)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
