"""The tail of `replies` without a broker: which partitions it vouches for, and which replies it keeps."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from services.notifier.adapters import replies_tail
from services.notifier.adapters.replies_tail import KafkaTail
from services.runtime.errors import TransientError
from services.runtime.health import Health
from tests.infra.polling import eventually

PARTITIONS = 3
NAMES = [TopicPartition("replies", n) for n in range(PARTITIONS)]


def caller_of(partition: int) -> str:
    """Return a caller whose replies lie in this partition, as producers choose it."""
    choose = DefaultPartitioner()
    keys = (f"larkspur:+1720555{n:04}" for n in range(1000))
    return next(key for key in keys if choose(key.encode(), list(range(PARTITIONS)), []) == partition)


@dataclass
class Cluster:
    """A topic in memory: the tail's consumer and its offsets at once."""

    records: dict[TopicPartition, list[tuple[str, str]]] = field(default_factory=lambda: {name: [] for name in NAMES})
    begin: dict[TopicPartition, int] = field(default_factory=dict)
    applied: dict[TopicPartition, int] = field(default_factory=dict)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    leaderless: set[TopicPartition] = field(default_factory=set)
    gone: bool = False
    coordinator_away: bool = False
    asked: int = 0

    def reply(self, partition: int, name: str) -> None:
        self.records[NAMES[partition]].append((caller_of(partition), name))

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to close."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.positions = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    async def getmany(self, *, timeout_ms: int) -> Mapping[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        await asyncio.sleep(0.005)
        found: dict[TopicPartition, list[Any]] = {}
        for name, at in self.positions.items():
            if self.gone or name in self.leaderless:
                continue
            at = max(at, self.begin.get(name, 0))
            if at > len(self.records[name]):
                at = 0  # out of range: from the earliest
            found[name] = [self._record(name, n) for n in range(at, len(self.records[name]))]
            self.positions[name] = len(self.records[name])
        return {name: some for name, some in found.items() if some}

    def _record(self, name: TopicPartition, offset: int) -> ConsumerRecord[bytes, bytes]:
        key, reply = self.records[name][offset]
        record = ConsumerRecord(
            topic=name.topic,
            partition=name.partition,
            offset=offset,
            timestamp=0,
            timestamp_type=1,
            key=key.encode(),
            value=b"",
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            headers=(("ce_id", reply.encode()),),
        )
        return cast("ConsumerRecord[bytes, bytes]", record)

    async def of(
        self, partitions: Collection[TopicPartition], limit_s: float = 1.0
    ) -> Mapping[TopicPartition, int | None]:
        return {name: None if self.gone or name in self.leaderless else len(self.records[name]) for name in partitions}

    async def begins(
        self, partitions: Collection[TopicPartition], limit_s: float = 1.0
    ) -> Mapping[TopicPartition, int | None]:
        return {name: self.begin.get(name, 0) for name in partitions}

    async def committed(
        self, group: str, partitions: Collection[TopicPartition], limit_s: float = 1.0
    ) -> Mapping[TopicPartition, int | None]:
        assert group == "ringback-leads"
        if self.coordinator_away:
            raise TransientError("no coordinator")
        self.asked += 1
        return {name: self.applied.get(name) for name in partitions}


def make_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything of the tail ten times as fast."""
    for name, value in (("FRESH_S", 0.2), ("CHECK_EVERY_S", 0.01), ("APPLIED_EVERY_S", 0.05), ("APPLIED_FRESH_S", 0.4)):
        monkeypatch.setattr(replies_tail, name, value)
    monkeypatch.setattr(replies_tail, "APPLIED_RETRY_S", 0.02)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A topic of three partitions, and a fast tail."""
    make_fast(monkeypatch)
    return Cluster()


@pytest.fixture
def health() -> Health:
    return Health(not_ready={})


@pytest.fixture
async def tail(cluster: Cluster, health: Health) -> AsyncIterator[KafkaTail]:
    made = KafkaTail(consumer=cluster, offsets=cluster, group="ringback-leads", partitions=PARTITIONS, health=health)
    await made.start()
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await made.stop()


def complete(tail: KafkaTail, partition: int) -> bool:
    return tail.of(caller_of(partition)).complete


async def asked_again(cluster: Cluster, times: int) -> None:
    until = cluster.asked + times
    await eventually(lambda: cluster.asked >= until)


async def test_partition_without_a_leader_holds_its_own_callers_only_and_is_named(
    cluster: Cluster, tail: KafkaTail, health: Health
) -> None:
    await eventually(lambda: all(complete(tail, n) for n in range(PARTITIONS)))
    assert "tail" not in health.not_ready
    cluster.leaderless = {NAMES[1]}
    await eventually(lambda: not complete(tail, 1))
    assert complete(tail, 0)
    assert complete(tail, 2)
    assert not tail.is_away()
    await eventually(lambda: "partition 1 " in health.not_ready.get("tail", ""))
    cluster.leaderless = set()
    await eventually(lambda: complete(tail, 1))
    await eventually(lambda: "tail" not in health.not_ready)


async def test_topic_that_is_gone_from_the_metadata_is_not_complete(
    cluster: Cluster, tail: KafkaTail, health: Health
) -> None:
    await eventually(lambda: complete(tail, 0))
    cluster.gone = True
    await eventually(tail.is_away)
    await eventually(lambda: "nothing is sent" in health.not_ready.get("tail", ""))


async def test_reply_that_leads_has_not_finished_is_kept_however_often_it_is_asked(
    cluster: Cluster, tail: KafkaTail
) -> None:
    cluster.reply(0, "stop")
    await eventually(lambda: tail.of(caller_of(0)).replies == {"stop"})
    await asked_again(cluster, 4)
    assert tail.of(caller_of(0)).replies == {"stop"}


async def test_reply_that_leads_has_finished_is_forgotten_but_not_at_the_first_asking_that_shows_it(
    cluster: Cluster, tail: KafkaTail
) -> None:
    """A gate may have read the lead just before the reply was applied."""
    cluster.reply(0, "a")
    cluster.reply(0, "b")
    await eventually(lambda: tail.of(caller_of(0)).replies == {"a", "b"})
    cluster.applied[NAMES[0]] = 1
    first = cluster.asked + 1
    await eventually(lambda: tail.of(caller_of(0)).replies == {"b"})
    assert cluster.asked > first


async def test_start_reads_from_where_leads_has_committed_and_from_the_beginning_where_it_has_not(
    cluster: Cluster, health: Health
) -> None:
    for n in range(2):
        cluster.reply(n, f"old-{n}")
        cluster.reply(n, f"new-{n}")
    cluster.applied[NAMES[0]] = 1
    made = KafkaTail(consumer=cluster, offsets=cluster, group="ringback-leads", partitions=PARTITIONS, health=health)
    task = asyncio.create_task(made.run())
    await eventually(lambda: all(complete(made, n) for n in range(PARTITIONS)))
    assert made.of(caller_of(0)).replies == {"new-0"}
    assert made.of(caller_of(1)).replies == {"old-1", "new-1"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_tail_vouches_for_nobody_once_the_offsets_of_leads_have_been_unknown_for_too_long(
    cluster: Cluster, tail: KafkaTail, health: Health
) -> None:
    await eventually(lambda: complete(tail, 0))
    cluster.coordinator_away = True
    await eventually(tail.is_away)
    await eventually(lambda: "ringback-leads" in health.not_ready.get("tail", ""))
    cluster.coordinator_away = False
    await eventually(lambda: complete(tail, 0))


async def test_replies_that_the_topic_no_longer_keeps_do_not_leave_the_tail_waiting_for_them(
    cluster: Cluster, tail: KafkaTail
) -> None:
    await eventually(lambda: complete(tail, 0))
    cluster.leaderless = {NAMES[0]}
    await eventually(lambda: not complete(tail, 0))
    cluster.reply(0, "deleted")
    cluster.begin[NAMES[0]] = 1
    cluster.leaderless = set()
    await eventually(partial(complete, tail, 0))


async def test_topic_that_was_made_anew_is_read_again_from_its_beginning(cluster: Cluster, tail: KafkaTail) -> None:
    for n in range(5):
        cluster.reply(0, f"before-{n}")
    await eventually(lambda: len(tail.of(caller_of(0)).replies) == 5)
    cluster.records[NAMES[0]] = [(caller_of(0), "after")]
    await eventually(lambda: "after" in tail.of(caller_of(0)).replies)


@pytest.mark.parametrize("committed", [None, 5], ids=["offsets gone too", "old offsets still told"])
async def test_reply_in_a_topic_that_was_made_anew_is_kept_whatever_leads_had_committed_in_the_old_one(
    cluster: Cluster, tail: KafkaTail, committed: int | None
) -> None:
    """What the leads group had finished of the old topic says nothing of the new one, and the reply may be a STOP."""
    for n in range(5):
        cluster.reply(0, f"before-{n}")
    cluster.applied[NAMES[0]] = 5
    await eventually(lambda: complete(tail, 0))
    await asked_again(cluster, 2)
    cluster.records[NAMES[0]] = [(caller_of(0), "after")]
    if committed is None:
        del cluster.applied[NAMES[0]]
    await eventually(lambda: "after" in tail.of(caller_of(0)).replies)
    await asked_again(cluster, 4)
    assert tail.of(caller_of(0)).replies == {"after"}
    assert complete(tail, 0)
    cluster.reply(0, "later")
    cluster.applied[NAMES[0]] = 1
    await eventually(lambda: tail.of(caller_of(0)).replies == {"later"})
