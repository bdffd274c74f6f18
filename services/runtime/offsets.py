"""Where topics end, and how far another group has committed; asked on connections of our own.

On a consumer's own connection the answer waits for the long poll that is under way (up to half a second in Faust), and a
replay asks thousands of times.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.runtime.errors import TransientError

log = structlog.get_logger(__name__)

LIMIT_S: Final = 2.0
"""How long a partition may take to say where it ends. One without a leader never does."""
COMMITTED_LIMIT_S: Final = 5.0
"""How long a group's coordinator may take to answer."""
CLOSE_LIMIT_S: Final = 2.0

AWAY: Final = (KafkaError, OSError, TimeoutError, AssertionError)
"""What a client raises while the cluster, or a part of it, is away; it asserts that it knows a coordinator's address."""


class Client(Protocol):
    """What is asked of a consumer without a group: where partitions begin and end."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    async def end_offsets(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return where they end; waits for every one of them."""

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return where they begin; waits for every one of them."""


class Admin(Protocol):
    """What is asked of an admin client: a group's committed offsets."""

    async def start(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def list_consumer_group_offsets(
        self, group_id: str, *, partitions: list[TopicPartition]
    ) -> Mapping[TopicPartition, object]:
        """Return offsets, -1 where none is committed."""


class Ends:
    """A reader of offsets that joins no group; it connects when first asked.

    Args:
        bootstrap_servers: the cluster.
        make_client: another client; tests only.
        make_admin: another admin client; tests only.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        make_client: Callable[..., Client] = AIOKafkaConsumer,
        make_admin: Callable[..., Admin] = AIOKafkaAdminClient,
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._make_client, self._make_admin = make_client, make_admin
        self._client: Client | None = None
        self._admin: Admin | None = None
        self._silent: set[TopicPartition] = set()
        self._connecting, self._asking = asyncio.Lock(), asyncio.Lock()

    async def of(
        self, partitions: Collection[TopicPartition], limit_s: float = LIMIT_S
    ) -> Mapping[TopicPartition, int | None]:
        """Return the offset after the last record of each partition; None where it is not known within `limit_s`.

        A partition that does not answer keeps no other's answer back, and the whole takes no longer than `limit_s`.
        """
        return await self._asked(partitions, limit_s, lambda client, some: client.end_offsets(some))

    async def begins(
        self, partitions: Collection[TopicPartition], limit_s: float = LIMIT_S
    ) -> Mapping[TopicPartition, int | None]:
        """Return the offset of the first record of each partition; None where it is not known within `limit_s`."""
        return await self._asked(partitions, limit_s, lambda client, some: client.beginning_offsets(some))

    async def committed(
        self, group: str, partitions: Collection[TopicPartition], limit_s: float = COMMITTED_LIMIT_S
    ) -> Mapping[TopicPartition, int | None]:
        """Return the offset that another group has committed in each partition; None where it has committed none.

        Raises:
            TransientError: the group's coordinator does not answer within `limit_s`; nothing is known then.
        """
        try:
            async with self._asking, asyncio.timeout(limit_s):
                if self._admin is None:
                    self._admin = self._make_admin(bootstrap_servers=self._bootstrap_servers)
                    await self._admin.start()
                found = await self._admin.list_consumer_group_offsets(group, partitions=list(partitions))
        except AWAY as error:
            admin, self._admin = self._admin, None
            if admin is not None:
                await closed(admin.close())
            raise TransientError(f"the committed offsets of {group} cannot be read: {error!r}") from error
        offsets = {partition: int(getattr(entry, "offset", -1)) for partition, entry in found.items()}
        return {partition: at if (at := offsets.get(partition, -1)) >= 0 else None for partition in partitions}

    async def _asked(
        self,
        partitions: Collection[TopicPartition],
        limit_s: float,
        ask: Callable[[Client, list[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]],
    ) -> Mapping[TopicPartition, int | None]:
        """Ask for all at once; where that does not answer soon, and for those that did not last time, one by one."""
        known: dict[TopicPartition, int | None] = dict.fromkeys(partitions)
        if not known:
            return known

        async def some(of: list[TopicPartition], within_s: float) -> bool:
            try:
                async with asyncio.timeout(within_s):
                    known.update(await ask(await self._connected(), of))
            except AWAY:
                return False
            return True

        async def alone(partition: TopicPartition, within_s: float) -> None:
            if await some([partition], within_s):
                self._silent.discard(partition)
            else:
                self._silent.add(partition)

        async def together(of: list[TopicPartition]) -> None:
            if of and not await some(of, limit_s / 4):
                await asyncio.gather(*(alone(partition, limit_s * 3 / 4) for partition in of))

        # The client answers for all or for none: while one partition has no leader, it goes on asking for that one.
        silent = known.keys() & self._silent
        await asyncio.gather(
            together([partition for partition in known if partition not in silent]),
            *(alone(partition, limit_s / 4) for partition in silent),
        )
        return known

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                client = self._make_client(bootstrap_servers=self._bootstrap_servers)
                try:
                    await client.start()
                except BaseException:
                    await asyncio.shield(closed(client.stop()))
                    raise
                self._client = client
            return self._client

    async def stop(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        admin, self._admin = self._admin, None
        if client is not None:
            await closed(client.stop())
        if admin is not None:
            await closed(admin.close())


async def closed(closing: Awaitable[object]) -> None:
    """Close a connection, but do not wait for it for good."""
    try:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await closing
    except AWAY as error:
        log.info("not_closed", why=repr(error))
