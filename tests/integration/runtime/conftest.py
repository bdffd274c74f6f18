"""Two brokers that tests of the runtime may break, and put right again before they end."""

from collections.abc import Iterator

import pytest

from deploy.local.kafka.cluster import LocalCluster
from deploy.local.system import fresh_name
from schemas.topics import Topic, dead_letter_topic
from services.runtime.topics_admin import create_topics

PARTITIONS = 6


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two brokers and what leaves a single partition without a leader."""
    with LocalCluster(tmp_path_factory.mktemp("cluster"), brokers=2) as started:
        yield started


@pytest.fixture
async def topic(cluster: LocalCluster) -> str:
    """A topic on both brokers, with its dead letters."""
    name = f"it-{fresh_name()}"
    topics = [Topic(name, partitions=PARTITIONS), Topic(dead_letter_topic(name), partitions=1)]
    await create_topics(cluster.bootstrap_servers, 2, topics)
    return name
