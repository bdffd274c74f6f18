"""Before the first send: the client is one that was tested, and none of its batches ever expires."""

import math

import pytest

from schemas.envelope import Wire
from services.runtime import idempotent_client
from services.runtime.idempotent_client import UntestedClient
from services.runtime.producer import KafkaProducer
from tests.unit.runtime.test_producer import Client


async def test_producer_on_a_client_that_was_not_tested_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Client()
    monkeypatch.setattr(idempotent_client, "VERSIONS", {"aiokafka": "0.0.0"})
    with pytest.raises(UntestedClient, match="aiokafka"):
        await KafkaProducer(bootstrap_servers="127.0.0.1:1", client_id="test", make_producer=made).start()
    assert made.made == []


async def test_client_whose_partition_has_no_leader_lets_no_batch_expire() -> None:
    """A numbered batch that expires leaves a gap, and its partition refuses all that follow."""
    made = Client()
    producer = KafkaProducer(bootstrap_servers="127.0.0.1:1", client_id="test", make_producer=made)
    await producer.start()
    await producer.send_wire(Wire(topic="replies", key=b"k", value=b"v", headers=[]))
    [client] = made.made
    assert getattr(client._message_accumulator, "_batch_ttl", 0) == math.inf
    await producer.stop()
