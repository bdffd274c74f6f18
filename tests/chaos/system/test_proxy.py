"""The proxy that chaos puts before servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.runtime.clock import monotonic_s
from tests.chaos.system.proxy import Proxy


@asynccontextmanager
async def echoing() -> AsyncIterator[Proxy]:
    """Yield a proxy before a server that gives back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


async def test_bytes_pass_and_a_delay_holds_each_way_without_adding_up() -> None:
    async with echoing() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.delay_s, began = 0.1, monotonic_s()
        for _ in range(10):
            writer.write(b"two")
            await asyncio.sleep(0.005)
        assert await reader.readexactly(30) == b"two" * 10
        assert 0.2 <= monotonic_s() - began < 1.0
        writer.close()


async def test_cut_resets_open_connections_and_refusing_resets_new_ones_until_it_ends() -> None:
    async with echoing() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.refusing = True
        assert proxy.cut() == 1
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        proxy.refusing = False
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"two")
        assert await reader.readexactly(3) == b"two"
        writer.close()
