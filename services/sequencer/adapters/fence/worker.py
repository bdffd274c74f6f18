"""The fence itself: one agent, one table, one window a partition."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from services.runtime.clock import monotonic_s
from services.runtime.dead_letters import REQUEST_LIMIT_BYTES
from services.runtime.errors import TransientError
from services.runtime.exits import EXIT_SEND_FAILED, EXIT_STOP_HUNG
from services.runtime.handled import Handled
from services.runtime.offsets import Ends

from .causes import Causes
from .exits import end_process
from .handler import Halt, Handle, Incoming, OnError, Repeat, Send, Unchanged, dead_letter, no_repeats
from .lease import Lease
from .pins import check_pins
from .recovery import FencedTableManager
from .settings import FenceSettings
from .table import DurableTable
from .topics import check_topics
from .transport import FencedApp, QuietMonitor
from .window import InFlight, PartitionWindow

log = structlog.get_logger(__name__)


class Fence:
    """A Faust worker that loses nothing, writes nothing stale, and stops rather than skips.

    Args:
        settings: this worker and its app.
        handle: decides; an exception out of it goes to `on_error` and never further.
        repeat: returns what the last event of a key's row sent, from the row alone.
        on_error: says what comes of an event that `handle` could not handle; its own exception ends the process, but for
            Halt: then no event is taken any more and the process stays.
        on_event_done: told of each finished event: topic, how it ended, seconds from delivery to finish.
        lease: another lease; tests only.
    """

    App: type[FencedApp] = FencedApp
    Table: type[DurableTable] = DurableTable
    TableManager: type[FencedTableManager] = FencedTableManager
    Window: type[PartitionWindow] = PartitionWindow

    def __init__(
        self,
        settings: FenceSettings,
        handle: Handle,
        *,
        repeat: Repeat = no_repeats,
        on_error: OnError = dead_letter,
        on_event_done: Callable[[str, Handled, float], None] | None = None,
        lease: Lease | None = None,
    ) -> None:
        self.settings, self._handle, self._on_error, self._on_event_done = settings, handle, on_error, on_event_done
        self._repeat = repeat
        self.lease = lease or Lease(
            settings.session_timeout_s, settings.rebalance_timeout_s, instance=settings.instance
        )
        self.windows: dict[int, PartitionWindow] = {}
        self._held: dict[int, set[TP]] = {}
        self._causes = Causes()
        self._halted = False
        self.recoveries, self._read_before = 0, -1
        self._finished: dict[TP, int] = {}
        self._ends = Ends(settings.bootstrap_servers)
        self._producer: Any = None
        self._stopping = False
        for name in ("aiokafka", "faust", "mode"):
            # The loggers' level, not a handler's: records that nobody reads must not even be made.
            logging.getLogger(name).setLevel(settings.library_log_level)
        check_pins()
        self.app = self._make_app()
        self.table: Any = self.app.Table(settings.table, key_type=bytes, value_type=bytes)
        self.app.tables.recovery.on_ready = self._ready
        self.app.tables.recovery.on_sought = self._sought
        source = self.app.topic(
            *settings.topics,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )
        self.app.agent(source, concurrency=1, name="fence")(self._agent)

    def _make_app(self) -> Any:
        s = self.settings
        app = self.App(
            s.app_id,
            broker=[f"aiokafka://{server.strip()}" for server in s.bootstrap_servers.split(",")],
            store="memory://",
            datadir=str(s.data_dir),
            Table=self.Table,
            TableManager=self.TableManager,
            Monitor=QuietMonitor,
            processing_guarantee="at_least_once",
            cython_optimizations=True,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=s.instance,
            stream_wait_empty=True,
            stream_buffer_maxsize=4096,
            stream_recovery_delay=0.0,
            broker_max_poll_records=1000,
            broker_commit_interval=s.commit_interval_s,
            broker_session_timeout=s.session_timeout_s,
            broker_heartbeat_interval=s.session_timeout_s / 10,
            broker_rebalance_timeout=s.rebalance_timeout_s,
            broker_request_timeout=max(s.request_timeout_s, s.session_timeout_s, s.rebalance_timeout_s) + 5,
            producer_linger=s.linger_ms / 1000,
            producer_max_request_size=REQUEST_LIMIT_BYTES,
            producer_request_timeout=s.request_timeout_s,
            recovery_consistency_check=True,
        )
        app.lease = self.lease
        app.drop_waiting = self._drop_waiting
        return app

    # -- life --

    async def start(self) -> None:
        """Check the topics and wipe the data directory.

        Raises:
            FenceRefusal: a topic is missing, counts differ, or the changelog is not compacted.
        """
        await check_topics(self.settings)
        await asyncio.to_thread(shutil.rmtree, self.settings.data_dir, ignore_errors=True)

    async def run(self) -> None:
        """Work until stopped. Ends the process when a send, the lease or Faust itself fails."""
        starting = asyncio.create_task(self.app.start(), name="fence start")
        stopped = asyncio.create_task(self.app.wait_until_stopped(), name="fence stopped")
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not self._stopping and starting.done() and (error := starting.exception()):
            self._fail(error)
        await stopped
        if self.app.crashed and not self._stopping:
            # What is left of Faust neither works nor ends; its threads would keep the process alive.
            self._fail(self.app.crash_reason or RuntimeError("Faust has stopped by itself"))
        await asyncio.gather(starting, return_exceptions=True)

    async def stop(self) -> None:
        """Take no more events, finish those in flight, commit them and go; the group keeps a named worker's place."""
        self._stopping = True
        self.lease.closing()
        # Not asyncio.timeout: it cancels, and Faust may swallow the cancellation.
        stopping = asyncio.create_task(self.app.stop())
        await self.ended(stopping, "Faust")
        await stopping
        for window in self.windows.values():
            await window.stop()
        await self._ends.stop()

    async def ended(self, task: "asyncio.Task[Any]", what: str) -> None:
        """Wait until a task has ended; end the process when it does not within the limit."""
        done, _ = await asyncio.wait([task], timeout=self.settings.stop_limit_s)
        if not done:
            end_process(EXIT_STOP_HUNG, f"{what} did not stop within {self.settings.stop_limit_s:.0f} s")

    # -- an event --

    async def _agent(self, stream: Any) -> None:
        try:
            async for event in stream.noack().events():
                self._offer(event)
        except Exception as error:
            # Faust counts an event whose handler raised as done: it would be committed, and lost.
            self._fail(error)

    def _offer(self, event: Any) -> None:
        """Give an event to its partition's window; never wait for one partition, the others go on."""
        message = event.message
        window = self.windows.get(message.partition)
        if window is None:
            window = self._make_window(message.partition)
        window.offer(event)
        if len(window.waiting) >= self.settings.waiting:
            self._held.setdefault(message.partition, set()).add(message.tp)
            self.app.consumer.hold(message.tp)

    def _make_window(self, partition: int) -> PartitionWindow:
        made = self.windows[partition] = self.Window(
            self.settings.window, take=self._take, send=self._send, finish=self._finish, fail=self._fail
        )
        made.closed = self._halted
        made.start()
        return made

    def _drop_waiting(self) -> None:
        """Forget the events that stand in line: the partitions go, and whoever gets them reads these again."""
        consumer = self.app.consumer
        for window in self.windows.values():
            for event in window.waiting:
                consumer.leave_out(event.message)
            window.waiting.clear()
        self._held.clear()
        consumer.forget_held()

    def _take(self, event: Any) -> InFlight:
        message = event.message
        self.lease.check("event")
        began = monotonic_s()
        incoming = Incoming(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            timestamp_s=message.timestamp,
            key=message.key,
            value=message.value,
            headers=message.headers or (),
        )
        repeats: Sequence[Send] = ()
        try:
            if message.key is None:
                raise ValueError("no key: it belongs to no row")
            before = self.table.row(message.key)
            if self._causes.are_doubtful(before, message):
                repeats = self._repeat(message.key, before)
            outcome = self._handle(incoming, before)
        except Exception as error:
            try:
                outcome = self._on_error(incoming, error)
            except Halt as why:
                self._halt(why)
                raise
        write = None
        if not isinstance(outcome.row, Unchanged):
            row = outcome.row
            if row and outcome.sends:
                row = self._causes.mark(row, message)
            value = self.table.put(message.partition, message.key, row)
            write = partial(self._write, message.partition, message.key, value)
        return InFlight(
            event=event,
            key=message.key,
            began_s=began,
            handled=outcome.handled,
            repeats=repeats,
            write=write,
            sends=outcome.sends,
            rebalances=self.app.rebalancing_count,
        )

    def _halt(self, why: Halt) -> None:
        """Take nothing more, of any partition: one handler serves all. What is in flight is finished."""
        log.critical("fence_halts", why=str(why))
        self._halted = True
        for window in self.windows.values():
            window.closed = True

    def _connected(self) -> Any:
        if self._producer is None:
            self._producer = self.app.producer._ensure_producer()
        return self._producer

    async def _write(self, partition: int, key: bytes, value: bytes | None) -> Any:
        """Hand a row to the producer; return the future of its acknowledgement."""
        while True:
            self.lease.check("row")
            try:
                return await self.table.write(self._connected(), partition, key, value)
            except KafkaTimeoutError:
                continue  # no room: the partition takes nothing, and this record was not taken on

    async def _send(self, send: Send) -> Any:
        """Hand a record to the producer; return the future of its acknowledgement."""
        topic, key, value, headers = send
        while True:
            self.lease.check("send")
            try:
                return await self._connected().send(topic, value, key=key, headers=list(headers))
            except KafkaTimeoutError:
                continue  # no room: the partition takes nothing, and this record was not taken on

    def _finish(self, done: InFlight) -> None:
        message = done.event.message
        row = done.row
        # A write from before the newest rebalance proves nothing: the partition may have been away and its rows
        # forgotten, and a recovery that takes them as read would leave them out.
        if row is not None and row.offset >= 0 and done.rebalances == self.app.rebalancing_count:
            self._report(message.partition, row.offset)
        self.app.consumer.ack(message)
        self._finished[message.tp] = message.offset + 1
        if message.partition in self._held:
            self._release(message.partition)
        if self._on_event_done is not None:
            self._on_event_done(message.topic, done.handled, monotonic_s() - done.began_s)

    def _release(self, partition: int) -> None:
        if len(self.windows[partition].waiting) < self.settings.waiting // 2:
            for tp in self._held.pop(partition):
                self.app.consumer.release(tp)

    def _report(self, partition: int, offset: int) -> None:
        self.app.tables.recovery.acknowledged(self.table.changelog_tp(partition), offset)

    def _fail(self, error: BaseException) -> NoReturn:
        log.critical("fence_failed", exc_info=error)
        end_process(EXIT_SEND_FAILED, f"{type(error).__name__}: {error}")

    def _sought(self) -> None:
        consumer = self.app.consumer
        self._causes.assigned({tp: consumer._committed_offset.get(tp) for tp in consumer.assignment()})

    def _ready(self) -> None:
        self.recoveries += 1
        # Another worker may have finished more since an earlier generation of ours.
        self._finished.clear()

    # -- for the operations port --

    def is_ready(self) -> bool:
        """Say whether this worker is in the group and its rows are there."""
        return (
            self.recoveries > 0
            and not self._stopping
            and not self.app.rebalancing
            and not self.app.in_recovery
            and self.lease.left_s() > 0
        )

    def standing(self, after_s: float) -> Mapping[str, float]:
        """Return which partitions of the broker have kept events waiting for longer than `after_s`, and for how long."""
        now = monotonic_s()
        found = {}
        for number, window in self.windows.items():
            if (began := window.oldest_s) is not None and now - began > after_s:
                found[f"{window.waits_for() or self.settings.changelog_topic}[{number}]"] = now - began
        return found

    async def recovery_stands(self) -> bool:
        """Say whether rows are being read, none came since this was last asked, and yet every partition of them answers.

        Then it is we who stand still, and only another process goes on; without an answer it is the broker.
        """
        read, before = self.table.recovered, self._read_before
        self._read_before = read
        if self.is_ready() or read != before:
            return False
        try:
            mine = {tp.partition for tp in self.app.consumer.assignment() if tp.topic in self.settings.topics}
        except ConsumerNotStarted:
            return False
        ends = await self._ends.of([TopicPartition(self.settings.changelog_topic, number) for number in mine])
        return bool(ends) and None not in ends.values()

    def row_digests(self) -> Mapping[int, str]:
        """Return a hash over the rows of each partition of ours that has any."""
        return dict(self.table.digests())

    async def pending(self) -> Mapping[str, int]:
        """Return how many events of each `topic[partition]` of ours are not finished; empty means at the end.

        Finished, not committed: sends and row acknowledged by the broker. Empty also while nothing is assigned, so ask
        `is_ready` too.
        """
        consumer = self.app.consumer
        assigned = {tp for tp in consumer.assignment() if tp.topic in self.settings.topics}
        if not assigned:
            return {}
        ends: dict[TopicPartition, int] = {}
        for partition, end in (await self._ends.of([TopicPartition(*tp) for tp in assigned])).items():
            if end is None:
                raise TransientError(f"not known where {partition.topic}[{partition.partition}] ends")
            ends[partition] = end
        at: dict[TP, int] = {}
        for tp in assigned:
            position = self._finished.get(tp)
            if position is None:
                position = consumer._committed_offset[tp]
            if position is not None:
                at[tp] = position
        unknown = assigned - at.keys()
        if unknown:
            for tp, first in (await consumer.earliest_offsets(*unknown)).items():
                at[tp] = self._finished.setdefault(tp, first)  # an event may have been finished while we asked
        return {
            f"{tp.topic}[{tp.partition}]": ends[TopicPartition(*tp)] - at[tp]
            for tp in sorted(assigned)
            if ends[TopicPartition(*tp)] > (at.get(tp) or 0)
        }
