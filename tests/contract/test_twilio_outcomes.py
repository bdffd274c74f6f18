"""What the official SDK raises and answers, and what it says about a text: sent, surely not sent, refused, or in doubt."""

import asyncio
import csv
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from aiohttp import web

from deploy.sandbox import Sandbox, SandboxSettings
from deploy.sandbox.faults import FaultSpec
from services.notifier.adapters.twilio import MayWrite, TwilioProvider
from services.notifier.domain.facts import LeftInDoubt, NotSent, ProviderAccepted, Refused, SendOutcome
from services.notifier.domain.twilio_codes import CODES, Meaning, meaning_of_error
from services.notifier.errors import ProviderAway
from services.runtime.clock import monotonic_s
from tests.unit.notifier.build import TEXT

CALLBACK = "https://hooks.example.com/webhooks/twilio/message-status?touch=t"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (429, 20429, NotSent(reason="provider_busy", code=20429)),
        (429, None, NotSent(reason="provider_busy", code=None)),
        (400, 21611, NotSent(reason="provider_busy", code=21611)),
        (400, 21730, NotSent(reason="provider_busy", code=21730)),
        (400, 21211, Refused("bad_number", 21211)),
        (400, 21614, Refused("landline", 21614)),
        (400, 21617, Refused("request", 21617)),
        (400, 30001, NotSent(reason="provider_busy", code=30001)),
        (400, 63038, NotSent(reason="provider_busy", code=63038)),
        (400, 21659, NotSent(reason="configuration", code=21659, configuration=True)),
        (408, 20408, LeftInDoubt("answered 20408")),
        (400, 21610, Refused("opted_out", 21610)),
        (400, 21408, Refused("blocked", 21408)),
        (403, 21408, Refused("blocked", 21408)),
        (400, 30034, Refused("filtered", 30034)),
        (400, 21606, NotSent(reason="configuration", code=21606, configuration=True)),
        (401, 20003, NotSent(reason="configuration", code=20003, configuration=True)),
        (403, 99999, NotSent(reason="configuration", code=99999, configuration=True)),
        (400, 99999, Refused("refused", 99999)),
        (400, None, LeftInDoubt("answered 400")),
        (404, 404, LeftInDoubt("answered 404")),
        (403, None, LeftInDoubt("answered 403")),
        (500, 20500, LeftInDoubt("answered 500", server_error=True)),
        (503, None, LeftInDoubt("answered 503", server_error=True)),
        (302, None, LeftInDoubt("answered 302")),
    ],
)
def test_answered_error_means_what_its_status_and_code_say(status: int, code: int | None, said: SendOutcome) -> None:
    assert meaning_of_error(status, code) == said


def listed_codes() -> dict[int, str]:
    """Return the codes that a text can meet, as Twilio documents them, with its names."""
    with (Path(__file__).parent / "twilio_messaging_codes.csv").open(newline="") as file:
        return {int(code): name for code, name in list(csv.reader(file))[1:]}


def test_each_messaging_code_of_twilio_has_one_meaning_and_no_other_code_has_any() -> None:
    assert set(CODES) == set(listed_codes())
    assert set(get_args(Meaning)) == set(CODES.values()), "a meaning that no code has"


@pytest.mark.parametrize("code", [*listed_codes(), 99999])
def test_only_an_answer_that_took_nothing_lets_a_text_be_sent_again(code: int) -> None:
    """A known or unknown code, as an answer: sent again only where the text was not taken, and never after a doubt."""
    answer = meaning_of_error(400, code)
    again = CODES.get(code) in ("busy", "queue_overflow", "configuration")
    assert isinstance(answer, NotSent) == again
    assert not (isinstance(answer, LeftInDoubt) and answer.server_error)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxSettings(webhook_base="http://127.0.0.1:9")) as found:
        yield found


@pytest.fixture
async def twilio(sandbox: Sandbox) -> AsyncIterator[TwilioProvider]:
    found = TwilioProvider(
        account_sid=sandbox.settings.account_sid,
        auth_token=sandbox.settings.auth_token,
        base_url=sandbox.url,
        timeout_s=1.0,
    )
    await found.start()
    yield found
    await found.stop()


async def go() -> None:
    """A last look that lets everything go."""


async def send(twilio: TwilioProvider, to: str = TEXT.to, last_look: MayWrite = go) -> SendOutcome:
    text = replace(TEXT, to=to)
    return await twilio.send(text, callback_url=CALLBACK, validity_s=60, last_look=last_look)


async def test_text_arrives_as_it_was_given_and_is_listed(sandbox: Sandbox, twilio: TwilioProvider) -> None:
    answer = await send(twilio)
    assert isinstance(answer, ProviderAccepted)
    (message,) = sandbox.store.messages.values()
    assert (message.sid, message.to, message.from_, message.body) == (answer.sid, TEXT.to, TEXT.from_number, TEXT.body)
    assert (message.status_callback, message.validity_s) == (CALLBACK, 60)
    (listed,) = await twilio.listed(TEXT.to, TEXT.from_number)
    assert (listed.sid, listed.body) == (answer.sid, TEXT.body)
    assert await twilio.listed(TEXT.to, "+12125559999") == []


@pytest.mark.parametrize(
    ("kind", "said", "taken"),
    [
        ("429", NotSent, 0),
        ("5xx", LeftInDoubt, 0),
        ("lost", LeftInDoubt, 1),
        ("hang", LeftInDoubt, 0),
        ("slow", LeftInDoubt, 1),
    ],
)
async def test_fault_is_told_apart_and_never_retried_by_the_client(
    sandbox: Sandbox, twilio: TwilioProvider, kind: str, said: type[SendOutcome], taken: int
) -> None:
    sandbox.faults.add(FaultSpec.model_validate({"kind": kind, "next": 1, "delay_ms": 3000}))
    began = monotonic_s()
    assert isinstance(await send(twilio), said)
    assert monotonic_s() - began < 5, "its own time-out, not the SDK's none"
    assert len(sandbox.store.messages) == taken
    assert isinstance(await send(twilio), ProviderAccepted)
    assert len(sandbox.store.messages) == taken + 1


async def test_wrong_credentials_are_a_matter_of_configuration(sandbox: Sandbox) -> None:
    twilio = TwilioProvider(account_sid=sandbox.settings.account_sid, auth_token="another", base_url=sandbox.url)
    await twilio.start()
    answer = await send(twilio)
    await twilio.stop()
    assert isinstance(answer, NotSent)
    assert answer.configuration


async def test_no_listener_is_known_unsent_and_its_list_is_away() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        twilio = TwilioProvider(
            account_sid="AC" + "0" * 32, auth_token="t", base_url=f"http://127.0.0.1:{closed.getsockname()[1]}"
        )
        await twilio.start()
        assert await send(twilio) == NotSent(reason="ClientConnectorError")
        with pytest.raises(ProviderAway):
            await twilio.listed(TEXT.to, TEXT.from_number)
        await twilio.stop()


@asynccontextmanager
async def answering(status: int, body: str, kind: str = "application/json") -> AsyncIterator[TwilioProvider]:
    """Twilio behind something that answers every POST like this."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type=kind)

    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    twilio = TwilioProvider(
        account_sid="AC" + "0" * 32, auth_token="t", base_url=f"http://127.0.0.1:{runner.addresses[0][1]}"
    )
    await twilio.start()
    try:
        yield twilio
    finally:
        await twilio.stop()
        await runner.cleanup()


@pytest.mark.parametrize("answer", ["not json", "{}", ""])
async def test_answer_that_makes_no_sense_is_in_doubt(answer: str) -> None:
    async with answering(201, answer) as twilio:
        assert isinstance(await send(twilio), LeftInDoubt)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 413])
@pytest.mark.parametrize("body", ["<html>proxy</html>", "", "{}", '{"code": "E_PROXY"}', '{"code": 404}', "[1]"])
async def test_4xx_that_is_not_the_apis_own_is_in_doubt_and_no_refusal(status: int, body: str) -> None:
    async with answering(status, body) as twilio:
        answer = await send(twilio)
        assert isinstance(answer, LeftInDoubt)
        assert answer.reason == f"answered {status}"


async def test_4xx_of_the_api_is_its_refusal() -> None:
    async with answering(400, '{"code": 21211, "message": "Invalid To", "status": 400}') as twilio:
        assert await send(twilio) == Refused("bad_number", 21211)


async def test_environment_cannot_lead_texts_elsewhere(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_REGION", "au1")
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    twilio = TwilioProvider(
        account_sid=sandbox.settings.account_sid, auth_token=sandbox.settings.auth_token, base_url=sandbox.url
    )
    await twilio.start()
    assert isinstance(await send(twilio), ProviderAccepted)
    await twilio.stop()


async def test_many_at_once_share_the_session(sandbox: Sandbox, twilio: TwilioProvider) -> None:
    answers = await asyncio.gather(*(send(twilio, f"+1720555{n:04}") for n in range(50)))
    assert all(isinstance(answer, ProviderAccepted) for answer in answers)
    assert len({answer.sid for answer in answers if isinstance(answer, ProviderAccepted)}) == 50
