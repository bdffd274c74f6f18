"""The notifier's connections as one part of the service: started first, stopped last."""

from collections.abc import Sequence
from typing import Final

from schemas.inbound import ReceiptReceived, ReplyReceived
from schemas.topics import Topic
from schemas.touches import TouchDue, TouchResult
from services.notifier.adapters.store import DeliveryStore
from services.notifier.adapters.twilio import TextProvider
from services.runtime.producer import KafkaProducer
from services.runtime.service import Resource
from services.runtime.topics_admin import check_topics

TOPICS: Final = tuple(data.TOPIC for data in (TouchDue, TouchResult, ReceiptReceived, ReplyReceived))


class Connections(Resource):
    """MongoDB, the provider and the producer."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        provider: TextProvider,
        producer: KafkaProducer,
        servers: str,
        topics: Sequence[Topic],
        key_check: str,
    ) -> None:
        self._store, self._provider, self._producer = store, provider, producer
        self._servers, self._topics, self._key_check = servers, topics, key_check

    async def start(self) -> None:
        """Connect; refuse topics that differ from the code, and a number key that is not this deployment's."""
        await check_topics(self._servers, self._topics)
        await self._store.start(self._key_check)
        await self._provider.start()
        await self._producer.start()

    async def stop(self) -> None:
        """Close the connections; MongoDB's last, because everything is saved there."""
        await self._provider.stop()
        await self._producer.stop()
        await self._store.stop()
