"""One connected client of Kafka at a time: opened when it is asked for, replaced when it can send no more."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka

from services.runtime.errors import TransientError
from services.runtime.idempotent_client import abandon, fail_pending, never_expire
from services.runtime.metrics import PRODUCERS_REPLACED
from services.runtime.stopping import FLUSH_LIMIT_S

log = structlog.get_logger(__name__)

START_LIMIT_S: Final = 30.0
"""How long connecting may take; a client without a broker asks for its id for good."""


class ClientSlot:
    """Holds the client through which everybody sends.

    Args:
        make: makes a client that is not connected.
    """

    def __init__(self, make: Callable[[], AIOKafkaProducer]) -> None:
        self._make = make
        self._client: AIOKafkaProducer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def current(self) -> AIOKafkaProducer:
        """Return the client; after the last one was replaced, a new one.

        Raises:
            TransientError: Kafka does not answer, or we have stopped.
        """
        while self._client is None:
            if self._stopped:
                raise TransientError("the producer has stopped")
            if self._opening is None or self._opening.done():
                self._opening = asyncio.create_task(self._open_next())
                self._opening.add_done_callback(forget)
            try:
                await asyncio.shield(self._opening)
            except asyncio.CancelledError:
                if not self._opening.cancelled():
                    raise  # ours; the opening goes on for others
        return self._client

    async def _open_next(self) -> None:
        self._client = await self.open()

    async def open(self) -> AIOKafkaProducer:
        """Return another client, which whoever asked must `close`.

        Raises:
            TransientError: Kafka does not answer.
        """
        client = self._make()
        never_expire(client)
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await client.start()
        except (kafka.KafkaError, OSError, TimeoutError) as error:
            self.close(client)
            raise TransientError(f"Kafka does not answer: {error!r}") from error
        except BaseException:
            self.close(client)
            raise
        return client

    def replace(self, client: AIOKafkaProducer, why: str) -> bool:
        """Send nothing more through a client, and fail what waits in it; return whether it was the current one."""
        if client is not self._client:
            return False
        self._client = None
        PRODUCERS_REPLACED.inc()
        log.warning("producer_replaced", why=why)
        self.close(client)
        return True

    def close(self, client: AIOKafkaProducer) -> None:
        """Fail what waits in a client; closing it takes its time."""
        fail_pending(client)
        task = asyncio.create_task(abandon(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def stop(self) -> None:
        """Send what is under way, for a few seconds at most, and disconnect."""
        self._stopped = True
        if self._opening is not None:
            self._opening.cancel()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_LIMIT_S):
                    await client.flush()
            await abandon(client)
        if self._closing:
            await asyncio.wait(self._closing)


def forget(ended: asyncio.Future[Any]) -> None:
    """Take note of how something ended that nobody waits for any more, so that asyncio does not complain."""
    if not ended.cancelled():
        ended.exception()
