"""`python -m services.leads`."""

from functools import partial

from schemas.calls import CallFact
from schemas.inbound import ReplyReceived
from schemas.leads import LeadEvent
from schemas.touches import TouchResult
from services.leads.adapters.fact_offsets import KafkaFactOffsets
from services.leads.adapters.mongo import MongoLeads
from services.leads.assignment import Assigner
from services.leads.connections import Connections
from services.leads.departures import Departures
from services.leads.outages import Outages
from services.leads.rounds import Settler, Sweeper, Undecided, busy_with
from services.leads.settings import LeadsSettings
from services.leads.shell import Shell
from services.leads.unread import Unread
from services.runtime import service
from services.runtime.consumer import ConsumerLoop
from services.runtime.health import Health
from services.runtime.lender_file import directory_or_exit
from services.runtime.offsets import Ends
from services.runtime.partitions import partition_of
from services.runtime.producer import KafkaProducer

TOPICS = (CallFact.TOPIC, ReplyReceived.TOPIC, TouchResult.TOPIC)


async def run_leads(settings: LeadsSettings) -> int:
    """Run the leads service until it is told to stop; return its exit code."""
    servers, health, clock = settings.kafka_bootstrap_servers, Health(), settings.make_clock()
    key, directory = settings.number_key.get_secret_value(), directory_or_exit(settings.directory, clock.now())
    store = MongoLeads(settings.mongodb_url.get_secret_value(), settings.mongodb_database)
    producer = KafkaProducer(bootstrap_servers=servers, client_id=f"leads-{settings.instance}")
    partitions = settings.topic_partitions
    shell = Shell(
        store=store,
        producer=producer,
        directory=directory,
        clock=clock,
        number_key=key,
        partition_of=partial(partition_of, partitions=partitions),
    )
    loop = ConsumerLoop(
        topics=TOPICS,
        group=settings.group("leads"),
        bootstrap_servers=servers,
        handler=shell.handle,
        before_dead_letter=Unread(store, clock, key).before_dead_letter,
        producer=producer,
        health=health,
        instance=settings.instance,
    )
    reading = KafkaFactOffsets(loop=loop, ends=Ends(servers), group=settings.group("leads"), partitions=partitions)
    health.idle_checks.append(partial(busy_with, store))
    connections = Connections(
        store=store,
        assigner=Assigner(store, directory),
        producer=producer,
        number_key=key,
        servers=servers,
        topics=settings.topics(*TOPICS, LeadEvent.TOPIC),
    )
    outages = Outages(clock=clock, health=health, reading=reading)
    parts: list[service.Part] = [
        connections,
        reading,
        loop,
        outages,
        Settler(store=store, shell=shell, clock=clock, health=health, reading=reading, outages=outages),
        Undecided(store=store, shell=shell, clock=clock, health=health, reading=reading),
        Sweeper(store=store, shell=shell, clock=clock, health=health, reading=reading),
        Departures(
            store=store,
            shell=shell,
            clock=clock,
            health=health,
            lender_id=directory.lender_id,
            present=[person.id for person in directory.officers],
        ),
    ]
    return await service.run("leads", settings, health, parts)


if __name__ == "__main__":
    service.main(run_leads(LeadsSettings.load_or_exit()))
