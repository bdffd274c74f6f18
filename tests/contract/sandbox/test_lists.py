"""The reconciler's reader of Twilio's lists, against the sandbox: windows, legs, pages, and what goes wrong."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from deploy.sandbox import Sandbox
from services.ingest.adapters.twilio_lists import TwilioLists
from services.ingest.domain.listed_voicemails import ListedTranscript
from services.ingest.errors import ListsAway
from services.runtime.clock import real_now
from tests.contract.sandbox.kit import SDK_WARNINGS, MakeSandbox, client_of, control

pytestmark = SDK_WARNINGS

CALLER, NEW_YORK, DANA = "+13035550123", "+12125550100", "+12125550161"


@pytest.fixture
async def sandbox(make: MakeSandbox) -> Sandbox:
    return await make()


@pytest.fixture
async def lists(sandbox: Sandbox) -> AsyncIterator[TwilioLists]:
    found = TwilioLists(
        account_sid=sandbox.settings.account_sid, auth_token="secret", base_url=sandbox.url, page_size=3
    )
    await found.start()
    yield found
    await found.stop()


async def test_calls_and_legs_that_ended_in_the_window_are_listed_over_several_pages(
    lists: TwilioLists, sandbox: Sandbox
) -> None:
    now = real_now().replace(microsecond=0)
    calls = [
        {
            "sid": f"CA{n:032x}",
            "from": CALLER,
            "to": DANA if n % 2 else NEW_YORK,
            "status": "completed",
            "duration_s": 30,
            "start_time": (now - timedelta(minutes=n, seconds=30)).isoformat(),
            "end_time": (now - timedelta(minutes=n)).isoformat(),
            **({"direction": "outbound-dial", "parent_call_sid": f"CA{n - 1:032x}"} if n % 2 else {}),
        }
        for n in range(20)
    ]
    calls.append({"sid": f"CA{99:032x}", "from": CALLER, "to": NEW_YORK, "status": "in-progress"})
    await control(sandbox, "calls", {"calls": calls})
    found = {call.sid: call for call in await lists.calls_ended(now - timedelta(minutes=10))}
    assert set(found) == {f"CA{n:032x}" for n in range(11)}
    first, leg = found[f"CA{4:032x}"], found[f"CA{5:032x}"]
    assert (first.parent_sid, first.caller, first.dialed, first.status) == (None, CALLER, NEW_YORK, "completed")
    assert (first.started_at, first.ended_at) == (now - timedelta(minutes=4, seconds=30), now - timedelta(minutes=4))
    assert (first.duration_s, leg.parent_sid) == (30, first.sid)
    assert [call.sid for call in await lists.legs_of(first.sid)] == [leg.sid]


async def test_texts_of_borrowers_are_listed_with_their_words(lists: TwilioLists, sandbox: Sandbox) -> None:
    before = real_now() - timedelta(seconds=5)
    await control(sandbox, "incoming", {"from": CALLER, "to": NEW_YORK, "body": "STOP"})
    inbound = [message for message in await lists.messages_sent(before) if message.is_inbound]
    assert [(one.sender, one.to, one.body) for one in inbound] == [(CALLER, NEW_YORK, "STOP")]
    assert await lists.messages_sent(real_now() + timedelta(minutes=1)) == []


@pytest.mark.parametrize("kind", ["429", "5xx", "lost"])
async def test_list_that_fails_says_so_and_is_read_the_next_time(
    lists: TwilioLists, sandbox: Sandbox, kind: str
) -> None:
    await control(sandbox, "faults", {"faults": [{"on": "list", "kind": kind, "share": 1}]})
    with pytest.raises(ListsAway, match="list of calls"):
        await lists.calls_ended(real_now())
    await control(sandbox, "faults", {"clear": True})
    assert await lists.calls_ended(real_now()) == []


async def test_recordings_are_listed_with_the_webhooks_url_and_their_words_one_by_one(
    lists: TwilioLists, sandbox: Sandbox
) -> None:
    now = real_now().replace(microsecond=0)
    call, account = "CA" + "0" * 32, sandbox.settings.account_sid
    states = [("completed", "call me at five"), ("failed", None), ("in-progress", None), (None, None)]
    recordings = [
        {
            "sid": f"RE{n:032x}",
            "call_sid": call,
            "created_at": (now - timedelta(minutes=n)).isoformat(),
            "duration_s": 12,
            "transcription_status": status,
            "transcript": text,
        }
        for n, (status, text) in enumerate([*states, ("completed", "too old")])
    ]
    await control(sandbox, "recordings", {"recordings": recordings})
    found = {recording.sid: recording for recording in await lists.recordings_made(now - timedelta(minutes=3))}
    assert set(found) == {f"RE{n:032x}" for n in range(4)}
    first = found[f"RE{0:032x}"]
    assert (first.call_sid, first.status, first.at, first.duration_s) == (call, "completed", now, 12)
    assert first.url == f"{sandbox.url}/2010-04-01/Accounts/{account}/Recordings/{first.sid}"
    told = [await lists.transcript_of(f"RE{n:032x}") for n in range(4)]
    assert told == [ListedTranscript("call me at five"), ListedTranscript(None), None, None]
    with pytest.raises(ListsAway):
        await lists.transcript_of("RE" + "9" * 32)


async def test_recordings_in_the_sandbox_have_the_shape_that_the_official_sdk_reads(
    sandbox: Sandbox, http: Any
) -> None:
    now = real_now().replace(microsecond=0)
    recording = {"sid": "RE" + "1" * 32, "call_sid": "CA" + "1" * 32, "created_at": now.isoformat(), "duration_s": 7}
    words = {"transcription_status": "completed", "transcript": "hello"}
    await control(sandbox, "recordings", {"recordings": [{**recording, **words}]})
    client = client_of(sandbox, http)
    (found,) = await client.recordings.list_async(date_created_after=now - timedelta(minutes=1))
    assert (found.sid, found.call_sid, found.duration, found.date_created) == (
        recording["sid"],
        recording["call_sid"],
        "7",
        now,
    )
    (text,) = await client.recordings(found.sid).transcriptions.list_async()
    assert (text.status, text.transcription_text) == ("completed", "hello")
