"""The official twilio SDK, asynchronous and synchronous, against the sandbox: texts and calls in Twilio's shape."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient

from tests.contract.sandbox.kit import (
    FROM,
    PUBLIC,
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
from tests.infra.polling import eventually

pytestmark = SDK_WARNINGS


async def test_text_created_is_fetched_and_listed_in_twilios_shape(make: MakeSandbox, http: Any) -> None:
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


async def test_sync_client_sends_pages_and_fetches(make: MakeSandbox) -> None:
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


async def test_list_pages_newest_first_and_new_texts_shift_nothing(make: MakeSandbox, http: Any) -> None:
    client = client_of(await make(), http)
    sent = [(await create(client, body=f"text {n}")).sid for n in range(7)]
    first = await client.messages.page_async(to=TO, page_size=3)
    await create(client, body="one more")
    rest = await first.next_page_async()
    last = await rest.next_page_async()
    assert [m.sid for page in (first, rest, last) for m in page] == sent[::-1]
    assert last.next_page_url is None


async def test_list_by_date_sent_skips_what_is_not_sent_yet(make: MakeSandbox, http: Any) -> None:
    client = client_of(await make(step_s=30), http)
    await create(client)
    assert await client.messages.list_async(date_sent_after=datetime(2000, 1, 1, tzinfo=UTC)) == []
    other = client_of(await make(), http)
    made = await create(other)
    since = made.date_created - timedelta(minutes=1)
    await eventually(lambda: other.messages.list_async(date_sent_after=since), why="it counts once it is sent")
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
    make: MakeSandbox, http: Any, fields: dict[str, Any], expected: tuple[int, int]
) -> None:
    sandbox = await make()
    assert await code_of(create(client_of(sandbox, http), **fields)) == expected
    assert sandbox.sent() == []


async def test_wrong_token_is_401_20003_and_other_account_is_404(make: MakeSandbox, http: Any) -> None:
    sandbox = await make()
    assert await code_of(create(client_of(sandbox, http, token="wrong"))) == (401, 20003)
    client = client_of(sandbox, http)
    with pytest.raises(TwilioRestException) as caught:
        await client.api.v2010.accounts("AC" + "1" * 32).messages.create_async(to=TO, from_=FROM, body="x")
    assert (caught.value.status, caught.value.code) == (404, 20404)
    assert await code_of(client.messages("SM" + "0" * 32).fetch_async()) == (404, 20404)


async def test_messaging_service_picks_its_sender_and_stop_covers_it(
    make: MakeSandbox, http: Any, hooks: Receiver
) -> None:
    sandbox = await make()
    client = client_of(sandbox, http)
    fields = {"to": TO, "messaging_service_sid": "MG" + "a" * 32, "body": "Hello"}
    made = await client.messages.create_async(**fields, status_callback=f"{PUBLIC}/status")
    assert (made.status, made.from_, made.num_segments) == ("accepted", None, "0")
    await eventually(lambda: hooks.statuses() == ["queued", "sent", "delivered"])
    assert (await client.messages(made.sid).fetch_async()).from_ == sandbox.settings.service_number
    sandbox.text(TO, sandbox.settings.service_number, "QUIT")
    assert await code_of(client.messages.create_async(**fields)) == (400, 21610)


async def test_calls_put_in_by_a_replayer_are_listed_by_time_and_fetched(make: MakeSandbox, http: Any) -> None:
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
