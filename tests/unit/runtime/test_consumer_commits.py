"""What the loop owes a partition: its commit is repeated until it is kept, and once it is gone nothing more is done to it."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import RequestTimedOutError

from services.runtime import pauses
from tests.infra.polling import eventually
from tests.unit.runtime.build import TOPIC, FakeLetters, PickyProducer, Record, Rig, record

P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


async def test_commit_that_failed_for_a_reason_that_passes_is_repeated_without_another_event() -> None:
    async with Rig.of() as rig:
        rig.kafka.commit_errors = [RequestTimedOutError(), RequestTimedOutError()]
        rig.kafka.put(record(0))
        await eventually(lambda: rig.kafka.kept == {P0: 1}, why="the offset is committed at last")
        assert rig.handler.seen == ["0"]


async def test_event_whose_partition_goes_before_it_is_known_whether_it_stands_becomes_no_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has the partition now handles it: a dead letter of ours would be a second one, or past its pause."""
    monkeypatch.setattr(pauses, "RETRY_S", 0.01)
    letters = FakeLetters(PickyProducer())
    letters.away = True
    async with Rig.of(partitions=2, letters=letters) as rig:
        rig.kafka.put(Record(0), record(0, partition=1))
        await eventually(lambda: rig.kafka.kept == {P1: 1}, why="the other partition goes on")
        await eventually(lambda: "dead letters it" in rig.health.not_ready, why="the bad event waits")
        await rig.revoke([P0])
        assert letters.producer.records == []
        assert rig.kafka.kept == {P1: 1}
        assert rig.task is not None
        assert not rig.task.done()
