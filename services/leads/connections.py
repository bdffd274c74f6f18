"""The connections of the leads service as one part of it: started first, stopped last."""

from collections.abc import Sequence

from schemas.topics import Topic
from services.leads.adapters.mongo import MongoLeads
from services.leads.assignment import Assigner
from services.leads.errors import KeyDiffers
from services.policy.suppression import key_check
from services.runtime.producer import KafkaProducer
from services.runtime.service import Resource
from services.runtime.topics_admin import check_topics


class Connections(Resource):
    """MongoDB with its indexes, its officers and the right number key; and the producer."""

    def __init__(
        self,
        *,
        store: MongoLeads,
        assigner: Assigner,
        producer: KafkaProducer,
        number_key: str,
        servers: str,
        topics: Sequence[Topic],
    ) -> None:
        self._store, self._assigner, self._producer, self._number_key = store, assigner, producer, number_key
        self._servers, self._topics = servers, topics

    async def start(self) -> None:
        """Check the topics, connect, make the indexes, check the key, and store the directory's officers.

        Raises:
            TopicsDiffer: the broker's topics are not what this version needs.
            KeyDiffers: the number key is not the deployment's; with it no opt-out would be found.
        """
        await check_topics(self._servers, self._topics)
        await self._store.start()
        if not await self._store.check_key(key_check(self._number_key)):
            raise KeyDiffers("RINGBACK_NUMBER_KEY differs from the key that `suppressions` were written with")
        await self._assigner.seed()
        await self._producer.start()

    async def stop(self) -> None:
        """Close the connections, the producer first: from then on nothing is emitted."""
        await self._producer.stop()
        await self._store.stop()
