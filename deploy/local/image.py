"""A Kafka broker from a container image, for machines without Java: the last of the ways to have one."""

import os
import shutil
import subprocess
from pathlib import Path

from deploy.local.process import StartError, free_port, listens
from services.runtime.clock import monotonic_s

IMAGE = "apache/kafka:4.1.0"
START_LIMIT_S = 120.0


class ImageKafka:
    """One broker in a container, with its own layout's defaults; removed when stopped."""

    def __init__(self, folder: Path) -> None:
        self._image = os.environ.get("RINGBACK_KAFKA_IMAGE", IMAGE)
        self._name = f"ringback-kafka-{os.getpid()}"
        self.port = free_port()
        self.folder = folder
        self.description = f"image {self._image}"

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run the container and wait until clients can connect.

        Raises:
            StartError: no engine, no image, or the broker does not come up.
        """
        if not shutil.which("docker"):
            raise StartError("there is no docker command")
        settings = {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": f"PLAINTEXT://:{self.port},CONTROLLER://:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{self.port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        }
        env = [part for key, value in settings.items() for part in ("-e", f"{key}={value}")]
        command = [
            "docker",
            "run",
            "-d",
            "--rm",
            "--name",
            self._name,
            "-p",
            f"127.0.0.1:{self.port}:{self.port}",
            *env,
        ]
        done = subprocess.run([*command, self._image], capture_output=True)
        if done.returncode:
            raise StartError(done.stderr.decode(errors="replace").strip()[-500:])
        until = monotonic_s() + START_LIMIT_S
        while not self._started():
            if monotonic_s() > until:
                self.stop()
                raise StartError(f"{self._image} is not ready after {START_LIMIT_S:.0f} s")

    def _started(self) -> bool:
        logs = subprocess.run(["docker", "logs", self._name], capture_output=True)
        return b"Kafka Server started" in logs.stdout + logs.stderr and listens(self.port)

    def stop(self) -> None:
        """Remove the container."""
        subprocess.run(["docker", "rm", "-f", self._name], capture_output=True)
