"""The fence itself: one agent, one table, one window a partition."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NoReturn

import structlog
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from services.runtime.clock import monotonic_s
from services.runtime.dead_letters import REQUEST_LIMIT_BYTES
from services.runtime.exits import EXIT_SEND_FAILED
from services.runtime.handled import Handled
from services.runtime.hard_end import end_process
from services.runtime.offsets import Ends

from .causes import Causes
from .handler import Halt, Handle, Incoming, OnError, Repeat, Send, Unchanged, dead_letter, no_repeats
from .lease import Lease
from .pins import check_pins
from .recovery import FencedTableManager
from .settings import FenceSettings
from .status import Status
from .table import DurableTable
from .topics import check_topics
from .transport import FencedApp, QuietMonitor
from .window import InFlight, PartitionWindow

log = structlog.get_logger(__name__)

SETTLE_LOOK_S = 0.02


class Fence(Status):
    """A Faust worker that loses nothing, writes nothing stale, and stops rather than skips.

    Args:
        settings: this worker and its app.
        handle: decides; an exception out of it goes to `on_error` and never further.
        repeat: returns what the last event of a key's row sent, from the row alone.
        on_error: says what comes of an event that `handle` could not handle; its own exception ends the process, but for
            Halt: then no event is taken before `go_on`, and the process stays.
        on_assigned: told of the source partitions that are ours from now on, all of them, before any of their events.
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
        on_assigned: Callable[[Collection[TP]], None] | None = None,
        lease: Lease | None = None,
    ) -> None:
        self.settings, self._handle, self._on_error, self._on_event_done = settings, handle, on_error, on_event_done
        self._repeat, self._on_assigned = repeat, on_assigned
        self.lease = lease or Lease(
            settings.session_timeout_s, settings.rebalance_timeout_s, instance=settings.instance
        )
        self.windows: dict[int, PartitionWindow] = {}
        self._held: dict[int, set[TP]] = {}
        self._causes = Causes()
        self._halted = False
        self.recoveries, self._read_before = 0, -1
        self._finished: dict[TP, int] = {}
        self.silent: list[str] = []
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
        app.drop_waiting, app.settle = self._drop_waiting, self._settle
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
        """Take no more events, finish those in flight, commit them and go; the group keeps a named worker's place.

        It may hang, where a rebalance or a missing broker meets the stop: whoever calls this bounds it (`StopBound`).
        """
        self._stopping = True
        self.lease.closing()
        await self.app.stop()
        for window in self.windows.values():
            await window.stop()
        await self._ends.stop()

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

    async def _settle(self) -> None:
        """Wait for what is in flight, but not for a partition of the broker that takes nothing.

        At a rebalance the whole group would wait for it, and then for the next worker that gets it. While no request is
        under way, what is in flight is given up instead: its events come again. Where an earlier try has arrived after
        all, the row is read again with the others, and knows its event.
        """
        before, since = -1, monotonic_s()
        while flying := sum(window.in_flight for window in self.windows.values()):
            if flying != before:
                before, since = flying, monotonic_s()
            if monotonic_s() - since > self.settings.settle_limit_s and not self.app.producer.is_sending():
                await self._give_up()
                return
            await asyncio.sleep(SETTLE_LOOK_S)

    async def _give_up(self) -> None:
        """Forget what is in flight, and the rows that were to be written: they are read again."""
        for number, window in list(self.windows.items()):
            if window.in_flight:
                log.warning("in_flight_given_up", partition=number, waits_for=window.waits_for() or "changelog")
                del self.windows[number]
                await window.stop()
                for event in window.left():
                    self.app.consumer.leave_out(event.message)
                self.table.forget(number)
                self.app.tables.recovery.revoke(self.table.changelog_tp(number))
        # A record that waits in the client would be sent long after another worker has written its own.
        self._producer = None
        await self.app.producer.renew(again=not self._stopping)

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
                self._causes.not_sent(message.key)
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

    def go_on(self) -> None:
        """Take events again after a Halt; the one that led to it comes first."""
        log.info("fence_goes_on")
        self._halted = False
        try:
            for window in self.windows.values():
                if not self._halted:
                    window.reopen()
        except Exception as error:
            self._fail(error)

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
        assignment = consumer.assignment()
        self._causes.assigned({tp: consumer._committed_offset.get(tp) for tp in assignment})
        if self._on_assigned is not None:
            self._on_assigned({tp for tp in assignment if tp.topic in self.settings.topics})

    def _ready(self) -> None:
        self.recoveries += 1
        # Another worker may have finished more since an earlier generation of ours.
        self._finished.clear()
