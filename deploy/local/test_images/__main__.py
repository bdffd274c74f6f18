"""`python -m deploy.local.test_images`: make both test images in the engine that answers."""

import sys
import tempfile
from pathlib import Path

from deploy.local.kafka import LOGGING, ensure_jars
from deploy.local.mongo import find_mongod
from deploy.local.process import StartError
from deploy.local.test_images.rootfs import Rootfs

KAFKA = "ringback-test/kafka:local"
MONGODB = "ringback-test/mongodb:local"
HERE = Path(__file__).parent
NOT_NEEDED = ("jmods", "man", "legal", "docs", "include", "src.zip", "ct.sym")
COMMANDS = {"kafka-topics": "TopicCommand", "kafka-broker-api-versions": "BrokerApiVersionsCommand"}


def kafka() -> None:
    """Make an image in apache/kafka's layout."""
    libs = ensure_jars()
    with tempfile.TemporaryDirectory() as folder:
        root = Rootfs(Path(folder))
        root.tree(Rootfs.found("java").resolve().parents[1], "/opt/java", without=NOT_NEEDED)
        root.tree(libs, "/opt/kafka/libs")
        root.text("/opt/kafka/log4j2.properties", LOGGING.read_text())
        root.text("/etc/kafka/docker/run", (HERE / "kafka-run.sh").read_text(), run=True)
        for name, tool in COMMANDS.items():
            java = f"exec java -cp '/opt/kafka/libs/*' org.apache.kafka.tools.{tool}"
            root.text(f"/opt/kafka/bin/{name}.sh", f'#!/bin/bash\n{java} "$@"\n', run=True)
        path = "ENV PATH=/opt/java/bin:/usr/bin:/bin"
        root.image(KAFKA, path, 'CMD ["/etc/kafka/docker/run"]', "EXPOSE 9092")


def mongodb() -> None:
    """Make an image whose entry point takes mongo's commands."""
    mongod, _ = find_mongod()
    with tempfile.TemporaryDirectory() as folder:
        root = Rootfs(Path(folder))
        root.programs([mongod])
        root.text("/entrypoint.sh", (HERE / "mongodb-entrypoint.sh").read_text(), run=True)
        root.image(MONGODB, "ENV PATH=/usr/bin:/bin", 'ENTRYPOINT ["/entrypoint.sh"]', 'CMD ["mongod"]', "EXPOSE 27017")


if __name__ == "__main__":
    try:
        kafka()
        mongodb()
    except StartError as error:
        sys.exit(str(error))
    print(f"export RINGBACK_KAFKA_IMAGE={KAFKA} RINGBACK_MONGODB_IMAGE={MONGODB}")
