"""A text that cannot be read, on real Kafka and MongoDB: from its suppression to `ringback dlq replay` and `drop`."""

import asyncio
from typing import Any

import pytest

from schemas.base import EventData
from schemas.envelope import Event, Wire, encode
from services.cli.app import run
from services.leads.adapters.store import UNREAD_REPLY
from tests.infra.polling import eventually
from tests.integration.leads.conftest import Rig
from tests.unit.leads.events import InboundCall, text


def _unreadable(sent: Event[EventData]) -> Wire:
    """Return a text whose value nobody will ever read; its key tells whose it is."""
    wire = encode(sent)
    return Wire(topic=wire.topic, key=wire.key, value=b"\xff", headers=wire.headers)


class Numbers:
    """What `suppressions` holds. It names no numbers, so a test with one number in it at a time reads all of it."""

    def __init__(self, rig: Rig) -> None:
        self._all = rig.database.suppressions

    async def active(self) -> list[str]:
        """Return why numbers get no texts now."""
        return [one["why"] async for one in self._all.find({"active": True})]

    async def become(self, *why: str) -> None:
        async def are() -> bool:
            return await self.active() == list(why)

        await eventually(are, 20, f"suppressed: {why}")


async def _ringback(*args: str) -> None:
    assert await asyncio.to_thread(run, list(args)) == 0


async def _letters(rig: Rig, capsys: pytest.CaptureFixture[str], count: int) -> list[str]:
    """Wait until that many dead letters of texts are open; return their places."""
    found: list[str] = []

    async def there() -> bool:
        capsys.readouterr()
        await _ringback("dlq", "list", "replies")
        words = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("replies.dlq/")]
        found[:] = words
        return len(found) == count

    await eventually(there, 20, f"{count} dead letters")
    return found


@pytest.fixture
def numbers(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Numbers:
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", rig.kafka.bootstrap_servers)
    return Numbers(rig)


async def _refuse_texts(rig: Rig, *, refuse: bool) -> None:
    """Have MongoDB refuse every text for good, as a defect of ours would; or fix that."""
    validator: dict[str, Any] = {"body": {"$exists": False}} if refuse else {}
    await rig.database.command({"collMod": "messages", "validator": validator})


async def test_sender_of_an_unread_text_is_suppressed_until_it_is_replayed_after_the_fix(
    rig: Rig, numbers: Numbers, capsys: pytest.CaptureFixture[str]
) -> None:
    caller = rig.caller()
    await rig.start()
    await rig.write(*InboundCall("CA-unread-1", caller).missed())
    await rig.tells(caller, "lead.opened", "lead.assigned")
    await _refuse_texts(rig, refuse=True)
    await rig.write(text("Please call me about a refinance", "SM-unread-1", caller=caller))
    await numbers.become(UNREAD_REPLY)
    (place,) = await _letters(rig, capsys, 1)
    assert rig.types(caller) == ["lead.opened", "lead.assigned"]

    await _refuse_texts(rig, refuse=False)
    await _ringback("dlq", "replay", place)
    await numbers.become()
    # In one partition: the text was applied before its sender was suppressed no more.
    assert "twilio:SM-unread-1:received" in (await rig.lead(caller))["seen"]
    await rig.tells(caller, "lead.opened", "lead.assigned", "lead.replied")
    assert await _letters(rig, capsys, 0) == []


async def test_text_that_cannot_be_read_at_its_replay_either_suppresses_its_sender_until_it_is_dropped(
    rig: Rig, numbers: Numbers, capsys: pytest.CaptureFixture[str]
) -> None:
    await rig.start()
    await rig.producer.send_wire(_unreadable(text("STOP", "SM-unread-2", caller=rig.caller())))
    await numbers.become(UNREAD_REPLY)
    (first,) = await _letters(rig, capsys, 1)
    await _ringback("dlq", "replay", first)

    async def second() -> bool:
        return first not in await _letters(rig, capsys, 1)

    await eventually(second, 20, "another dead letter")
    assert await numbers.active() == [UNREAD_REPLY]
    await _ringback("dlq", "drop", *await _letters(rig, capsys, 1))
    await numbers.become()


async def test_opt_out_from_before_the_unread_text_outlives_its_drop(
    rig: Rig, numbers: Numbers, capsys: pytest.CaptureFixture[str]
) -> None:
    caller = rig.caller()
    await rig.start()
    await rig.write(text("STOP", "SM-unread-3", caller=caller))
    await numbers.become("keyword")
    await rig.producer.send_wire(_unreadable(text("hello", "SM-unread-4", caller=caller)))
    await numbers.become(UNREAD_REPLY)
    await _ringback("dlq", "drop", *await _letters(rig, capsys, 1))
    await numbers.become("keyword")
