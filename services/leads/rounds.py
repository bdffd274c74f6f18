"""What every instance does beside consuming: settle calls that have gone quiet, and emit what was left behind.

Claims are conditional, and what is done twice changes nothing twice. A call or lead that fails keeps nobody from the
others, and a partition of `leads` that takes nothing only its own callers.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from schemas.leads import LeadEvent
from services.leads import metrics
from services.leads.adapters.fact_offsets import TOPIC, FactOffsets
from services.leads.adapters.store import LeadStore
from services.leads.domain.model import DueCall, LeftOutbox
from services.leads.outages import Outages
from services.leads.shell import DECISION_LEASE_S, Shell
from services.runtime.clock import Clock
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.rounds import Rounds

SETTLE_BATCH: Final = 1_000
UNREADY_AFTER_S: Final = 60.0
TASK_AFTER_S: Final = 300.0
"""After that a text would come too late: a person looks at the call."""
UNDECIDED: Final = "undecided calls"
UNDECIDED_BATCH: Final = 1_000
SWEEP_BATCH = 1_000
LEFT_AFTER_S = 2.0
"""Whoever filled an outbox empties it within milliseconds; what is there longer was left behind."""


class Settler(Rounds):
    """Decides calls whose last facts do not come, each by the instance that owns the partition its facts lie in.

    A call is decided only once everything that stood in both its partitions when it was due is finished: the caller's,
    and the call's own, which has the facts that name no caller. After an outage the proof of an answer may be waiting
    there, in this instance's partition or in another's, or in ingest's spool: where a partition has not answered, what it
    holds counts only a while after it answers again. One partition that is not read keeps no other call waiting.

    Args:
        store: of the calls.
        shell: decides a call and does all it causes.
        clock: `settle_at` is counted in real time.
        health: where a round that fails says so.
        reading: how far the facts are read.
        outages: where they may not be in Kafka yet.
    """

    name = "settler"
    period_s = 0.25

    def __init__(
        self,
        *,
        store: LeadStore,
        shell: Shell,
        clock: Clock,
        health: Health,
        reading: FactOffsets,
        outages: Outages,
    ) -> None:
        super().__init__(health)
        self._store, self._shell, self._clock, self._reading = store, shell, clock, reading
        self._outages = outages
        self._needed: dict[tuple[str, datetime], Mapping[int, int]] = {}
        self._waiting = 0

    async def round(self) -> None:
        """Settle the calls of this instance that were due before the facts were read up to."""
        now = self._clock.real_now()
        # As many more as wait: however many calls nobody can decide now, the others are reached.
        due = await self._store.calls_due(now, self._reading.mine(), self.asks_for(SETTLE_BATCH + self._waiting))
        if not due:
            self._needed.clear()
            self._waiting = 0
            return
        ready = [call for call in due if call.is_decided]
        ready += await self._readable([call for call in due if not call.is_decided])
        self._waiting = len(due) - len(ready)
        left = await self.each_group(
            ready,
            partial(self._settle, now=now),
            key=lambda call: call.key,
            group=lambda call: self._reading.partition_of(call.lead_key),
        )
        _raise_for(left)

    async def _readable(self, undecided: Sequence[DueCall]) -> list[DueCall]:
        """Return the calls of which every fact that stood in Kafka when they were due is finished."""
        where = {call.key: partitions_of(call, self._reading) for call in undecided}
        await self._note_ends(undecided, where)
        needed = self._needed
        finished = await self._reading.finished(frozenset().union(*(at for at in needed.values()))) if needed else {}
        return [
            call
            for call in undecided
            if (ends := needed.get((call.key, call.settle_at))) is not None
            and all((at := finished.get(partition)) is not None and at >= end for partition, end in ends.items())
        ]

    async def _note_ends(self, undecided: Sequence[DueCall], where: Mapping[str, frozenset[int]]) -> None:
        """Note where a call's partitions ended once it was due. A fact that comes later moves `settle_at`: noted anew."""
        due = {(call.key, call.settle_at) for call in undecided}
        self._needed = {call: ends for call, ends in self._needed.items() if call in due}
        fresh = {(key, at) for key, at in due - self._needed.keys() if self._outages.are_over(where[key], at)}
        asked = frozenset().union(*(where[key] for key, _ in fresh))
        ends = await self._reading.ends(asked) if asked else {}
        self._outages.note(ends)  # one that answers again at this very moment counts only later
        for key, settle_at in fresh:
            known = {partition: end for partition in where[key] if (end := ends.get(partition)) is not None}
            if len(known) == len(where[key]) and self._outages.are_over(where[key], settle_at):
                self._needed[key, settle_at] = known

    async def _settle(self, due: DueCall, now: datetime) -> None:
        lease_until = self._clock.real_now() + timedelta(seconds=DECISION_LEASE_S)
        call = await self._store.claim_call(due.key, now, lease_until)
        if call is not None:
            await self._shell.settle(call)


class Undecided(Rounds):
    """Says which calls nobody can decide: unready after a minute, a task for a person after five.

    Every instance looks at all calls: the one that should decide them may be the one that is stuck.
    """

    name = "undecided"
    period_s = 5.0

    def __init__(self, *, store: LeadStore, shell: Shell, clock: Clock, health: Health, reading: FactOffsets) -> None:
        super().__init__(health)
        self._store, self._shell, self._clock, self._reading = store, shell, clock, reading

    async def round(self) -> None:
        """Report the calls that wait too long, and give those that wait far too long to a person."""
        now = self._clock.real_now()
        waiting = await self._store.calls_undecided(now - timedelta(seconds=UNREADY_AFTER_S), UNDECIDED_BATCH)
        metrics.UNDECIDED.set(len(waiting))
        if not waiting:
            self._health.ready(UNDECIDED)
            return
        partitions = frozenset().union(*(partitions_of(call, self._reading) for call in waiting))
        behind = await self._behind(partitions) or partitions
        names = ", ".join(str(number) for number in sorted(behind))
        self._health.unready(UNDECIDED, f"calls not decided for {UNREADY_AFTER_S:.0f} s; {TOPIC} partition {names}")
        long_ago = now - timedelta(seconds=TASK_AFTER_S)
        untold = await self._store.calls_undecided(long_ago, UNDECIDED_BATCH, untold=True)
        await self.each(untold, lambda call: self._shell.say_undecided(call.key), key=lambda call: call.key)

    async def _behind(self, partitions: frozenset[int]) -> frozenset[int]:
        """Return the partitions that are not finished, or of which that is not known."""
        ends, finished = await self._reading.ends(partitions), await self._reading.finished(partitions)
        found = ((number, ends.get(number), finished.get(number)) for number in partitions)
        return frozenset(number for number, end, at in found if end is None or at is None or at < end)


def partitions_of(call: DueCall, reading: FactOffsets) -> frozenset[int]:
    """Return the partitions that a call's facts may lie in."""
    return frozenset(reading.partition_of(key) for key in call.keys)


class Sweeper(Rounds):
    """Emits what a dead instance (or a desk's write) left in outboxes, and reports what waits."""

    name = "sweeper"
    period_s = 1.0

    def __init__(self, *, store: LeadStore, shell: Shell, clock: Clock, health: Health, reading: FactOffsets) -> None:
        super().__init__(health)
        self._store, self._shell, self._clock, self._reading = store, shell, clock, reading

    async def round(self) -> None:
        """Report what waits, then emit old outboxes: the partitions side by side, in each the oldest first.

        Raises:
            TransientError: MongoDB is away, or at least one partition of `leads`; the others are emitted.
        """
        metrics.OUTBOX_PENDING.set(await self._store.outboxes_pending())
        metrics.SETTLING.set(await self._store.calls_settling())
        old = self._clock.real_now() - timedelta(seconds=LEFT_AFTER_S)
        last: LeftOutbox | None = None

        async def find(batch: int, _: int) -> list[LeftOutbox]:
            nonlocal last  # what stays is passed by its place: to be skipped, it would be counted again for every batch
            found = await self._store.outboxes_left(old, batch, last)
            last = found[-1] if found else last
            return found

        silent = await self.each_left(
            find,
            self._emit,
            key=lambda one: one.lead_id,
            group=lambda one: self._reading.partition_of(one.key),
            batch=SWEEP_BATCH,
            groups=self._reading.partitions,
        )
        _raise_for(silent)

    async def _emit(self, left: LeftOutbox) -> None:
        lead = await self._store.lead_by_id(left.lead_id)
        if lead is not None and lead.outbox:
            await self._shell.emit(lead)
            metrics.OUTBOX_SWEPT.inc()


def _raise_for(left: Mapping[int, TransientError]) -> None:
    """Say which partitions were left for this round, and why."""
    if left:
        where = ", ".join(f"{LeadEvent.TOPIC}[{partition}]" for partition in sorted(left))
        raise TransientError(f"callers of {where} wait: {next(iter(left.values()))}")


async def busy_with(store: LeadStore) -> str | None:
    """Say what the leads service still has to do, for `/idle`; None when nothing."""
    if pending := await store.outboxes_pending():
        return f"{pending} leads with an outbox"
    if settling := await store.calls_settling():
        return f"{settling} calls settling"
    return None
