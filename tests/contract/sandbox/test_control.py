"""The control API and the page: wrong bodies are refused with the field, hostile ones change nothing."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.contract.sandbox.kit import FROM, SDK_WARNINGS, TO, MakeSandbox, client_of, control, create

pytestmark = SDK_WARNINGS

PAGE_SCRIPT = Path(__file__).parents[3] / "deploy" / "sandbox" / "static" / "page.js"


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
async def test_wrong_control_body_is_400_naming_the_field(make: MakeSandbox, what: str, body: Any, status: int) -> None:
    answer = await control(await make(), what, body, expect=status)
    assert answer["errors"][0]["field"]


async def test_huge_and_foreign_bodies_are_refused(make: MakeSandbox) -> None:
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


async def test_reset_forgets_everything(make: MakeSandbox, http: Any) -> None:
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


async def test_page_serves_a_hostile_text_as_one_line_of_data(make: MakeSandbox, http: Any) -> None:
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


async def test_page_shows_a_phone_as_opted_out_from_stop_to_start_whatever_it_writes_in_between(
    make: MakeSandbox,
) -> None:
    sandbox = await make()
    seen = []
    async with aiohttp.ClientSession() as session:
        for body in ("Hello", "STOP", "HELP", "ok", "START"):
            sandbox.text(TO, FROM, body)
            async with session.get(f"{sandbox.url}/page/phones") as answer:
                seen.append((await answer.json())["phones"][0]["texts"][-1]["opted_out"])
    assert seen == [False, True, True, True, False]


@pytest.mark.parametrize("writer", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("])
def test_page_script_has_no_way_to_write_markup(writer: str) -> None:
    assert writer not in PAGE_SCRIPT.read_text()
