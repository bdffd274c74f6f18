"""The consumer loop over a Kafka client in memory: order, commits, pauses, rebalances, readiness."""

import asyncio
from functools import partial

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, KafkaConnectionError
from prometheus_client import REGISTRY

from services.runtime import consumer, pauses
from services.runtime.dead_letter_topics import RESUMED, Note
from services.runtime.errors import ProcessMustEnd, TransientError
from services.runtime.health import Health
from services.runtime.letter_count import DEAD_LETTER_FREE
from services.runtime.stopping import CLOSE_LIMIT_S, EVENTS_LIMIT_S
from tests.infra.polling import eventually
from tests.unit.runtime.build import TOPIC, FakeLetters, PickyProducer, Record, Rig, Script, fails, record

P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


async def test_events_of_a_partition_are_handled_in_order_and_then_committed() -> None:
    async with Rig.of() as rig:
        rig.kafka.put(*(record(n) for n in range(5)))
        await eventually(lambda: rig.kafka.kept == {P0: 5})
    assert rig.handler.seen == ["0", "1", "2", "3", "4"]


async def test_dependency_away_nothing_is_committed_past_the_event_and_other_partitions_go_on() -> None:
    script = Script({"1": fails(TransientError("MongoDB is away"))})
    async with Rig.of(partitions=2, handler=script) as rig:
        rig.kafka.put(record(0), record(1), record(2), record(0, partition=1))
        await eventually(lambda: rig.kafka.kept == {P0: 1, P1: 1})
        await eventually(lambda: rig.health.not_ready == {"dependency it": f"MongoDB is away ({TOPIC}[0] waiting)"})
        del script.answers["1"]
        await eventually(lambda: rig.kafka.kept == {P0: 3, P1: 1})
        assert rig.health.not_ready == {}


async def test_stopping_finishes_the_event_in_hand_commits_it_and_leaves() -> None:
    rig = Rig.of()
    async with rig:
        rig.handler.gate.clear()
        rig.kafka.put(record(0), record(1))
        await eventually(lambda: rig.handler.seen == ["0"])
    assert rig.handler.seen == ["0"]
    assert rig.kafka.kept == {P0: 1}
    assert rig.kafka.stopped


async def test_partition_taken_away_what_is_in_hand_is_committed_and_what_waits_is_left() -> None:
    async with Rig.of(partitions=2) as rig:
        rig.handler.gate.clear()
        rig.kafka.put(record(0), record(1))
        await eventually(lambda: rig.handler.seen == ["0"])
        revoking = asyncio.create_task(rig.revoke([P0]))
        await asyncio.sleep(0)  # it has begun
        rig.handler.gate.set()
        await asyncio.wait_for(revoking, 5)
        assert rig.kafka.kept == {P0: 1}
        assert rig.handler.seen == ["0"]


async def test_commit_refused_since_a_partition_has_moved_the_others_are_committed_next() -> None:
    async with Rig.of(partitions=2) as rig:
        rig.handler.gate.clear()
        rig.kafka.put(record(0), record(0, partition=1))
        await eventually(lambda: rig.handler.seen == ["0", "0"])
        rig.kafka.mine = {P1}
        rig.kafka.commit_errors = [CommitFailedError("moved")]
        rig.handler.gate.set()
        await eventually(lambda: rig.kafka.kept == {P1: 1})
        assert rig.kafka.commit_errors == []


async def test_kafka_away_the_loop_says_so_under_its_group_and_goes_on() -> None:
    health = Health(not_ready={})
    async with Rig.of(group="a", health=health) as a, Rig.of(group="b", health=health) as b:
        await eventually(lambda: health.not_ready == {})
        a.kafka.poll_errors = [KafkaConnectionError("away")] * 2
        await eventually(lambda: set(health.not_ready) == {"kafka a"})
        b.kafka.put(record(0))
        await eventually(lambda: b.kafka.kept == {P0: 1})
        await eventually(lambda: health.not_ready == {})
        a.kafka.put(record(0))
        await eventually(lambda: a.kafka.kept == {P0: 1})


async def test_kafka_refuses_the_group_the_service_ends() -> None:
    rig = Rig.of()
    async with rig:
        rig.kafka.poll_errors = [GroupAuthorizationFailedError("it")]
        assert rig.task is not None
        with pytest.raises(GroupAuthorizationFailedError):
            await asyncio.wait_for(rig.task, 5)


async def test_event_that_only_another_process_can_finish_ends_the_service_uncommitted() -> None:
    async with Rig.of(handler=Script({"1": fails(ProcessMustEnd("the producer has ended"))})) as rig:
        rig.kafka.put(record(0), record(1), record(2))
        assert rig.task is not None
        with pytest.raises(ProcessMustEnd):
            await asyncio.wait_for(rig.task, 5)
    assert rig.kafka.kept == {P0: 1}
    assert rig.handler.seen == ["0", "1"]


async def test_partition_with_many_records_in_hand_is_paused_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "QUEUE_LIMIT", 4)
    async with Rig.of() as rig:
        rig.handler.gate.clear()
        rig.kafka.put(*(record(n) for n in range(10)))
        await eventually(lambda: rig.kafka.paused == {P0})
        rig.handler.gate.set()
        await eventually(lambda: rig.kafka.paused == set())
        await eventually(lambda: rig.kafka.kept == {P0: 10})


async def test_undecodable_record_is_committed_past_once_its_dead_letter_is_written() -> None:
    async with Rig.of() as rig:
        rig.kafka.put(Record(0), record(1))
        await eventually(lambda: rig.kafka.kept == {P0: 2})
        assert [wire.topic for wire in rig.producer.records] == [f"{TOPIC}.dlq"]


async def test_idle_only_when_every_event_of_its_partitions_is_finished() -> None:
    async with Rig.of() as rig:
        assert await rig.health.busy_with() == []
        rig.handler.gate.clear()
        rig.kafka.put(record(0))
        await eventually(lambda: rig.handler.seen == ["0"])
        assert await rig.health.busy_with() == ["events in hand"]
        rig.handler.gate.set()
        await eventually(lambda: rig.kafka.kept == {P0: 1})
        assert await rig.health.busy_with() == []


async def test_record_at_the_broker_that_was_not_fetched_yet_is_work_left() -> None:
    async with Rig.of() as rig:
        rig.kafka.ends[P0] = 3
        assert await rig.health.busy_with() == [f"3 events in {TOPIC}[0]"]
        assert not await rig.loop.caught_up(TOPIC, limit_s=0.05)


async def test_caught_up_waits_for_events_that_stood_there_when_asked() -> None:
    async with Rig.of() as rig:
        rig.handler.gate.clear()
        rig.kafka.put(record(0))
        asking = asyncio.create_task(rig.loop.caught_up(TOPIC, limit_s=5))
        await eventually(lambda: rig.handler.seen == ["0"])
        assert not asking.done()
        rig.handler.gate.set()
        assert await asking


async def test_caught_up_is_false_without_partitions_of_the_topic() -> None:
    async with Rig.of() as rig:
        assert not await rig.loop.caught_up("call-events", limit_s=0.05)


async def test_caught_up_per_partition_leaves_out_only_the_one_without_a_leader() -> None:
    async with Rig.of(partitions=2) as rig:
        rig.kafka.leaderless = {P0}
        assert await rig.loop.caught_up_in(TOPIC, limit_s=0.5) == {P1}
        assert not await rig.loop.caught_up(TOPIC, limit_s=0.5)
        assert await rig.health.busy_with() == [f"not known where {TOPIC}[0] ends"]


async def test_caught_up_per_partition_leaves_out_only_the_one_whose_event_waits() -> None:
    async with Rig.of(partitions=2, handler=Script({"0": fails(TransientError("MongoDB is away"))})) as rig:
        rig.kafka.put(record(0), record(1, partition=1))
        await eventually(lambda: P1 in rig.kafka.kept)
        assert await rig.loop.caught_up_in(TOPIC, limit_s=0.1) == {P1}


async def test_first_event_waits_the_lag_counts_it_and_those_behind_it() -> None:
    """It used to be 0 until the first event was finished."""
    async with Rig.of(group="lag", handler=Script({"5": fails(TransientError("MongoDB is away"))})) as rig:
        rig.kafka.put(*(record(n) for n in range(5, 8)))
        labels = {"topic": TOPIC, "group": "lag"}
        await eventually(lambda: REGISTRY.get_sample_value("ringback_consumer_lag_records", labels) == 3)


def letters_of(rig: Rig) -> list[str]:
    """Return the kinds of what stands in the dead-letter topic."""
    return [dict(wire.headers).get("ce_type", b"letter").decode() for wire in rig.producer.records]


async def test_too_many_dead_letters_pause_the_partition_the_others_go_on_and_the_process_stays_up() -> None:
    async with Rig.of(partitions=2) as rig:
        rig.kafka.put(*(Record(n) for n in range(DEAD_LETTER_FREE + 5)), record(0, partition=1))
        await eventually(lambda: rig.kafka.kept == {P0: DEAD_LETTER_FREE, P1: 1})
        await eventually(lambda: "dead letters it" in rig.health.not_ready)
        assert "ringback dlq resume replies 0" in rig.health.not_ready["dead letters it"]
        rig.kafka.put(record(1, partition=1))
        await eventually(lambda: rig.kafka.kept == {P0: DEAD_LETTER_FREE, P1: 2})
        assert letters_of(rig) == ["letter"] * DEAD_LETTER_FREE + ["dlq.paused"]
        assert rig.task is not None
        assert not rig.task.done()


async def test_paused_partition_makes_no_dead_letter_in_another_life_or_after_a_rebalance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The count used to begin at 0 in each life: 200 of 200 events became dead letters in ten of them."""
    monkeypatch.setattr(pauses, "LOOK_S", 0.01)
    bad = [Record(n) for n in range(DEAD_LETTER_FREE + 5)]
    producer = PickyProducer()
    async with Rig.of(letters=FakeLetters(producer)) as first:
        first.kafka.put(*bad)
        await eventually(lambda: "dlq.paused" in letters_of(first))
    async with Rig.of(letters=FakeLetters(producer)) as second:
        second.kafka.put(*bad[DEAD_LETTER_FREE:])
        await eventually(lambda: "dead letters it" in second.health.not_ready)
        await asyncio.wait_for(second.revoke([P0]), 5)
        assert second.health.not_ready.get("dead letters it") is None
        second.kafka.mine = {P0}
        await second.loop.on_partitions_assigned([P0])
        second.kafka.put(*bad[DEAD_LETTER_FREE:])
        await eventually(lambda: "dead letters it" in second.health.not_ready)
        assert second.kafka.kept == {}
        assert letters_of(second) == ["letter"] * DEAD_LETTER_FREE + ["dlq.paused"]
        await producer.send_wire(Note(kind=RESUMED, topic=TOPIC, partition=0, offset=DEAD_LETTER_FREE).wire())
        await eventually(lambda: second.kafka.kept == {P0: DEAD_LETTER_FREE + 5})
        assert letters_of(second)[-5:] == ["letter"] * 5
        assert second.health.not_ready.get("dead letters it") is None


def has_committed(rig: Rig, offset: int) -> bool:
    return rig.kafka.kept == {P0: offset}


async def test_lives_killed_below_the_cap_count_on_and_not_anew() -> None:
    """What counts are the group's own dead letters in `<topic>.dlq`, by the offsets of their events."""
    producer, offset = PickyProducer(), 0
    for _ in range(4):
        async with Rig.of(letters=FakeLetters(producer)) as rig:
            rig.kafka.put(*(Record(offset + n) for n in range(DEAD_LETTER_FREE // 4)))
            offset += DEAD_LETTER_FREE // 4
            await eventually(partial(has_committed, rig, offset))
    async with Rig.of(letters=FakeLetters(producer), group="another") as other:
        other.kafka.put(Record(offset))
        await eventually(partial(has_committed, other, offset + 1))
    async with Rig.of(letters=FakeLetters(producer)) as last:
        last.kafka.put(Record(offset))
        await eventually(lambda: "dead letters it" in last.health.not_ready)
        assert letters_of(last) == ["letter"] * (DEAD_LETTER_FREE + 1) + ["dlq.paused"]


async def test_pauses_cannot_be_read_good_events_are_handled_and_a_bad_one_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pauses, "RETRY_S", 0.01)
    letters = FakeLetters(PickyProducer())
    letters.away = True
    async with Rig.of(letters=letters) as rig:
        rig.kafka.put(record(0), Record(1), record(2))
        await eventually(lambda: rig.kafka.kept == {P0: 1})
        await eventually(lambda: "dead letters it" in rig.health.not_ready)
        assert letters.producer.records == []
        letters.away = False
        await eventually(lambda: rig.kafka.kept == {P0: 3})
        assert len(letters.producer.records) == 1


async def test_partition_whose_event_waits_is_taken_away_the_service_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving up the event looked like a part that had ended, if a commit took its time just then: the service ended."""
    monkeypatch.setattr(consumer, "EVENTS_LIMIT_S", 0.01)
    monkeypatch.setattr(consumer, "COMMIT_EVERY_S", 60.0)
    async with Rig.of(partitions=2, handler=Script({"0": fails(TransientError("away"))})) as rig:
        rig.kafka.commit_takes_s = 0.05
        await eventually(lambda: rig.health.not_ready == {})
        rig.kafka.put(record(0), record(1, partition=1))
        await eventually(lambda: "1" in rig.handler.seen and "dependency it" in rig.health.not_ready)
        rig.kafka.put(record(2, partition=1))
        await eventually(lambda: "2" in rig.handler.seen)
        await rig.revoke([P0])
        rig.kafka.put(record(3, partition=1))
        await eventually(lambda: "3" in rig.handler.seen)
        assert rig.task is not None
        assert not rig.task.done()


async def test_partition_whose_event_waits_is_taken_away_it_is_given_up_at_its_next_try() -> None:
    """The whole group waited for it, ten seconds at each rebalance."""
    async with Rig.of(handler=Script({"0": fails(TransientError("away"))})) as rig:
        rig.kafka.put(record(0))
        await eventually(lambda: "dependency it" in rig.health.not_ready)
        async with asyncio.timeout(EVENTS_LIMIT_S / 2):
            await rig.revoke([P0])
        assert rig.health.not_ready.get("dependency it") is None
        assert rig.kafka.kept == {}


def test_group_waits_longer_for_an_instance_than_it_takes_to_hand_in_its_partitions() -> None:
    """Else the broker drops it for its stuck event, over and over, and gives all its partitions to the others."""
    takes_s = EVENTS_LIMIT_S + 3 * CLOSE_LIMIT_S  # the events, what is cancelled, and two commits
    assert Rig.of().kafka.settings["rebalance_timeout_ms"] >= 2_000 * takes_s


async def test_commit_that_is_never_answered_keeps_a_stopping_loop_no_longer_than_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With Kafka away the client asks for the group's coordinator for good."""
    monkeypatch.setattr(consumer, "CLOSE_LIMIT_S", 0.05)
    monkeypatch.setattr(consumer, "COMMIT_EVERY_S", 60.0)
    async with Rig.of() as rig:
        rig.kafka.commit_takes_s = 3600.0
        rig.kafka.put(record(0))
        await eventually(lambda: rig.kafka.commits_begun == 1)
        rig.kafka.put(record(1))
        await eventually(lambda: "1" in rig.handler.seen)
        async with asyncio.timeout(5):
            await rig.loop.stop()
        assert rig.kafka.stopped
        assert rig.kafka.kept == {}
