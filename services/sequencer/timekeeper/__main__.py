"""`python -m services.sequencer.timekeeper`."""

from schemas.touches import TimerDue, TimerSet
from services.runtime import service
from services.runtime.consumer import ConsumerLoop
from services.runtime.health import Health
from services.runtime.producer import KafkaProducer
from services.runtime.topics_admin import check_topics
from services.sequencer.adapters.mongo import MongoTimers
from services.sequencer.adapters.store import TimerStore
from services.sequencer.settings import TimekeeperSettings
from services.sequencer.timekeeper.keeper import Keeper


class Connections(service.Resource):
    """MongoDB and the producer: there before the parts that use them, and gone after."""

    def __init__(self, store: TimerStore, producer: KafkaProducer, settings: TimekeeperSettings) -> None:
        self._store, self._producer, self._settings = store, producer, settings

    async def start(self) -> None:
        """Connect; refuse topics that differ from the code."""
        topics = self._settings.topics(TimerSet.TOPIC, TimerDue.TOPIC)
        await check_topics(self._settings.kafka_bootstrap_servers, topics)
        await self._store.start()
        await self._producer.start()

    async def stop(self) -> None:
        """Let go."""
        await self._producer.stop()
        await self._store.stop()


async def keep_time(settings: TimekeeperSettings) -> int:
    """Run the timekeeper until it is told to stop; return its exit code."""
    servers, health = settings.kafka_bootstrap_servers, Health()
    store = MongoTimers(settings.mongodb_url.get_secret_value(), settings.mongodb_database)
    producer = KafkaProducer(bootstrap_servers=servers, client_id=f"timekeeper-{settings.instance}")
    keeper = Keeper(
        store=store, producer=producer, clock=settings.make_clock(), health=health, partitions=settings.topic_partitions
    )
    loop = ConsumerLoop(
        topics=[TimerSet.TOPIC],
        group=settings.group("timekeeper"),
        bootstrap_servers=servers,
        handler=keeper.take,
        producer=producer,
        health=health,
        instance=settings.instance,
    )
    parts: list[service.Part] = [Connections(store, producer, settings), keeper, loop]
    return await service.run("timekeeper", settings, health, parts)


if __name__ == "__main__":
    service.main(keep_time(TimekeeperSettings.load_or_exit()))
