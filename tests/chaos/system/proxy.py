"""A small TCP proxy on 127.0.0.1 whose connections can be cut or made slow, and which can refuse new ones."""

import asyncio
import contextlib
from typing import Self

from services.runtime.clock import monotonic_s

CHUNK_BYTES = 64 * 1024
CHUNKS_ON_THE_WAY = 64


class Proxy:
    """Passes bytes both ways between its own port and a server's.

    Args:
        port: the server's port on 127.0.0.1.

    Attributes:
        refusing: new connections are reset.
        delay_s: how much later every byte arrives, each way; bytes on their way do not wait for each other.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.refusing = False
        self.delay_s = 0.0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> int:
        """Reset every connection; return how many there were (both halves counted as one)."""
        cut = len(self._open) // 2
        for writer in list(self._open):
            writer.transport.abort()
        return cut

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, upstream_writer}
        self._open |= both
        pumps = [
            asyncio.create_task(self._pump(reader, upstream_writer)),
            asyncio.create_task(self._pump(upstream_reader, writer)),
        ]
        self._tasks.update(pumps)
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for writer_ in both:
                writer_.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._open -= both
            self._tasks.difference_update(pumps)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on, each after the delay that held when it came; end when a side ends."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_ON_THE_WAY)
        writing = asyncio.create_task(_write(queue, writer))
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(CHUNK_BYTES):
                    await queue.put((monotonic_s() + self.delay_s, data))
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


async def _write(queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            due_s, data = await queue.get()
            if (wait := due_s - monotonic_s()) > 0:
                await asyncio.sleep(wait)
            writer.write(data)
            await writer.drain()
