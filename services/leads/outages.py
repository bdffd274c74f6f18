"""When Kafka is back after an outage, what ingest held meanwhile comes a little later: until then no call is decided.

A call may be over for its settler though the proof of its answer waits in ingest's spool: the partition looks read to its
end, and is not. So where a partition did not answer, the ends that calls are decided by are taken only once it has
answered without a break for as long as ingest needs.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from services.leads.adapters.fact_offsets import FactOffsets
from services.runtime.clock import Clock
from services.runtime.health import Health
from services.runtime.rounds import Rounds

DRAIN_S: Final = 10.0
"""How long ingest may need, once Kafka answers again, until it has sent what it holds (it looks every two seconds)."""


class Outages(Rounds):
    """Notes since when each partition of `call-events` has answered without a break.

    Nobody watched before it started: a call that was due before counts as due in an outage, as it may have been. So a
    restart alone delays nothing but the calls that became due meanwhile.

    Args:
        clock: outages are counted in real time.
        health: told of rounds.
        reading: asked where every partition ends, so that an outage is seen also while no call is due.
    """

    name = "outages"
    period_s = 1.0

    def __init__(self, *, clock: Clock, health: Health, reading: FactOffsets) -> None:
        super().__init__(health)
        self._clock, self._reading = clock, reading
        self._began: datetime | None = None
        self._silent: set[int] = set()
        self._back: dict[int, datetime] = {}

    async def start(self) -> None:
        """Begin to watch; Kafka answers, for the parts before have started."""
        self._began = self._clock.real_now()

    async def round(self) -> None:
        """Ask every partition."""
        self.note(await self._reading.ends(range(self._reading.partitions)))

    def note(self, ends: Mapping[int, int | None]) -> None:
        """Note which partitions have answered, and which have not (None)."""
        for partition, end in ends.items():
            if end is None:
                self._silent.add(partition)
            elif partition in self._silent:
                self._silent.remove(partition)
                self._back[partition] = self._clock.real_now()

    def are_over(self, partitions: Iterable[int], due: datetime) -> bool:
        """Return whether ingest has had the time to send what it held for partitions, of a call that was due then."""
        if self._began is None:
            return False
        drained = self._clock.real_now() - timedelta(seconds=DRAIN_S)
        began = [self._began] if due < self._began else []
        backs = [self._back[partition] for partition in partitions if partition in self._back]
        return max([*began, *backs], default=drained) <= drained
