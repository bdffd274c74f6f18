"""One record to its end: applied, ignored, dead-lettered, or tried again while a dependency is away."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from services.runtime.errors import PermanentError, ProcessMustEnd, TransientError
from services.runtime.event_runner import BeforeDeadLetter, EventRunner
from services.runtime.handled import APPLIED, DEAD_LETTERED, Handled, ignored
from services.runtime.health import Health
from services.runtime.letter_count import DEAD_LETTER_FREE
from services.runtime.pauses import Pauses
from services.runtime.producer_errors import RecordRefused
from tests.infra.polling import eventually
from tests.unit.runtime.build import TOPIC, FakeLetters, PickyProducer, Record, Script, fails, record


def runner_of(
    group: str,
    script: Script,
    producer: PickyProducer,
    health: Health,
    before_dead_letter: BeforeDeadLetter | None = None,
) -> EventRunner:
    """Return a runner of some partitions, of which none stands."""
    pauses = Pauses(group, FakeLetters(producer), health)
    pauses.assigned((TOPIC, partition) for partition in range(4))
    return EventRunner(
        group=group,
        handler=script,
        producer=producer,
        health=health,
        pauses=pauses,
        before_dead_letter=before_dead_letter,
    )


def made(script: Script, producer: PickyProducer | None = None) -> tuple[EventRunner, PickyProducer, Health]:
    producer, health = producer or PickyProducer(), Health(not_ready={})
    return runner_of("it", script, producer, health), producer, health


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_event_ignored_its_reason_is_counted() -> None:
    runner, _, _ = made(Script({"1": lambda: ignored("duplicate")}))
    before = sample("ringback_events_ignored_total", topic=TOPIC, why="duplicate")
    assert await runner.finish(record(1)) == ignored("duplicate")
    assert sample("ringback_events_ignored_total", topic=TOPIC, why="duplicate") == before + 1


@pytest.mark.parametrize("error", [PermanentError("no such wording"), ZeroDivisionError("a defect")])
async def test_event_that_can_never_be_handled_becomes_a_dead_letter_with_its_bytes_and_the_reason(
    error: Exception,
) -> None:
    runner, producer, health = made(Script({"7": fails(error)}))
    bad = replace(record(7), partition=3)
    assert await runner.finish(bad) == DEAD_LETTERED
    (letter,) = producer.records
    headers = dict(letter.headers)
    assert (letter.topic, letter.key, letter.value) == (f"{TOPIC}.dlq", bad.key, bad.value)
    assert headers["dlq_reason"] == f"{type(error).__name__}: {error}".encode()
    assert (headers["dlq_topic"], headers["dlq_partition"], headers["dlq_offset"]) == (TOPIC.encode(), b"3", b"7")
    assert (headers["dlq_attempts"], headers["dlq_group"]) == (b"1", b"it")
    assert headers["ce_id"] == b"twilio:SM7"
    assert health.not_ready == {}


async def test_record_that_cannot_be_decoded_becomes_a_dead_letter_without_being_handled() -> None:
    script = Script()
    runner, producer, _ = made(script)
    assert await runner.finish(Record(0)) == DEAD_LETTERED
    assert script.seen == []
    assert producer.records[0].value == b"not JSON"


async def test_event_of_a_type_that_only_a_newer_version_knows_is_ignored_and_counted() -> None:
    """A rolling upgrade used to fill the dead-letter topic and stop the older instances."""
    script = Script()
    runner, producer, _ = made(script)
    known = record(1)
    headers = [(name, b"reply.reconsidered" if name == "ce_type" else value) for name, value in known.headers]
    before = sample("ringback_events_ignored_total", topic=TOPIC, why="unknown_type")
    for offset in range(DEAD_LETTER_FREE + 5):
        assert await runner.finish(replace(known, offset=offset, headers=headers)) == ignored("unknown_type")
    assert sample("ringback_events_ignored_total", topic=TOPIC, why="unknown_type") == before + DEAD_LETTER_FREE + 5
    assert (script.seen, producer.records) == ([], [])


async def test_dependency_away_the_event_is_tried_again_until_it_is_applied() -> None:
    script = Script({"1": fails(TransientError("MongoDB is away"), times=2)})
    runner, producer, health = made(script)
    running = asyncio.create_task(runner.finish(record(1)))
    await eventually(lambda: health.not_ready == {"dependency it": f"MongoDB is away ({TOPIC}[0] waiting)"})
    assert await asyncio.wait_for(running, 5) == APPLIED
    assert script.seen == ["1", "1", "1"]
    assert health.not_ready == {}
    assert producer.records == []


async def test_partition_that_works_again_does_not_hide_one_that_still_waits() -> None:
    health = Health(not_ready={})
    gate = asyncio.Event()

    def second() -> Handled:
        if not gate.is_set():
            raise TransientError("partition 1 waits")
        return APPLIED

    script = Script({"1": fails(TransientError("partition 0 waits"), times=1), "2": second})
    runner = runner_of("it", script, PickyProducer(), health)
    waiting = asyncio.create_task(runner.finish(record(2, partition=1)))
    await eventually(lambda: "dependency it" in health.not_ready)
    assert await runner.finish(record(1, partition=0)) == APPLIED
    assert health.not_ready == {"dependency it": f"partition 1 waits ({TOPIC}[1] waiting)"}
    gate.set()
    assert await asyncio.wait_for(waiting, 10) == APPLIED
    assert health.not_ready == {}


async def test_two_groups_of_one_service_do_not_clear_each_others_readiness() -> None:
    """The notifier reads touches and receipts as two groups."""
    health = Health(not_ready={})
    touches = runner_of("touches", Script({"1": fails(TransientError("away"))}), PickyProducer(), health)
    for_a_moment = Script({"2": fails(TransientError("for a moment"), 1)})
    receipts = runner_of("receipts", for_a_moment, PickyProducer(), health)
    waiting = asyncio.create_task(touches.finish(record(1)))
    await eventually(lambda: "dependency touches" in health.not_ready)
    assert await receipts.finish(record(2)) == APPLIED
    assert health.not_ready == {"dependency touches": f"away ({TOPIC}[0] waiting)"}
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_stopping_while_a_dependency_is_away_leaves_the_event_unfinished() -> None:
    runner, _, _ = made(Script({"1": fails(TransientError("away"))}))
    runner.stop()
    with pytest.raises(TransientError, match="away"):
        await runner.finish(record(1))


async def test_kafka_away_the_dead_letter_waits_for_it() -> None:
    refusals = [TransientError("Kafka is away")]
    producer = PickyProducer(refuse=lambda wire: refusals.pop() if refusals else None)
    runner, _, health = made(Script(), producer)
    assert await asyncio.wait_for(runner.finish(Record(0)), 5) == DEAD_LETTERED
    assert len(producer.records) == 1
    assert health.not_ready == {}


async def test_dead_letter_too_large_with_its_headers_is_written_without_the_value() -> None:
    """The record itself just fits; its dead letter does not, and must not keep the partition from going on."""
    producer = PickyProducer(refuse=lambda wire: RecordRefused("too large") if wire.value else None)
    runner, _, _ = made(Script(), producer)
    assert await runner.finish(Record(4, value=b"x" * 100)) == DEAD_LETTERED
    (letter,) = producer.records
    headers = dict(letter.headers)
    assert letter.value == b""
    assert (headers["dlq_value_left_out"], headers["dlq_offset"]) == (b"100", b"4")


async def test_dead_letter_that_can_never_be_written_ends_the_service_instead_of_losing_the_record() -> None:
    runner, _, _ = made(Script(), PickyProducer(refuse=lambda wire: RecordRefused("no such topic")))
    with pytest.raises(ProcessMustEnd, match="no such topic"):
        await runner.finish(Record(0))


async def test_error_that_only_another_process_survives_is_let_out_at_once() -> None:
    script = Script({"1": fails(ProcessMustEnd("the producer has ended"))})
    runner, producer, _ = made(script)
    with pytest.raises(ProcessMustEnd):
        await runner.finish(record(1))
    assert script.seen == ["1"]
    assert producer.records == []


@pytest.mark.parametrize("error", [TransientError("MongoDB is away"), ZeroDivisionError("a defect")])
async def test_what_must_stand_before_a_dead_letter_fails_the_dead_letter_waits_for_it(error: Exception) -> None:
    told: list[tuple[int, str]] = []
    fail = [error, error]

    async def before(found: object, why: Exception) -> None:
        if fail:
            raise fail.pop()
        assert producer.records == []
        told.append((getattr(found, "offset", -1), str(why)))

    producer, health = PickyProducer(), Health(not_ready={})
    runner = runner_of("it", Script({"7": fails(PermanentError("no"))}), producer, health, before)
    running = asyncio.create_task(runner.finish(record(7)))
    await eventually(lambda: "dependency it" in health.not_ready)
    assert producer.records == []
    assert await asyncio.wait_for(running, 10) == DEAD_LETTERED
    assert told == [(7, "no")]
    assert len(producer.records) == 1
    assert health.not_ready == {}
