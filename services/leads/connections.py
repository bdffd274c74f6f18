"""The connections of leads as one part of the service: first up, last down."""

from services.leads.adapters.mongo import Mongo
from services.leads.assignment import Assigner
from services.leads.errors import KeyDiffers
from services.policy.suppression import key_check
from services.runtime.producer import KafkaProducer
from services.runtime.service import Resource


class Connections(Resource):
    """MongoDB with its indexes, its officers and the right number key; and the producer."""

    def __init__(self, store: Mongo, assigning: Assigner, producer: KafkaProducer, number_key: str) -> None:
        self._store, self._assigning, self._producer, self._number_key = store, assigning, producer, number_key

    async def start(self) -> None:
        """Connect and get everything in place.

        Raises:
            KeyDiffers: the number key is not the deployment's; with it no opt-out would be found.
        """
        await self._store.start()
        if not await self._store.check_key(key_check(self._number_key)):
            raise KeyDiffers("RINGBACK_NUMBER_KEY differs from the key that `suppressions` were written with")
        await self._assigning.seed()
        await self._producer.start()

    async def stop(self) -> None:
        """Let go, the producer first: nothing is emitted any more."""
        await self._producer.stop()
        await self._store.stop()
