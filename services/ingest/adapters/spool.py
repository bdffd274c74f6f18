"""The spool: events that Kafka has not taken, fsynced, in order, on a disk that outlives the process.

One file per lane, a lane being a topic and a partition: `<topic>.<partition>.spool`, records behind each other. Everything
that touches the disk runs, in order, in one thread; appends that come together share one fsync. A lane that Kafka has taken
whole becomes an empty file: a crash before that sends its events again, under the same ids.
"""

import asyncio
import contextlib
import fcntl
import json
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.envelope import Wire
from services.ingest import metrics
from services.ingest.adapters.spool_records import HEAD, pack, records_in, unpack
from services.ingest.errors import SpoolInUse, SpoolRefuses
from services.runtime import logs
from services.runtime.clock import Clock, monotonic_s
from services.runtime.partitions import partition_of
from services.runtime.service import Resource

log = logs.get(__name__)

LOCK_LIMIT_S: Final = 10.0
"""How long a starting ingest waits for the one before it to let the folder go."""
REFUSED: Final = "refused.jsonl"
"""Where records go that Kafka will never take: they are kept for people."""


@dataclass(eq=False)
class Lane:
    """The events of one partition that wait for Kafka.

    Attributes:
        topic: where they go.
        path: the file.
        head: bytes at its beginning that Kafka has taken.
        size: bytes in it that are safe; what lies behind them is none of ours.
        appending: events on their way to the disk.
        times: when each safe event that Kafka has not taken came, real seconds since 1970.
        is_stuck: whether Kafka did not take the last that was offered.
    """

    topic: str
    path: Path
    head: int = 0
    size: int = 0
    appending: int = 0
    times: deque[float] = field(default_factory=deque)
    is_stuck: bool = False
    fd: int = -1

    @property
    def has_entries(self) -> bool:
        """Whether a new event of this lane must go behind others."""
        return self.appending > 0 or self.head < self.size

    def open(self) -> int:
        """Return the file's descriptor; a new file's name is safe before anything is written to it."""
        if self.fd < 0:
            is_new = not self.path.exists()
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if is_new:
                _sync_folder(self.path.parent)
        return self.fd


@dataclass(frozen=True, slots=True)
class Batch:
    """Records from the head of a lane, and where the next one begins."""

    records: tuple[bytes, ...]
    wires: tuple[Wire, ...]
    end: int


@dataclass(slots=True)
class _Append:
    lane: Lane
    record: bytes
    at: float
    safe: asyncio.Future[None]


class Spool(Resource):
    """All lanes of one instance of ingest.

    Args:
        folder: this instance's alone; it is locked.
        max_bytes: what all files together may hold.
        partitions: of each topic.
        clock: whose real time is an entry's age.
        lock_limit_s: how long to wait for the process before this one to let the folder go.
    """

    def __init__(
        self, *, folder: Path, max_bytes: int, partitions: int, clock: Clock, lock_limit_s: float = LOCK_LIMIT_S
    ) -> None:
        self._lock_limit_s = lock_limit_s
        self._folder, self._max_bytes, self._partitions, self._clock = folder, max_bytes, partitions, clock
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._appends: list[_Append] = []
        self._appending_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._lock = -1

    async def start(self) -> None:
        """Lock the folder and read what is there; a record that the last process could not finish is cut off.

        Raises:
            SpoolInUse: another process has it.
            SpoolRefuses: the folder cannot be used.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            until = monotonic_s() + self._lock_limit_s
            while not _is_locked(self._lock):
                if monotonic_s() > until:
                    raise SpoolInUse(
                        f"another ingest uses the spool {self._folder}; give each its own RINGBACK_INSTANCE"
                    )
                await asyncio.sleep(0.1)
            await asyncio.get_running_loop().run_in_executor(self._disk, self._read_all)
        except OSError as error:
            raise SpoolRefuses("unwritable", f"the spool {self._folder}: {error.strerror}") from error
        metrics.follow_spool(self)

    async def stop(self) -> None:
        """Finish the appends in hand and let the folder go."""
        if self._writer is not None:
            await self._writer
        self._disk.shutdown(wait=False)
        for lane in self._lanes.values():
            if lane.fd >= 0:
                os.close(lane.fd)
        if self._lock >= 0:
            os.close(self._lock)

    @property
    def lanes(self) -> list[Lane]:
        """The lanes with entries, those of replies first."""
        found = [lane for lane in self._lanes.values() if lane.has_entries]
        return sorted(found, key=lambda lane: lane.topic != "replies")

    @property
    def size_bytes(self) -> int:
        """What the files hold, and what is on its way to them."""
        return sum(lane.size for lane in self._lanes.values()) + self._appending_bytes

    def depth(self, topic: str) -> int:
        """Return how many events of a topic are safe here and not in Kafka."""
        return sum(len(lane.times) for lane in self._lanes.values() if lane.topic == topic)

    def oldest_s(self, topic: str) -> float:
        """Return how long the oldest of them has waited; 0 when there is none."""
        oldest = min(
            (lane.times[0] for lane in self._lanes.values() if lane.topic == topic and lane.times), default=None
        )
        return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    async def busy(self) -> str | None:
        """Return what waits, or None."""
        waiting = sum(len(lane.times) + lane.appending for lane in self._lanes.values())
        return f"{waiting} events in the spool" if waiting else None

    def lane(self, topic: str, key: bytes) -> Lane:
        """Return the lane of a key: its partition is the one that the producer chooses."""
        partition = partition_of(key, self._partitions)
        found = self._lanes.get((topic, partition))
        return found if found is not None else self._new_lane(topic, partition)

    def _new_lane(self, topic: str, partition: int) -> Lane:
        lane = Lane(topic=topic, path=self._folder / f"{topic}.{partition}.spool")
        self._lanes[topic, partition] = lane
        return lane

    def put(self, wire: Wire) -> asyncio.Future[None]:
        """Take an event behind all that were put before; the future is done once it is safe.

        The future fails with SpoolRefuses when there is no room, or the disk does not take it.
        """
        lane, at = self.lane(wire.topic, wire.key), self._now()
        record = pack(wire, at)
        safe: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        safe.add_done_callback(_notice)
        if self.size_bytes + len(record) > self._max_bytes:
            safe.set_exception(SpoolRefuses("full", f"the spool holds RINGBACK_SPOOL_MAX_BYTES ({self._max_bytes})"))
            return safe
        lane.appending += 1
        self._appending_bytes += len(record)
        self._appends.append(_Append(lane, record, at, safe))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        return safe

    async def probe(self) -> None:
        """Return when the spool would take an event.

        Raises:
            SpoolRefuses: it would not.
        """
        if self.size_bytes >= self._max_bytes * 0.95:
            raise SpoolRefuses("full", f"the spool holds RINGBACK_SPOOL_MAX_BYTES ({self._max_bytes})")
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, _probe, self._folder)
        except OSError as error:
            raise SpoolRefuses("unwritable", f"the spool {self._folder}: {error.strerror}") from error

    async def read(self, lane: Lane, most: int) -> Batch:
        """Return up to `most` records from a lane's head; empty when the head cannot be read any more.

        The file of a lane whose head is damaged is renamed, for people, and the lane begins anew.
        """
        batch = await asyncio.get_running_loop().run_in_executor(self._disk, _read, lane, most)
        if not batch.wires and lane.head < lane.size:
            log.error("spool_damaged", file=str(lane.path), at=lane.head)
            metrics.SPOOL_DAMAGED.inc()
            await asyncio.get_running_loop().run_in_executor(self._disk, _set_aside, lane)
            lane.head, lane.size = 0, 0
            lane.times.clear()
        return batch

    def taken(self, lane: Lane, batch: Batch) -> None:
        """Go past a batch; once a lane is empty its file is."""
        lane.head = batch.end
        for _ in batch.wires:
            lane.times.popleft()
        if lane.head == lane.size and not lane.appending:
            lane.head, lane.size = 0, 0
            # After the writes before it and before those after it: one thread does them all.
            self._disk.submit(_truncate, lane.open(), 0)

    async def refuse(self, batch: Batch) -> None:
        """Keep, for people, records that Kafka will never take."""
        await asyncio.get_running_loop().run_in_executor(
            self._disk, _append_lines, self._folder / REFUSED, batch.records
        )

    async def _write_all(self) -> None:
        """Write and fsync what is waiting, group by group, until nothing is."""
        loop = asyncio.get_running_loop()
        while self._appends:
            group, self._appends = self._appends, []
            by_lane: dict[Lane, list[_Append]] = {}
            for one in group:
                by_lane.setdefault(one.lane, []).append(one)
            for lane, ones in by_lane.items():
                data = b"".join(one.record for one in ones)
                refusal: SpoolRefuses | None = None
                try:
                    await loop.run_in_executor(self._disk, _write, lane, data)
                except OSError as error:
                    refusal = SpoolRefuses("unwritable", f"the spool {self._folder}: {error.strerror}")
                else:
                    lane.size += len(data)
                    lane.times.extend(one.at for one in ones)
                    metrics.SPOOLED.labels(lane.topic).inc(len(ones))
                lane.appending -= len(ones)
                self._appending_bytes -= len(data)
                for one in ones:
                    if one.safe.done():
                        continue
                    if refusal is None:
                        one.safe.set_result(None)
                    else:
                        one.safe.set_exception(refusal)

    def _read_all(self) -> None:
        for path in sorted(self._folder.glob("*.spool")):
            topic, _, partition = path.name.removesuffix(".spool").rpartition(".")
            lane = self._new_lane(topic, int(partition))
            held = os.fstat(lane.open()).st_size
            with path.open("rb") as file:
                for record in records_in(file.read()):
                    lane.size += HEAD.size + len(record)
                    lane.times.append(float(json.loads(record)["at"]))
            if lane.size < held:
                log.warning("spool_cut", file=path.name, at=lane.size, bytes=held - lane.size)
                os.ftruncate(lane.fd, lane.size)
            if lane.times:
                log.warning("spool_has_entries", file=path.name, events=len(lane.times))

    def _now(self) -> float:
        return self._clock.real_now().timestamp()


_READ_BYTES: Final = 512 * 1024
"""More than the largest record."""


def _read(lane: Lane, most: int) -> Batch:
    data = os.pread(lane.open(), min(_READ_BYTES, lane.size - lane.head), lane.head)
    records = tuple(record for _, record in zip(range(most), records_in(data), strict=False))
    end = lane.head + sum(HEAD.size + len(record) for record in records)
    return Batch(records, tuple(unpack(record) for record in records), end)


def _write(lane: Lane, data: bytes) -> None:
    """Write behind what is safe, and fsync; on failure leave nothing behind that a restart could take for a record."""
    fd = lane.open()
    try:
        at = lane.size
        view = memoryview(data)
        while view:
            written = os.pwrite(fd, view, at)
            at, view = at + written, view[written:]
        os.fdatasync(fd)
    except OSError:
        _truncate(fd, lane.size)
        raise


def _truncate(fd: int, size: int) -> None:
    with contextlib.suppress(OSError):  # what stays is sent again after a restart, under the same ids
        os.ftruncate(fd, size)


def _set_aside(lane: Lane) -> None:
    os.close(lane.open())
    lane.fd = -1
    lane.path.rename(lane.path.with_suffix(f".damaged-{os.stat(lane.path).st_mtime_ns}"))


def _append_lines(path: Path, records: Sequence[bytes]) -> None:
    with path.open("ab") as file:
        file.writelines(record + b"\n" for record in records)
        file.flush()
        os.fsync(file.fileno())


def _probe(folder: Path) -> None:
    path = folder / "probe"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b"probe" * 100)
        os.fsync(fd)
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _notice(safe: asyncio.Future[None]) -> None:
    """Take note of how an append ended that nobody waits for any more, so that asyncio does not complain."""
    if not safe.cancelled():
        safe.exception()
