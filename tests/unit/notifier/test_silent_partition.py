"""One partition of `touch-results` without a leader holds up its own callers' results, and nobody else's."""

from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from schemas.base import EventData
from schemas.envelope import Event
from services.notifier.dispatcher import OutboxSweep
from services.notifier.domain.facts import GateClosed
from services.notifier.domain.machine import decide
from services.runtime.errors import TransientError
from services.runtime.partitions import partition_of
from services.runtime.producer import FakeProducer
from tests.unit.notifier.build import LENDER, OPEN, REAL, delivery
from tests.unit.notifier.rig import Rig

PARTITIONS = 24
"""Not the default of the settings."""
PARTITION_OF = partial(partition_of, partitions=PARTITIONS)


@dataclass
class DeafProducer(FakeProducer):
    """One partition takes nothing."""

    silent: int = 0
    tries: int = 0
    keys: list[str] = field(default_factory=list)

    async def send(self, *events: Event[EventData]) -> None:
        """Keep events, or give up."""
        if PARTITION_OF(events[0].key) == self.silent:
            self.tries += 1
            raise TransientError("no acknowledgement within 5 s")
        self.keys.append(events[0].key.decode())


def keys_of(partition: int, count: int) -> list[str]:
    """Return keys of callers in a partition."""
    every = (f"{LENDER}:+1720{n:07d}" for n in range(100_000))
    return [key for key in every if PARTITION_OF(key.encode()) == partition][:count]


async def left_behind(rig: Rig, *keys: str) -> None:
    """Keep results of these callers that nobody has emitted, in that order, long ago."""
    for n, key in enumerate(keys):
        ended = decide(delivery(touch_id=f"{n:04d}", key=key), GateClosed("opted_out"), OPEN, REAL).delivery
        assert await rig.store.insert(replace(ended, outbox_since_real=REAL))
    rig.clock.move_real(60)


async def test_more_results_of_a_silent_partition_than_a_batch_hide_no_others() -> None:
    producer = DeafProducer()
    rig = Rig(producer=producer)
    other = keys_of(1, 1)
    await left_behind(rig, *keys_of(0, 3 * OutboxSweep.BATCH), *other)
    with pytest.raises(TransientError):
        await OutboxSweep(rig.shell, PARTITION_OF).round()
    assert (producer.keys, producer.tries) == (other, 1)


async def test_partition_that_only_another_count_of_partitions_would_join_with_a_silent_one_is_emitted() -> None:
    producer = DeafProducer()
    rig = Rig(producer=producer)
    other = keys_of(12, 1)
    await left_behind(rig, *keys_of(0, 1), *other)
    with pytest.raises(TransientError):
        await OutboxSweep(rig.shell, PARTITION_OF).round()
    assert producer.keys == other
