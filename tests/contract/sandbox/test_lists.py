"""The reconciler's reader of Twilio's lists, against the sandbox: windows, legs, pages, and what goes wrong."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from deploy.sandbox import Sandbox
from services.ingest.adapters.twilio_lists import TwilioLists
from services.ingest.errors import ListsAway
from services.runtime.clock import real_now
from tests.contract.sandbox.kit import MakeSandbox, control

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
