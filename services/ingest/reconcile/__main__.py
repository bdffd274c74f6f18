"""`python -m services.ingest.reconcile`."""

from services.ingest.adapters.kafka import WRITES
from services.ingest.adapters.known import KafkaEvents
from services.ingest.adapters.twilio_lists import TwilioLists
from services.ingest.domain.lender import Lender
from services.ingest.reconcile.passes import Passes
from services.ingest.settings import ReconcilerSettings
from services.runtime import service
from services.runtime.health import Health
from services.runtime.lender_file import directory_or_exit
from services.runtime.producer import KafkaProducer
from services.runtime.topics_admin import check_topics


class KafkaConnection(service.Resource):
    """The producer, once the topics are as they should be."""

    def __init__(self, producer: KafkaProducer, settings: ReconcilerSettings) -> None:
        self._producer, self._settings = producer, settings

    async def start(self) -> None:
        """Check the topics and connect."""
        await check_topics(self._settings.kafka_bootstrap_servers, self._settings.topics(*WRITES))
        await self._producer.start()

    async def stop(self) -> None:
        """Leave."""
        await self._producer.stop()


async def main() -> int:
    """Run the reconciler until it is told to stop."""
    settings = ReconcilerSettings.load_or_exit()
    clock, health = settings.make_clock(), Health()
    directory = directory_or_exit(settings.directory, clock.now())
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, client_id=f"ringback-reconciler-{settings.instance}"
    )
    lists = TwilioLists(
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token.get_secret_value(),
        base_url=settings.twilio_base_url,
    )
    passes = Passes(
        lists=lists,
        known=KafkaEvents(settings.kafka_bootstrap_servers, settings.topics(*WRITES)),
        producer=producer,
        lender=Lender(directory, settings.test_callers),
        clock=clock,
        health=health,
        folder=settings.spool_dir,
    )
    return await service.run("reconciler", settings, health, [KafkaConnection(producer, settings), lists, passes])


if __name__ == "__main__":
    service.main(main())
