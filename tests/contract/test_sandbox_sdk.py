"""The official twilio SDK, async and sync, against the sandbox over loopback: what it promises, seen by its users."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from deploy.sandbox import Sandbox, SandboxSettings
from services.runtime.clock import FileClock, write_clock

# The SDK's own HTTP client still uses what aiohttp 3.14 deprecates; nothing of ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]

PUBLIC = "https://hooks.example.com"
FROM = "+15550006001"
TO = "+15125550134"
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


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


async def until(ready: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not ready():
            await asyncio.sleep(0.005)


Make = Callable[..., Awaitable[Sandbox]]


@pytest.fixture
async def hooks() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def make(hooks: Receiver) -> AsyncIterator[Make]:
    made: list[Sandbox] = []

    async def _make(**settings: Any) -> Sandbox:
        base = {"auth_token": "secret", "public_base_url": PUBLIC, "webhook_base": hooks.url, "step_s": 0.005}
        sandbox = Sandbox(SandboxSettings.model_validate(base | settings))
        await sandbox.start()
        made.append(sandbox)
        return sandbox

    yield _make
    for sandbox in made:
        await sandbox.stop()


def client_of(sandbox: Sandbox, http: Any, token: str = "secret") -> Any:
    client = Client(sandbox.settings.account_sid, token, http_client=http)
    client.api.base_url = sandbox.url
    return client


@pytest.fixture
async def http() -> AsyncIterator[Any]:
    found = AsyncTwilioHttpClient()
    yield found
    await found.close()


async def create(client: Any, **fields: Any) -> Any:
    return await client.messages.create_async(
        **{"to": TO, "from_": FROM, "body": "Sorry we missed you.", "validity_period": 240} | fields
    )


async def code_of(work: Awaitable[Any]) -> tuple[int, int | None]:
    with pytest.raises(TwilioRestException) as caught:
        await work
    return caught.value.status, caught.value.code


async def test_text_created_is_fetched_and_listed_in_twilios_shape(make: Make, http: Any) -> None:
    client = client_of(await make(), http)
    made = await create(client, status_callback=f"{PUBLIC}/webhooks/twilio/message-status?touch=t1")
    assert made.sid.startswith("SM")
    assert len(made.sid) == 34
    assert (made.status, made.direction, made.price, made.error_code) == ("queued", "outbound-api", None, None)
    assert (made.num_segments, made.num_media, made.to, made.from_) == ("1", "0", TO, FROM)
    assert made.date_created.tzinfo is not None
    assert made.date_sent is None
    fetched = await client.messages(made.sid).fetch_async()
    assert fetched.body == "Sorry we missed you."
    assert [m.sid for m in await client.messages.list_async(to=TO)] == [made.sid]
    assert await client.messages.list_async(to="+15125550199") == []


async def test_sync_client_sends_pages_and_fetches(make: Make) -> None:
    sandbox = await make()

    def use() -> tuple[list[str], list[str], str]:
        http = TwilioHttpClient(pool_connections=False)
        client = client_of(sandbox, http)
        sent = [client.messages.create(to=TO, from_=FROM, body=f"text {n}").sid for n in range(7)]
        listed = [message.sid for message in client.messages.list(to=TO, page_size=3)]
        return sent, listed, client.messages(sent[0]).fetch().body

    sent, listed, body = await asyncio.to_thread(use)
    assert listed == sent[::-1]
    assert body == "text 0"


async def test_list_pages_newest_first_and_new_texts_shift_nothing(make: Make, http: Any) -> None:
    client = client_of(await make(), http)
    sent = [(await create(client, body=f"text {n}")).sid for n in range(7)]
    first = await client.messages.page_async(to=TO, page_size=3)
    await create(client, body="one more")
    rest = await first.next_page_async()
    last = await rest.next_page_async()
    assert [m.sid for page in (first, rest, last) for m in page] == sent[::-1]
    assert last.next_page_url is None


async def test_list_by_date_sent_skips_what_is_not_sent_yet(make: Make, http: Any) -> None:
    client = client_of(await make(step_s=30), http)
    await create(client)
    assert await client.messages.list_async(date_sent_after=datetime(2000, 1, 1, tzinfo=UTC)) == []
    other = client_of(await make(), http)
    made = await create(other)
    since = made.date_created - timedelta(minutes=1)
    async with asyncio.timeout(5):
        while not await other.messages.list_async(date_sent_after=since):
            await asyncio.sleep(0.01)
    assert await other.messages.list_async(date_sent_before=since) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"to": "5125550134"}, (400, 21211)),
        ({"to": "+15005550009"}, (400, 21614)),
        ({"to": "+15005550004"}, (400, 21610)),
        ({"body": ""}, (400, 21602)),
        ({"body": "x" * 1601}, (400, 21617)),
        ({"from_": "nobody"}, (400, 21212)),
        ({"from_": "+15005550007"}, (400, 21606)),
        ({"validity_period": 99_999}, (400, 20001)),
        ({"status_callback": "ftp://x/"}, (400, 21609)),
    ],
)
async def test_wrong_text_is_refused_with_twilios_code(
    make: Make, http: Any, fields: dict[str, Any], expected: tuple[int, int]
) -> None:
    sandbox = await make()
    assert await code_of(create(client_of(sandbox, http), **fields)) == expected
    assert sandbox.sent() == []


async def test_wrong_token_is_401_20003_and_other_account_is_404(make: Make, http: Any) -> None:
    sandbox = await make()
    assert await code_of(create(client_of(sandbox, http, token="wrong"))) == (401, 20003)
    client = client_of(sandbox, http)
    with pytest.raises(TwilioRestException) as caught:
        await client.api.v2010.accounts("AC" + "1" * 32).messages.create_async(to=TO, from_=FROM, body="x")
    assert (caught.value.status, caught.value.code) == (404, 20404)
    assert await code_of(client.messages("SM" + "0" * 32).fetch_async()) == (404, 20404)


async def test_callbacks_come_signed_in_order_without_the_fragment(make: Make, http: Any, hooks: Receiver) -> None:
    sandbox = await make()
    made = await create(
        client_of(sandbox, http),
        status_callback=f"{PUBLIC}/webhooks/twilio/message-status?touch=a%2Fb&b=c+d#rc=5&rp=all",
    )
    await until(lambda: len(hooks.got) == 3)
    assert hooks.statuses() == ["queued", "sent", "delivered"]
    assert {path for path, _ in hooks.got} == {"/webhooks/twilio/message-status?touch=a%2Fb&b=c+d"}
    assert {form["MessageSid"] for _, form in hooks.got} == {made.sid}
    assert hooks.unsigned == 0
    await until(lambda: sandbox.idle()["idle"])


async def test_callback_refused_with_503_is_retried_only_when_the_url_asks(
    make: Make, http: Any, hooks: Receiver
) -> None:
    sandbox = await make(status_steps=("final",))
    client = client_of(sandbox, http)
    hooks.answers = [503]
    await create(client, status_callback=f"{PUBLIC}/status")
    await until(lambda: sandbox.webhooks.counts["failed"] == 1)
    assert len(hooks.got) == 1
    hooks.answers = [503, 503]
    await create(client, status_callback=f"{PUBLIC}/status#rc=5&rp=all")
    await until(lambda: sandbox.webhooks.counts["posted"] == 1)
    assert len(hooks.got) == 4


async def test_undeliverable_number_calls_back_with_its_error_code(make: Make, http: Any, hooks: Receiver) -> None:
    sandbox = await make()
    await control(sandbox, "script", {"number": TO, "outcome": {"status": "undelivered", "error_code": 30006}})
    client = client_of(sandbox, http)
    made = await create(client, status_callback=f"{PUBLIC}/status")
    await until(lambda: hooks.statuses() == ["queued", "sent", "undelivered"])
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
    make: Make, http: Any, hooks: Receiver, faults: dict[str, float], expected: list[str]
) -> None:
    sandbox = await make(callback_faults=faults)
    await create(client_of(sandbox, http), status_callback=f"{PUBLIC}/status")
    await until(lambda: sandbox.idle()["idle"])
    assert hooks.statuses() == expected


async def control(sandbox: Sandbox, what: str, body: Any = None, expect: int | None = None) -> Any:
    async with aiohttp.ClientSession() as session:
        url = f"{sandbox.url}/_control/{what}"
        async with session.get(url) if body is None else session.post(url, json=body) as answer:
            if expect is None:
                answer.raise_for_status()
            else:
                assert answer.status == expect, await answer.text()
            return await answer.json()


async def test_429_and_5xx_are_not_accepted_and_then_it_works_again(make: Make, http: Any) -> None:
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


async def test_lost_answer_leaves_an_accepted_text_that_list_finds(make: Make, http: Any, hooks: Receiver) -> None:
    sandbox = await make()
    sandbox.fault(kind="lost", next=1)
    client = client_of(sandbox, http)
    with pytest.raises(aiohttp.ClientError):
        await create(client, status_callback=f"{PUBLIC}/status?touch=t9")
    found = await client.messages.list_async(to=TO)
    assert [(m.body, m.from_) for m in found] == [("Sorry we missed you.", FROM)]
    await until(lambda: hooks.statuses() == ["queued", "sent", "delivered"])


async def test_answered_5xx_may_have_been_accepted(make: Make, http: Any) -> None:
    sandbox = await make()
    sandbox.fault(kind="5xx", next=1, accepted=True, status=502)
    assert await code_of(create(client_of(sandbox, http))) == (502, 20500)
    assert len(sandbox.sent(TO)) == 1


async def test_hang_answers_nothing_and_accepts_nothing(make: Make, http: Any) -> None:
    sandbox = await make()
    sandbox.fault(kind="hang", next=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await create(client_of(sandbox, http))
    assert sandbox.sent() == []


async def test_slow_answer_comes_after_its_delay(make: Make, http: Any) -> None:
    sandbox = await make()
    sandbox.fault(kind="slow", next=1, delay_ms=200)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await create(client_of(sandbox, http))
    assert loop.time() - began >= 0.2


async def test_stop_blocks_that_pair_alone_until_start(make: Make, http: Any, hooks: Receiver) -> None:
    sandbox = await make()
    client = client_of(sandbox, http)
    await control(sandbox, "incoming", {"from": TO, "to": FROM, "body": "please stop"})
    await create(client)
    await control(sandbox, "incoming", {"from": TO, "to": FROM, "body": " Stop "})
    assert await code_of(create(client)) == (400, 21610)
    await create(client, from_="+15550006002")
    await control(sandbox, "incoming", {"from": TO, "to": FROM, "body": "START"})
    await create(client)
    await until(lambda: len(hooks.incoming()) == 3)
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
    make: Make, http: Any, hooks: Receiver, tmp_path: Path
) -> None:
    clock = tmp_path / "clock.json"
    write_clock(clock, START, 0)
    sandbox = await make(clock=str(clock))
    await control(
        sandbox,
        "script",
        {"number": TO, "replies": [{"after_s": 300, "body": "Purchase, in 2 months"}, {"after_s": 60, "body": "STOP"}]},
    )
    client = client_of(sandbox, http)
    made = await create(client)
    assert made.date_created == START
    await until(lambda: sandbox.idle()["idle"] and sandbox.idle()["next_act_at"] is not None)
    assert (await control(sandbox, "idle"))["next_act_at"] == (START + timedelta(seconds=300)).isoformat()
    assert hooks.incoming() == []
    write_clock(clock, START + timedelta(seconds=300), 0)
    assert sandbox.idle()["idle"] is False
    await until(lambda: len(hooks.incoming()) == 1)
    assert hooks.incoming()[0]["Body"] == "Purchase, in 2 months"
    await until(lambda: sandbox.idle()["idle"])
    await create(client, body="Where are you buying?")
    await until(lambda: sandbox.idle()["next_act_at"] is not None)
    write_clock(clock, FileClock(clock).now() + timedelta(seconds=61), 0)
    await until(lambda: len(hooks.incoming()) == 2)
    assert await code_of(create(client)) == (400, 21610)


async def test_phone_told_to_text_later_waits_for_virtual_time(make: Make, hooks: Receiver, tmp_path: Path) -> None:
    clock = tmp_path / "clock.json"
    write_clock(clock, START, 0)
    sandbox = await make(clock=str(clock))
    await control(sandbox, "incoming", {"from": TO, "to": FROM, "body": "call me at 5", "after_s": 3600})
    assert sandbox.idle() == {"idle": True, "next_act_at": "2026-03-02T16:00:00+00:00", "callbacks_open": 0}
    write_clock(clock, START + timedelta(hours=1), 0)
    await until(lambda: [form["Body"] for form in hooks.incoming()] == ["call me at 5"])


async def test_messaging_service_picks_its_sender_and_stop_covers_it(make: Make, http: Any, hooks: Receiver) -> None:
    sandbox = await make()
    client = client_of(sandbox, http)
    fields = {"to": TO, "messaging_service_sid": "MG" + "a" * 32, "body": "Hello"}
    made = await client.messages.create_async(**fields, status_callback=f"{PUBLIC}/status")
    assert (made.status, made.from_, made.num_segments) == ("accepted", None, "0")
    await until(lambda: hooks.statuses() == ["queued", "sent", "delivered"])
    assert (await client.messages(made.sid).fetch_async()).from_ == sandbox.settings.service_number
    sandbox.text(TO, sandbox.settings.service_number, "QUIT")
    assert await code_of(client.messages.create_async(**fields)) == (400, 21610)


async def test_calls_put_in_by_a_replayer_are_listed_by_time_and_fetched(make: Make, http: Any) -> None:
    sandbox = await make()
    calls = [
        {
            "sid": f"CA{n:032x}",
            "from": TO,
            "to": FROM,
            "status": "no-answer" if n % 2 else "completed",
            "start_time": (START + timedelta(minutes=n)).isoformat(),
            "end_time": (START + timedelta(minutes=n, seconds=20)).isoformat(),
            "duration_s": 20,
        }
        for n in range(4)
    ]
    await control(sandbox, "calls", {"calls": calls})
    client = client_of(sandbox, http)
    listed = await client.calls.list_async(start_time_after=START + timedelta(minutes=1), status="no-answer")
    assert [call.sid for call in listed] == [calls[3]["sid"], calls[1]["sid"]]
    fetched = await client.calls(calls[0]["sid"]).fetch_async()
    assert (fetched.status, fetched.duration, fetched.start_time) == ("completed", "20", START)


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("script", {"number": "x"}, 400),
        ("script", {"number": TO, "surprise": 1}, 400),
        ("faults", {"faults": [{"kind": "429"}]}, 400),
        ("faults", {"faults": [{"kind": "429", "next": 1, "accepted": True}]}, 400),
        ("calls", {"calls": [{"sid": "CA1"}]}, 400),
        ("callbacks", {"drop": 2}, 400),
    ],
)
async def test_wrong_control_body_is_400_naming_the_field(make: Make, what: str, body: Any, status: int) -> None:
    answer = await control(await make(), what, body, expect=status)
    assert answer["errors"][0]["field"]


async def test_huge_and_foreign_bodies_are_refused(make: Make) -> None:
    sandbox = await make()
    url = f"{sandbox.url}/2010-04-01/Accounts/{sandbox.settings.account_sid}/Messages.json"
    login = {"Authorization": aiohttp.encode_basic_auth(sandbox.settings.account_sid, "secret")}
    async with aiohttp.ClientSession(headers=login) as session:
        async with session.post(url, data={"To": TO, "From": FROM, "Body": "x" * 100_000}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (413, 20413)
        async with session.post(url, json={"To": TO}) as answer:
            assert answer.status == 415
        async with session.post(f"{sandbox.url}/_control/reset", data={"a": "b"}) as answer:
            assert answer.status == 415
    assert sandbox.sent() == []


async def test_reset_forgets_everything(make: Make, http: Any) -> None:
    sandbox = await make()
    client = client_of(sandbox, http)
    await create(client)
    sandbox.text(TO, FROM, "STOP")
    sandbox.fault(kind="429", next=5)
    await control(sandbox, "reset", {})
    assert (await control(sandbox, "messages"))["messages"] == []
    await create(client)
    found = (await control(sandbox, "messages?direction=outbound-api"))["messages"]
    assert [message["to"] for message in found] == [TO]
    assert {"created_at", "received_real_at", "received_real_epoch"} <= set(found[0])


async def test_page_escapes_nothing_because_it_never_writes_markup(make: Make, http: Any) -> None:
    sandbox = await make()
    hostile = "<img src=x onerror=alert(1)>\ndata: {}\n\n"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{sandbox.url}/") as answer:
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        async with session.get(f"{sandbox.url}/page/events") as stream:
            assert stream.content_type == "text/event-stream"
            await create(client_of(sandbox, http), body=hostile)
            async with asyncio.timeout(5):
                while not (line := await stream.content.readline()).startswith(b"data: "):
                    pass
            assert line.count(b"\n") == 1
        async with session.get(f"{sandbox.url}/page/phones?q=0134") as answer:
            data = await answer.json()
            assert data["phones"][0]["texts"][0]["body"] == hostile
        async with session.get(f"{sandbox.url}/page/phones?q=9999") as answer:
            assert (await answer.json())["phones"] == []
    source = (Path(__file__).parents[2] / "deploy/sandbox/static/page.js").read_text()
    assert not {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} & set(source.split())
    assert "innerHTML" not in source
