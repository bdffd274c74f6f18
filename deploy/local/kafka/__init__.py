"""One Apache Kafka broker in KRaft mode, from the jars that Maven resolves."""

import base64
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

from deploy.local.process import LocalServer, StartError, free_ports, listens

POM = Path(__file__).with_name("pom.xml")
LOGGING = POM.with_name("log4j2.properties")
DEFAULT_STATE = Path(".ringback")
KAFKA_VERSION = re.findall(r"<version>([\d.]+\.[\d.]+)</version>", POM.read_text())[0]
JAVA_NEEDED = 17
CLUSTER_ID = "UmluZ2JhY2stbG9jYWwtMQ"
HEAP = "-Xmx512m"
STARTED = b"Kafka Server started"
"""What a node logs once it has started."""

Say = Callable[[str], None]

PROPERTIES = """\
process.roles={roles}
node.id={node_id}
controller.quorum.voters={voter}@127.0.0.1:{controller}
listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=12
auto.create.topics.enable=false
offsets.topic.num.partitions=8
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.threads=1
num.network.threads=2
num.io.threads=4
controlled.shutdown.enable=true
"""


def java_version() -> int | None:
    """Return the major version of the `java` on PATH, None when there is none."""
    if not shutil.which("java"):
        return None
    said = subprocess.run(["java", "-version"], capture_output=True).stderr.decode(errors="replace")
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None


def java_missing(*, maven: bool = True) -> str | None:
    """Return the command that installs what is missing, or None when Java 17 (and Maven, if it is needed) are here."""
    wanted = ["openjdk-17-jre-headless"] if (java_version() or 0) < JAVA_NEEDED else []
    wanted += ["maven"] if maven and not shutil.which("mvn") else []
    return f"apt-get install -y {' '.join(wanted)}" if wanted else None


def ensure_java(say: Say = print, *, maven: bool = True) -> None:
    """Have Java 17 and Maven: as root on Debian install them, saying so.

    Raises:
        StartError: they are missing and cannot be installed here; the message is the command to run.
    """
    command = java_missing(maven=maven)
    if command is None:
        return
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        raise StartError(f"Kafka needs Java {JAVA_NEEDED} and Maven. Run: sudo {command}")
    say(f"Java {JAVA_NEEDED} or Maven is missing; installing: {command}")
    for step in ("apt-get update -q", f"{command} -q"):
        done = subprocess.run(
            step.split(), env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, capture_output=True
        )
        if done.returncode:
            raise StartError(f"`{step}` failed:\n{done.stderr.decode(errors='replace')[-2000:]}")


def ensure_jars(state: Path = DEFAULT_STATE, say: Say = print) -> Path:
    """Return the folder of Kafka's jars, resolving them the first time (54 MB); safe with several processes at once.

    Raises:
        StartError: Java or Maven is missing, or Maven cannot resolve the jars.
    """
    target = (state / f"kafka-{KAFKA_VERSION}").absolute()
    state.mkdir(parents=True, exist_ok=True)
    with (state / "kafka-libs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = target.exists()  # whole, if at all: it got its name when it was complete
        ensure_java(say, maven=not there)
        if not there:
            say("resolving Apache Kafka's jars with Maven (54 MB, once)")
            with tempfile.TemporaryDirectory(dir=state, prefix="kafka-") as fresh:
                libs = Path(fresh).absolute() / "libs"
                done = subprocess.run(
                    [
                        "mvn",
                        "-q",
                        "-B",
                        "-f",
                        str(POM),
                        "dependency:copy-dependencies",
                        "-DincludeScope=runtime",
                        f"-DoutputDirectory={libs}",
                    ],
                    capture_output=True,
                )
                if done.returncode:
                    raise StartError(
                        f"Maven could not resolve Kafka's jars:\n{done.stdout.decode(errors='replace')[-2000:]}"
                    )
                libs.rename(target)
    return target


def ensure_formatted(libs: Path, state: Path, folder: Path, properties: Path, node_id: int = 1) -> None:
    """Make a node's data folder, when it is not there yet.

    What formatting writes depends on Kafka's version alone, but for two ids, and costs a start of Java: it is done once
    and then copied.

    Raises:
        StartError: Kafka's own tool refuses.
    """
    if (folder / "meta.properties").exists():
        return
    formatted = state.absolute() / f"{libs.name}-formatted"
    if formatted.exists():  # whole, if at all
        shutil.copytree(formatted, folder)
        _name_node(folder / "meta.properties", node_id)
        return
    done = subprocess.run(
        [*java_command(libs), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)],
        capture_output=True,
    )
    if done.returncode:
        raise StartError(f"cannot format Kafka's folder:\n{done.stderr.decode(errors='replace')[-2000:]}")
    with tempfile.TemporaryDirectory(dir=state, prefix="kafka-") as fresh:
        copied = Path(fresh) / "data"
        shutil.copytree(folder, copied)
        with contextlib.suppress(OSError):  # another process was quicker
            copied.rename(formatted)


def _name_node(meta: Path, node_id: int) -> None:
    """Give a copied data folder ids of its own: a cluster refuses two folders of one id."""
    directory = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    text = re.sub(r"(?m)^node\.id=.*$", f"node.id={node_id}", meta.read_text())
    meta.write_text(re.sub(r"(?m)^directory\.id=.*$", f"directory.id={directory}", text))


def java_command(libs: Path) -> list[str]:
    """Return how Java is called for one of Kafka's programs; its name and arguments come after."""
    logging = f"-Dlog4j2.configurationFile={LOGGING}"
    return ["java", HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", logging, "-cp", f"{libs}/*"]


class LocalKafka(LocalServer):
    """One broker on 127.0.0.1; its data, settings and log in `folder`.

    Args:
        folder: made when missing; data in it are used again.
        port: 0 picks a free one, and keeps it over `restart`.
        state: where the jars are cached.
        detached: the broker outlives this process.
        say: called with a line for each thing that is downloaded or installed.
    """

    description = f"Apache Kafka {KAFKA_VERSION} (one KRaft broker, from Maven jars)"

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        state: Path = DEFAULT_STATE,
        detached: bool = False,
        say: Say = lambda _: None,
    ) -> None:
        free, self._controller = free_ports(2)
        super().__init__(folder, port or free, detached=detached)
        self._state, self._say = state, say
        self._log, self._seen = self.folder / "kafka.log", 0

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def _prepared(self) -> tuple[str, Sequence[str], Path]:
        libs = ensure_jars(self._state, self._say)
        self.folder.mkdir(parents=True, exist_ok=True)
        properties, data = self.folder / "server.properties", self.folder / "data"
        properties.write_text(
            PROPERTIES.format(
                roles="broker,controller",
                node_id=1,
                voter=1,
                controller=self._controller,
                listeners=f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller}",
                data=data,
                copies=1,
            )
        )
        ensure_formatted(libs, self._state, data, properties)
        self._seen = self._log.stat().st_size if self._log.exists() else 0
        return "Kafka", [*java_command(libs), "kafka.Kafka", str(properties)], self._log

    def _ready(self) -> bool:
        return STARTED in after(self._log, self._seen) and listens(self.port)


def after(log: Path, position: int) -> bytes:
    """Return what was written to a log from a position on."""
    with log.open("rb") as read:
        read.seek(position)
        return read.read()
