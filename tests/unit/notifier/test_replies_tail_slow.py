"""The tail of `replies` while Kafka is slow, and with what nobody can read: it never knows less than it says."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.notifier.adapters import replies_tail
from services.notifier.adapters.replies_tail import KafkaTail
from services.runtime.health import Health
from tests.infra.polling import eventually
from tests.unit.notifier.test_replies_tail import NAMES, PARTITIONS, Cluster, caller_of

FRESH_S = 0.2


@dataclass
class SlowCluster(Cluster):
    """A topic whose ends take their time to be told, and whose records can be kept from being read."""

    answer_s: float = 0.0
    ends_asked: int = 0
    answers: int = 0
    unreadable: bool = False
    kept_back: int = 0
    without_ids: bool = False

    async def of(
        self, partitions: Collection[TopicPartition], limit_s: float = 1.0
    ) -> Mapping[TopicPartition, int | None]:
        self.ends_asked += 1
        await asyncio.sleep(self.answer_s)
        self.answers += 1
        return await super().of(partitions, limit_s)

    async def getmany(self, *, timeout_ms: int) -> Any:
        if self.unreadable:
            await asyncio.sleep(0.005)
            self.kept_back += 1
            return {}
        found = await super().getmany(timeout_ms=timeout_ms)
        if self.without_ids:
            return {name: [replace(record, headers=()) for record in records] for name, records in found.items()}
        return found


@asynccontextmanager
async def tail_of(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KafkaTail]:
    for name, value in (("FRESH_S", FRESH_S), ("CHECK_EVERY_S", 0.01), ("APPLIED_EVERY_S", 0.05)):
        monkeypatch.setattr(replies_tail, name, value)
    made = KafkaTail(
        consumer=cluster, offsets=cluster, group="ringback-leads", partitions=PARTITIONS, health=Health(not_ready={})
    )
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_answer_that_took_longer_than_a_second_makes_nothing_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A STOP may have come since the question: what counts is when it was asked."""
    cluster = SlowCluster(answer_s=FRESH_S * 1.5)
    async with tail_of(cluster, monkeypatch) as tail:
        looks = 0
        while cluster.answers < 3:
            assert tail.is_away()
            looks += 1
            await asyncio.sleep(0.002)
        assert looks > 10


async def test_topic_that_was_made_anew_is_not_complete_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends before what was read of the old one: that much of it is not read yet, and may be a STOP."""
    cluster = SlowCluster()
    for n in range(5):
        cluster.reply(0, f"before-{n}")
    async with tail_of(cluster, monkeypatch) as tail:
        await eventually(lambda: tail.of(caller_of(0)).complete, why="the topic is read")
        cluster.unreadable = True
        await eventually(lambda: cluster.kept_back > 1, why="no read is under way any more")
        cluster.records[NAMES[0]] = [(caller_of(0), "stop")]
        await eventually(lambda: not tail.of(caller_of(0)).complete, why="what is new is not read")
        assert "stop" not in tail.of(caller_of(0)).replies
        assert tail.of(caller_of(1)).complete
        cluster.unreadable = False
        await eventually(lambda: tail.of(caller_of(0)).complete, why="it is read")
        assert "stop" in tail.of(caller_of(0)).replies


async def test_reply_without_an_id_counts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can read it, and the leads service will never have seen it; it may be a STOP."""
    cluster = SlowCluster(without_ids=True)
    cluster.reply(0, "whatever it says")
    async with tail_of(cluster, monkeypatch) as tail:
        await eventually(lambda: tail.of(caller_of(0)).replies == {"0:0"}, why="it is known by where it stands")


async def test_reply_that_leads_has_finished_is_forgotten_though_its_partition_has_not_said_its_new_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a busy partition what is read, and what leads has finished, is always past the end that was told last."""
    cluster = SlowCluster()
    async with tail_of(cluster, monkeypatch) as tail:
        await eventually(lambda: tail.of(caller_of(0)).complete, why="the topic, still empty, is read")
        cluster.answer_s, asked = 60.0, cluster.ends_asked
        await eventually(lambda: cluster.ends_asked > asked, why="the ends are asked for, and not told")
        cluster.reply(0, "a")
        await eventually(lambda: tail.of(caller_of(0)).replies == {"a"}, why="it is read")
        cluster.applied[NAMES[0]] = 1
        await eventually(
            lambda: not tail.of(caller_of(0)).replies, timeout_s=3, why="the leads service has finished it"
        )
