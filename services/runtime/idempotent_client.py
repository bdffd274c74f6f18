"""aiokafka's idempotent producer as we need it: its batches never expire, and it can be closed while Kafka is away.

The client numbers a batch before it sends it. If it then fails the batch as expired, because its partition has had no leader
for a while, the number is never sent, and the broker refuses every later record of that partition: for good. So no batch
may expire. Our own time-out protects whoever waits.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka

from services.runtime import pins
from services.runtime.errors import PermanentError
from services.runtime.stopping import CLOSE_LIMIT_S

log = structlog.get_logger(__name__)

VERSIONS: Final[Mapping[str, str]] = {"aiokafka": "0.14.0"}
SOURCES: Final[Mapping[str, str]] = {
    "aiokafka.producer.message_accumulator:MessageBatch.expired": "3b28f15f56f2acb1",
    "aiokafka.producer.message_accumulator:MessageBatch.failure": "719b2122c318e955",
    "aiokafka.producer.message_accumulator:MessageAccumulator.__init__": "eb57f3c1d5c7657b",
    "aiokafka.producer.message_accumulator:MessageAccumulator._append_batch": "4762abfc42cbaa15",
    "aiokafka.producer.message_accumulator:MessageAccumulator.drain_by_nodes": "fc995afbfc5718e2",
    "aiokafka.producer.message_accumulator:MessageAccumulator.fail_all": "f1e12e8100bfcb8c",
    "aiokafka.producer.producer:AIOKafkaProducer.stop": "43ef97147111893b",
    "aiokafka.producer.sender:SendProduceReqHandler": "708c9da866caf440",
    "aiokafka.producer.sender:Sender._sender_routine": "2380dc5e333d9ebd",
    "aiokafka.client:AIOKafkaClient.close": "02119d4d618ae493",
}
"""What `never_expire`, `has_ended` and `abandon` rely on. On a new version read these again, run the integration tests of
the runtime, then print the new table with `python -m services.runtime.idempotent_client`."""


class UntestedClient(PermanentError):
    """The installed aiokafka is not what this was tested against; nothing was started."""


def check_pins() -> None:
    """Return only if the client is what was tested.

    Raises:
        UntestedClient: names everything that differs.
    """
    if wrong := pins.differences(VERSIONS, SOURCES):
        raise UntestedClient("sending was not tested against this installation: " + "; ".join(wrong))


def never_expire(client: AIOKafkaProducer) -> None:
    """Make every batch of a client wait for its partition, however long; before its first send."""
    client._message_accumulator._batch_ttl = math.inf


def has_ended(client: AIOKafkaProducer) -> bool:
    """Return whether the client's background task, which sends, is gone: it will send nothing any more."""
    task = client._sender.sender_task
    return task is not None and bool(task.done())


def fail_pending(client: AIOKafkaProducer) -> None:
    """Fail everything that waits in a client; what is on its way may still arrive."""
    client._message_accumulator.fail_all(kafka.ProducerClosed())


async def abandon(client: AIOKafkaProducer) -> None:
    """Close a client within `CLOSE_LIMIT_S`; what waits in it fails and is not sent."""
    client._closed = True
    fail_pending(client)
    sender = client._sender.sender_task
    if sender is not None:
        sender.cancel()
    try:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await client.client.close()
            if sender is not None:
                await asyncio.wait([sender])
    except (kafka.KafkaError, OSError, TimeoutError) as error:
        log.warning("producer_not_closed", why=repr(error))
        if sender is not None:
            sender.cancel()  # once more: it may be waiting for a request in hand


if __name__ == "__main__":
    for listed in SOURCES:
        print(f'    "{listed}": "{pins.source_hash(listed)}",')
