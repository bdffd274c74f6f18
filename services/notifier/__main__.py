"""`python -m services.notifier`."""

from functools import partial

from schemas.base import EventData
from schemas.envelope import Event
from schemas.inbound import ReceiptReceived
from schemas.touches import TouchDue
from services.notifier.adapters.mongo import MongoDeliveries
from services.notifier.adapters.replies_tail import KafkaTail, replies_consumer
from services.notifier.adapters.twilio import TwilioProvider
from services.notifier.budget import Budget
from services.notifier.connections import TOPICS, Connections
from services.notifier.dispatcher import Dispatcher, DoubtSweep, OutboxSweep
from services.notifier.results import DeliveryResults
from services.notifier.settings import NotifierSettings
from services.notifier.shell import Shell
from services.policy.suppression import key_check
from services.runtime import service
from services.runtime.consumer import ConsumerLoop
from services.runtime.handled import Handled
from services.runtime.health import Health
from services.runtime.lender_file import directory_or_exit
from services.runtime.offsets import Ends
from services.runtime.partitions import partition_of
from services.runtime.producer import KafkaProducer


async def notify(settings: NotifierSettings) -> int:
    """Run the notifier until it is told to stop; return its exit code."""
    servers, health, clock = settings.kafka_bootstrap_servers, Health(), settings.make_clock()
    # Read before a Kafka client is made, which would complain that nobody closed it.
    directory = directory_or_exit(settings.directory, clock.now())
    key = settings.number_key.get_secret_value()
    store = MongoDeliveries(settings.mongodb_url.get_secret_value(), settings.mongodb_database)
    provider = TwilioProvider(
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token.get_secret_value(),
        base_url=settings.twilio_base_url,
    )
    producer = KafkaProducer(bootstrap_servers=servers, client_id=f"notifier-{settings.instance}")
    tail = KafkaTail(
        consumer=replies_consumer(servers),
        offsets=Ends(servers),
        group=settings.group("leads"),
        partitions=settings.topic_partitions,
        health=health,
    )
    shell = Shell(
        store=store,
        provider=provider,
        results=DeliveryResults(store=store, producer=producer, directory=directory, clock=clock, health=health),
        tail=tail,
        budget=Budget(store, directory, clock, settings.segments_per_second),
        directory=directory,
        clock=clock,
        health=health,
        number_key=key,
        public_base_url=settings.public_base_url.rstrip("/"),
        twilio_retry=settings.twilio_retry,
        instance=settings.instance,
    )
    dispatcher = Dispatcher(shell, settings.senders)

    async def on_touch(event: Event[EventData]) -> Handled:
        return await shell.on_touch(event, dispatcher)

    touches, receipts = (
        ConsumerLoop(
            topics=[topic],
            group=settings.group(group),
            bootstrap_servers=servers,
            handler=handler,
            producer=producer,
            health=health,
            instance=settings.instance,
        )
        for topic, group, handler in (
            (TouchDue.TOPIC, "notifier", on_touch),
            (ReceiptReceived.TOPIC, "notifier-receipts", shell.on_receipt),
        )
    )
    parts: list[service.Part] = [
        Connections(
            store=store,
            provider=provider,
            producer=producer,
            servers=servers,
            topics=settings.topics(*TOPICS),
            key_check=key_check(key),
        ),
        tail,
        OutboxSweep(shell, partial(partition_of, partitions=settings.topic_partitions)),
        DoubtSweep(shell, settings.doubt_wait_s),
        touches,
        receipts,
        dispatcher,  # the last is stopped first: what is being sent needs its time, and all the parts above
    ]
    return await service.run("notifier", settings, health, parts)


if __name__ == "__main__":
    service.main(notify(NotifierSettings.load_or_exit()))
