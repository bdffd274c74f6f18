"""An instance that stands still for longer than its session, between a claim and its write, on real Kafka and MongoDB."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

from services.runtime.clock import real_now
from tests.infra.polling import eventually
from tests.integration.leads.conftest import Rig
from tests.unit.leads.events import InboundCall

CLAIM = b"findAndModify\x00\x06\x00\x00\x00calls\x00"
"""How the claim of a call begins on the wire; nothing else modifies and returns a call."""
WRITE = b"update\x00\x06\x00\x00\x00calls\x00"


class HeldAnswers:
    """Passes everything on to MongoDB; once told to, lets no answer to a claim through until it is released."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.port = 0
        self.holding = False
        self.held, self.released, self.written = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection's bytes both ways."""
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._upstream)
        claimed = asyncio.Event()

        async def up() -> None:
            while data := await reader.read(65536):
                if self.holding and CLAIM in data:
                    claimed.set()
                    self.held.set()
                if self.released.is_set() and WRITE in data:
                    self.written.set()
                to_server.write(data)

        async def down() -> None:
            while data := await from_server.read(65536):
                if claimed.is_set():
                    await self.released.wait()
                writer.write(data)

        pumps = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(*pumps, return_exceptions=True)
            writer.transport.abort()
            to_server.transport.abort()


@asynccontextmanager
async def held_answers(url: str) -> AsyncIterator[HeldAnswers]:
    """Run a proxy to the MongoDB of a URL."""
    proxy = HeldAnswers(urlsplit(url.split(",")[0]).port or 27017)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


async def test_instance_stopped_between_claim_and_write_decides_nothing_over_its_successors_head(rig: Rig) -> None:
    """It stands still past its session, the partitions move, and the proof of every answer is read by their new owner."""
    answered = [InboundCall(f"CA-stop-{n}", rig.caller(), legs=1) for n in range(12)]
    claimed = InboundCall("CA-claimed", rig.caller())
    calls = rig.database.calls
    async with held_answers(rig.mongo.url) as proxy:
        stopped = await rig.start("a", RINGBACK_MONGODB_URL=f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true")
        proxy.holding = True
        await rig.write(*(call.started() for call in answered), claimed.started(), claimed.ended(4))

        async def read() -> bool:
            return bool(await calls.count_documents({"call_id": {"$regex": "^CA-stop-"}}) == len(answered))

        await eventually(read)
        async with asyncio.timeout(20):
            await proxy.held.wait()
        stopped.pause("leads")
        try:
            await rig.write(*(call.leg_answered() for call in [*answered, claimed]))
            past = real_now() - timedelta(seconds=1)  # all are due: the new owner must read before it decides
            await calls.update_many({"outcome": {"$exists": False}}, {"$set": {"settle_at": past}})
            await rig.start("b")

            async def all_decided() -> bool:
                await rig.write(*(call.ended() for call in answered))
                return bool(await calls.count_documents({"outcome": {"$exists": True}}) == len(answered) + 1)

            await eventually(all_decided, 40)
            proxy.released.set()  # the claim's answer arrives, and its owner goes on where it stood
        finally:
            stopped.resume("leads")
        async with asyncio.timeout(30):
            await proxy.written.wait()
        await stopped.ready("leads")

        async def finished() -> bool:
            return bool(await calls.count_documents({"applied": True}) == len(answered) + 1)

        await eventually(finished, 30)
    assert await calls.count_documents({"outcome": "answered"}) == len(answered) + 1
    assert await calls.count_documents({"outcome": "missed"}) == 0
    assert [rig.types(call.caller or "") for call in [*answered, claimed]] == [[]] * (len(answered) + 1)
