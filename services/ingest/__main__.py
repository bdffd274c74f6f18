"""Starts ingest: settings, adapters, shell, run."""

from services.ingest.adapters.drain import SpoolDrain
from services.ingest.adapters.kafka import WRITES, KafkaPart, Outlet
from services.ingest.adapters.spool import Spool
from services.ingest.adapters.twilio import TwilioSignatures, Twiml
from services.ingest.adapters.unsafe import Unsafe
from services.ingest.domain.lender import Lender
from services.ingest.settings import IngestSettings
from services.ingest.shell import Ingest
from services.ingest.web.app import WebhookServer, make_app
from services.runtime import service
from services.runtime.health import Health
from services.runtime.lender_file import directory_or_exit
from services.runtime.producer import KafkaProducer


async def main() -> int:
    """Run ingest until it is told to stop."""
    settings = IngestSettings.load_or_exit()
    clock = settings.make_clock()
    directory = directory_or_exit(settings.directory, clock.now())
    health = Health()
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, client_id=f"ringback-ingest-{settings.instance}"
    )
    folder = settings.spool_folder
    spool = (
        Spool(folder=folder, max_bytes=settings.spool_max_bytes, partitions=settings.topic_partitions, clock=clock)
        if folder
        else None
    )
    outlet = Outlet(producer=producer, health=health, limit_s=settings.ack_limit_s, spool=spool)
    unsafe = Unsafe(outlet=outlet, health=health, partitions=settings.topic_partitions)
    ingest = Ingest(
        lender=Lender(directory, settings.test_callers),
        clock=clock,
        unsafe=unsafe,
        signatures=None
        if settings.insecure_webhooks
        else TwilioSignatures(settings.public_base_url, settings.twilio_tokens),
        account_sid=settings.twilio_account_sid,
        twiml=Twiml(settings.public_base_url, settings.twilio_retry, directory.name),
        secrets=(settings.webhook_secret.get_secret_value(),) if settings.webhook_secret else (),
    )
    health.idle_checks += [ingest.busy, unsafe.busy]
    server = WebhookServer(make_app(ingest), settings.ingest_host, settings.ingest_port)
    kafka = KafkaPart(
        producer=producer,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        health=health,
        topics=settings.topics(*WRITES),
        outlet=outlet,
        spool=spool,
    )
    parts: list[service.Part] = [kafka, unsafe, server]
    if spool is not None:
        health.idle_checks.append(spool.busy)
        drain = SpoolDrain(spool=spool, producer=producer, outlet=outlet, health=health)
        parts = [spool, kafka, drain, unsafe, server]
    return await service.run("ingest", settings, health, parts)


if __name__ == "__main__":
    service.main(main())
