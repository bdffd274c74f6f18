"""Faust's table recovery, fixed: no event before the seek of its partition, and no row of a partition that is gone."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiokafka.errors import KafkaTimeoutError
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

log = structlog.get_logger(__name__)


class FencedRecovery(Recovery):  # type: ignore[misc]
    """Recovery in the right order; says when every partition stands at its next event, and when events flow again."""

    on_ready: Callable[[], None] | None = None
    on_sought: Callable[[], None] | None = None
    _rebalance = 0

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Hand over from changelog to source partitions: seek first, clear the queues, and only then fetch.

        Faust resumes the partitions before the seek and clears the agents' queues after it: what arrives before the seek
        comes twice, and what arrives between the seek and the clearing is lost.
        """
        app, consumer = self.app, self.app.consumer
        await app.on_rebalance_complete.send()
        self._set_recovery_ended()
        for table in self.tables.values():
            await table.on_recovery_completed(self.actives_for_table[table], self.standbys_for_table[table])
        assignment = consumer.assignment()
        if app.consumer_generation_id != generation_id or self.is_overtaken():
            return
        async with consumer.fetching:  # a fetch from before the seek would swallow events
            if assignment:
                await self._wait(consumer.perform_seek())
            if self.is_overtaken():
                return
            if self.on_sought is not None:
                self.on_sought()
            self.completed.set()
            app.flow_control.resume()  # clears the agents' queues
            consumer.resume_flow()
            consumer.resume_partitions({tp for tp in assignment if not self._is_changelog_tp(tp)})
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        if not app.assignor.assigned_standbys():
            self.tables.on_standbys_ready()
        app.on_rebalance_end()
        if self.on_ready is not None:
            self.on_ready()

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Read the rows of new partitions from the start; keep those of partitions that stayed.

        Faust returns early here when the next rebalance has already begun, and then never forgets the rows that this one
        took away. A partition that comes back starts with no rows, or a row deleted elsewhere meanwhile would live on.
        """
        self._rebalance = self.app.rebalancing_count
        for tp in revoked | newly_assigned:
            table = self.tables._changelogs.get(tp.topic)
            if table is not None:
                self.revoke(tp)
                table.forget(tp.partition)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    def is_overtaken(self) -> bool:
        """Say whether another rebalance has begun since the one this recovery is for."""
        return bool(self.app.rebalancing_count != self._rebalance)

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109
        """Wait until it has happened, or another rebalance begins.

        After its time-out Faust goes on as if it had been answered. One changelog partition without a leader keeps the
        answer for all of them back: every event would be handled without its row, and the new row would win.
        """
        await super()._wait(coro)

    async def _build_highwaters(self, *args: Any) -> None:
        """Ask where the changelog ends, as long as it takes; then nothing else can be done than to ask again."""
        await _however_often(super()._build_highwaters, *args)

    async def _build_offsets(self, *args: Any) -> None:
        """Ask where the changelog begins, as long as it takes."""
        await _however_often(super()._build_offsets, *args)

    async def _seek_offsets(self, consumer: Any, tps: set[TP], offsets: Any, title: str) -> None:
        """Seek the changelog, and forget how far it was read: what comes again must not be dropped as old."""
        for tp in tps:
            consumer._read_offset[tp] = None
        async with consumer.fetching:
            pass  # waits for the fetch under way; while everything is paused no other begins
        await super()._seek_offsets(consumer, tps, offsets, title)

    def acknowledged(self, tp: TP, offset: int) -> None:
        """Note that our own write at `offset` is in the changelog: a rebalance need not read it again."""
        offsets = self.active_offsets
        have = offsets.get(tp)
        if have is not None and offset > have:
            offsets[tp] = offset


async def _however_often(ask: Callable[..., Awaitable[None]], *args: Any) -> None:
    while True:
        try:
            await ask(*args)
            return
        except KafkaTimeoutError as error:
            log.warning("changelog_does_not_answer", why=str(error))


class FencedTableManager(TableManager):  # type: ignore[misc]
    """Faust's table manager with our recovery."""

    Recovery: type[FencedRecovery] = FencedRecovery
    _recovery: Any

    @property
    def recovery(self) -> Any:
        """Recovery service used by this table manager."""
        if self._recovery is None:
            self._recovery = self.Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
