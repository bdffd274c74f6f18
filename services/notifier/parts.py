"""The notifier's connections as one part of the service: first up, last down."""

from services.notifier.adapters.mongo import Store
from services.notifier.adapters.twilio import TextProvider
from services.runtime.kafka import KafkaProducer
from services.runtime.service import Resource


class Connections(Resource):
    """MongoDB, the provider and the producer."""

    def __init__(self, store: Store, provider: TextProvider, producer: KafkaProducer, key_check: str) -> None:
        self._store, self._provider, self._producer, self._key_check = store, provider, producer, key_check

    async def start(self) -> None:
        """Connect; refuse a number key that is not the deployment's."""
        await self._store.start(self._key_check)
        await self._provider.start()
        await self._producer.start()

    async def stop(self) -> None:
        """Let go, the producer last: results may still be on their way."""
        await self._provider.stop()
        await self._producer.stop()
        await self._store.stop()
