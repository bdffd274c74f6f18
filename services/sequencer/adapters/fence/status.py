"""How a fence says how it is, for the operations port."""

from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from services.runtime.clock import monotonic_s
from services.runtime.errors import TransientError
from services.runtime.offsets import Ends

from .lease import Lease
from .settings import FenceSettings
from .window import PartitionWindow


class Status:
    """What is asked of a fence; it keeps what the answers are made of."""

    settings: FenceSettings
    lease: Lease
    app: Any
    table: Any
    windows: dict[int, PartitionWindow]
    recoveries: int
    _finished: dict[TP, int]
    _ends: Ends
    _read_before: int
    silent: list[str]
    """The changelog partitions that did not answer when a recovery was last asked about."""
    _stopping: bool

    def is_ready(self) -> bool:
        """Say whether this worker is in the group and its rows are there."""
        return (
            self.recoveries > 0
            and not self._stopping
            and not self.app.rebalancing
            and not self.app.in_recovery
            and self.lease.left_s() > 0
        )

    def standing(self, after_s: float) -> Mapping[str, float]:
        """Return which partitions of the broker have kept events waiting for longer than `after_s`, and for how long."""
        now = monotonic_s()
        found = {}
        for number, window in self.windows.items():
            if (began := window.oldest_s) is not None and now - began > after_s:
                found[f"{window.waits_for() or self.settings.changelog_topic}[{number}]"] = now - began
        return found

    def row_digests(self) -> Mapping[int, str]:
        """Return a hash over the rows of each partition of ours that has any."""
        return dict(self.table.digests())

    async def recovery_stands(self) -> bool:
        """Say whether rows are being read, none came since this was last asked, and yet every partition of them answers.

        Then it is we who stand still, and only another process goes on; without an answer it is the broker.
        """
        read, before = self.table.recovered, self._read_before
        self._read_before, self.silent = read, []
        if self.is_ready() or read != before:
            return False
        try:
            mine = {tp.partition for tp in self.app.consumer.assignment() if tp.topic in self.settings.topics}
        except ConsumerNotStarted:
            return False
        ends = await self._ends.of([TopicPartition(self.settings.changelog_topic, number) for number in mine])
        self.silent = [f"{one.topic}[{one.partition}]" for one, end in ends.items() if end is None]
        return bool(ends) and not self.silent

    async def pending(self) -> Mapping[str, int]:
        """Return how many events of each `topic[partition]` of ours are not finished; empty means at the end.

        Finished, not committed: sends and row acknowledged by the broker. Empty also while nothing is assigned, so ask
        `is_ready` too.
        """
        consumer = self.app.consumer
        assigned = {tp for tp in consumer.assignment() if tp.topic in self.settings.topics}
        if not assigned:
            return {}
        ends: dict[TopicPartition, int] = {}
        for partition, end in (await self._ends.of([TopicPartition(*tp) for tp in assigned])).items():
            if end is None:
                raise TransientError(f"not known where {partition.topic}[{partition.partition}] ends")
            ends[partition] = end
        at: dict[TP, int] = {}
        for tp in assigned:
            position = self._finished.get(tp)
            if position is None:
                position = consumer._committed_offset[tp]
            if position is not None:
                at[tp] = position
        unknown = assigned - at.keys()
        if unknown:
            for tp, first in (await consumer.earliest_offsets(*unknown)).items():
                at[tp] = self._finished.setdefault(tp, first)  # an event may have been finished while we asked
        return {
            f"{tp.topic}[{tp.partition}]": ends[TopicPartition(*tp)] - at[tp]
            for tp in sorted(assigned)
            if ends[TopicPartition(*tp)] > (at.get(tp) or 0)
        }
