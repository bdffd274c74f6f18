"""A bad deploy on a real Kafka: its partition stands in every life until `ringback dlq resume`; dead letters are replayed."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from schemas.base import EventData
from schemas.envelope import Event, Wire
from schemas.inbound import ReplyLookedAt
from schemas.topics import BY_NAME
from services.cli.app import run
from services.runtime import pauses
from services.runtime.consumer import ConsumerLoop
from services.runtime.errors import PermanentError
from services.runtime.handled import APPLIED, Handled, ignored
from services.runtime.health import Health
from services.runtime.letter_count import DEAD_LETTER_FREE
from services.runtime.producer import KafkaProducer
from tests.infra.polling import eventually
from tests.infra.providers import Kafka
from tests.infra.topics import empty_topics
from tests.unit.runtime.build import TOPIC, record

LOGGED = re.compile(r"\d{4}-\d\d-\d\d .*\[(info|warning|error) ")
"""A log line; without a service's set-up structlog writes to where the commands print."""


class Handler:
    """Applies events once it is fixed."""

    def __init__(self, *, fixed: bool = False) -> None:
        self.fixed, self.applied = fixed, list[str]()

    async def __call__(self, event: Event[EventData]) -> Handled:
        """Handle one event."""
        if isinstance(event.data, ReplyLookedAt):
            return ignored("not_for_us")
        if not self.fixed:
            raise PermanentError("a bad deploy")
        self.applied.append(event.id)
        return APPLIED


@asynccontextmanager
async def life(kafka: Kafka, handler: Handler, producer: KafkaProducer) -> AsyncIterator[Health]:
    """Run one life of a consumer."""
    health = Health(not_ready={})
    loop = ConsumerLoop(
        topics=[TOPIC],
        group="it-dlq",
        bootstrap_servers=kafka.bootstrap_servers,
        handler=handler,
        producer=producer,
        health=health,
    )
    await loop.start()
    running = asyncio.create_task(loop.run())
    try:
        yield health
    finally:
        await loop.stop()
        await running


async def test_partition_stands_in_every_life_until_it_is_resumed_and_its_dead_letters_are_replayed(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setattr(pauses, "LOOK_S", 0.2)

    async def ringback(*args: str) -> list[str]:
        assert await asyncio.to_thread(run, list(args)) == 0, capsys.readouterr().err
        return [line for line in capsys.readouterr().out.splitlines() if not LOGGED.match(line)]

    def stands(health: Health) -> bool:
        return "ringback dlq resume" in health.not_ready.get("dead letters it-dlq", "")

    await empty_topics(kafka.bootstrap_servers, topics=[BY_NAME[TOPIC], BY_NAME[f"{TOPIC}.dlq"]])
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, client_id="it")
    await producer.start()
    try:
        sent = [record(n) for n in range(DEAD_LETTER_FREE + 5)]
        await producer.send_wire(
            *(Wire(topic=TOPIC, key=one.key or b"", value=one.value or b"", headers=list(one.headers)) for one in sent)
        )
        for _ in range(3):
            async with life(kafka, Handler(), producer) as health:
                await eventually(partial(stands, health), timeout_s=30)
        standing, *letters = await ringback("dlq", "list", TOPIC)
        assert len(letters) == DEAD_LETTER_FREE
        where = standing.split("]")[0].split("[")[1]
        assert standing.startswith(f"{TOPIC}[{where}] of it-dlq stands at {DEAD_LETTER_FREE}")
        fixed = Handler(fixed=True)
        async with life(kafka, fixed, producer) as health:
            await eventually(lambda: stands(health), timeout_s=30)
            assert fixed.applied == []
            await ringback("dlq", "resume", TOPIC, where)
            await eventually(lambda: len(fixed.applied) == 5 and not stands(health), timeout_s=30)
            places = [line.split()[0] for line in letters]
            assert await ringback("dlq", "drop", places[0]) == ["dropped 1"]
            assert await ringback("dlq", "replay", *places[1:]) == [f"replayed {DEAD_LETTER_FREE - 1}"]
            await eventually(lambda: len(fixed.applied) == DEAD_LETTER_FREE + 4, timeout_s=30)
        assert await ringback("dlq", "list", TOPIC) == ["no dead letters, and no partition stands"]
        assert set(fixed.applied) == {f"twilio:SM{n}" for n in range(1, DEAD_LETTER_FREE + 5)}
    finally:
        await producer.stop()
