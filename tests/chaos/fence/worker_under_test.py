"""A worker on the fence, as a process to be killed: each event adds to its key's row and makes one output.

`--without X` takes one fix of the fence away, so that a test can show what it is for. That is why this file overrides
what is private to Faust and to the fence; nothing of it is in the product.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import Any, Literal

from faust.tables.recovery import Recovery
from faust.transport.consumer import ThreadDelegateConsumer

from services.runtime.errors import TransientError
from services.runtime.handled import Handled, ignored
from services.sequencer.adapters.fence import (
    UNCHANGED,
    Fence,
    FenceSettings,
    Incoming,
    Lease,
    Outcome,
    Send,
    TableRow,
    lease,
)
from services.sequencer.adapters.fence.recovery import FencedRecovery, FencedTableManager
from services.sequencer.adapters.fence.table import DurableTable
from services.sequencer.adapters.fence.transport import FencedApp, FencedConsumer, FencedTransport
from services.sequencer.adapters.fence.window import PartitionWindow
from tests.chaos.fence.running import run_until_stopped

FIXES = (
    "startup-order",
    "lease",
    "durable-changelog",
    "fail-fast",
    "offsets-report",
    "forget",
    "one-per-key",
    "row-first",
    "effects-again",
    "no-fetch-while-seeking",
    "no-recovery-time-out",
    "give-up",
)


def chain(before: int, event_id: str) -> int:
    """Fold an id into a number that depends on every id before it and on their order."""
    return zlib.crc32(event_id.encode(), before)


def handler(out: str, pace_s: float) -> Any:
    """Return the function that decides: the replay rule of the sequencer, with nothing of its business."""

    def handle(event: Incoming, row: TableRow | None) -> Outcome:
        if pace_s:
            time.sleep(pace_s)  # work: the loop stands still, as it does while deciding
        said = json.loads(event.value or b"")
        event_id, seq = str(said["id"]), int(said["seq"])
        if said.get("delete"):
            return Outcome(row=None)
        if row is not None and row["last"] == event_id:
            return Outcome(
                UNCHANGED, [(out, event.key, effect.encode(), [("again", b"1")]) for effect in row["effects"]]
            )
        if row is not None and seq <= row["seq"]:
            return Outcome(UNCHANGED, handled=ignored("passed"))
        effect = event_id + "x" * int(said.get("output_bytes", 0))
        new = {
            "n": (row["n"] if row else 0) + 1,
            "seq": seq,
            "last": event_id,
            "chain": chain(row["chain"] if row else 0, event_id),
            "effects": [effect],
        }
        return Outcome(new, [(out, event.key, effect.encode(), [("n", str(new["n"]).encode())])])

    return handle


class NoLease(Lease):
    """Never runs out."""

    def check(self, what: str) -> None:
        """Allow it."""

    def lost(self) -> None:
        """Ignore it."""


class StockRecovery(FencedRecovery):
    """Faust's own order of steps."""

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        await Recovery.on_recovery_completed(self, generation_id)
        if self.on_ready is not None:
            self.on_ready()


class StockConsumer(FencedConsumer):
    """Faust's own live set."""

    _getmany = ThreadDelegateConsumer._getmany


class NoLock(asyncio.Lock):
    """Holds nobody up."""

    async def acquire(self) -> Literal[True]:
        return True

    def release(self) -> None:
        pass


class EagerConsumer(FencedConsumer):
    """Seeks as Faust does: only where an offset is committed, and while a fetch may be under way."""

    perform_seek = ThreadDelegateConsumer.perform_seek

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fetching = NoLock()


class EagerTransport(FencedTransport):
    Consumer = EagerConsumer


class EagerApp(FencedApp):
    Transport = EagerTransport


class HastyRecovery(FencedRecovery):
    """Goes on after a time-out, as Faust does."""

    _wait = Recovery._wait
    _build_highwaters = Recovery._build_highwaters
    _build_offsets = Recovery._build_offsets


class HastyTableManager(FencedTableManager):
    Recovery = HastyRecovery


class StockTransport(FencedTransport):
    Consumer = StockConsumer


class StockApp(FencedApp):
    Transport = StockTransport


class StockTableManager(FencedTableManager):
    Recovery = StockRecovery


class Late:
    """A producer whose records reach the broker late."""

    def __init__(self, producer: Any, delay_s: float) -> None:
        self.producer, self.delay_s = producer, delay_s

    async def send(self, *args: Any, **kwargs: Any) -> Any:
        async def late() -> Any:
            await asyncio.sleep(self.delay_s)
            return await (await self.producer.send(*args, **kwargs))

        if not self.delay_s:
            return await self.producer.send(*args, **kwargs)
        return asyncio.ensure_future(late())


def slow_table(delay_s: float, wait: bool, forget: bool) -> type[DurableTable]:
    """Return a table whose changelog writes reach the broker late, and are awaited or not."""

    class Table(DurableTable):
        def put(self, partition: int, key: bytes, row: TableRow | None) -> bytes | None:
            value = super().put(partition, key, row)
            if not forget:
                self.data._key_partition.pop(key, None)  # Faust tracks only rows it has read from the changelog
            return value

        async def write(self, producer: Any, partition: int, key: bytes, value: bytes | None) -> Any:
            sent = await super().write(Late(producer, delay_s), partition, key, value)
            if wait:
                return sent
            self.__dict__.setdefault("unwatched", []).append(sent)
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done

        def forget(self, partition: int) -> None:
            if forget:
                super().forget(partition)

    return Table


class ManyPerKeyWindow(PartitionWindow):
    """Takes events of a key whose last one is not finished."""

    def is_free(self, key: bytes | None) -> bool:
        return self.in_flight < self._size


class SideBySideWindow(PartitionWindow):
    """Sends what an event causes beside its row."""

    async def _sends(self) -> None:
        while True:
            entry = await self._to_send.get()
            entry.acks = [await self._send(send) for send in entry.sends]
            if entry.written is not None:
                entry.row = await entry.written
            self._to_finish.put_nowait(entry)


def window_without(without: set[str]) -> type[PartitionWindow]:
    """Return the window with fixes taken away."""
    if "one-per-key" in without:
        return ManyPerKeyWindow
    return SideBySideWindow if "row-first" in without else PartitionWindow


def fence_without(without: set[str], args: argparse.Namespace) -> type[Fence]:
    """Return the fence with fixes taken away."""

    class Worker(Fence):
        Table = slow_table(args.slow_changelog_s, "durable-changelog" not in without, "forget" not in without)
        if "startup-order" in without:
            App = StockApp
            TableManager = StockTableManager
        if "no-fetch-while-seeking" in without:
            App = EagerApp
        if "no-recovery-time-out" in without:
            TableManager = HastyTableManager

        Window = window_without(without)

        async def _send(self, send: Send) -> Any:
            topic, key, value, headers = send
            try:
                late = Late(self._connected(), args.slow_output_s)
                sent = await late.send(topic, value, key=key, headers=list(headers))
            except Exception:
                if "fail-fast" not in without:
                    raise
                sent = asyncio.get_running_loop().create_future()
                sent.set_result(None)
            if "fail-fast" not in without:
                return sent
            return asyncio.ensure_future(asyncio.wait([sent]))  # Faust's way: a failed send is a line in a log

        async def _give_up(self) -> None:
            if "give-up" not in without:
                await super()._give_up()
                return
            while any(window.in_flight for window in self.windows.values()):
                await asyncio.sleep(0.05)

        def _report(self, partition: int, offset: int) -> None:
            if "offsets-report" not in without:
                super()._report(partition, offset)

    return Worker


async def main(args: argparse.Namespace) -> int:
    without = set(args.without)
    lease.CLASH_S = args.clash_s
    settings = FenceSettings(
        app_id=args.app,
        topics=tuple(args.topics.split(",")),
        table="rows",
        instance=args.instance or None,
        data_dir=Path(args.data_dir),
        bootstrap_servers=args.bootstrap,
        session_timeout_s=args.session_s,
        rebalance_timeout_s=args.rebalance_s,
        request_timeout_s=args.request_s,
        library_log_level=args.log_level,
    )
    no_lease = NoLease(1, 1) if "lease" in without else None
    done = {"events": 0}

    def count(topic: str, handled: Handled, seconds: float) -> None:
        done["events"] += 1

    def repeat(key: bytes, row: TableRow) -> list[Send]:
        if "effects-again" in without:
            return []
        return [(args.out, key, effect.encode(), [("again", b"1")]) for effect in row["effects"]]

    fence = fence_without(without, args)(
        settings, handler(args.out, args.pace_s), repeat=repeat, on_event_done=count, lease=no_lease
    )
    if args.slow_fetch_s:
        slow_fetch(fence, args.slow_fetch_s)
    if args.slow_seek_s:
        slow_seek(fence, args.slow_seek_s)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    status = Path(args.status)

    async def tell() -> None:
        for told in itertools.count():
            table: DurableTable = fence.table
            assigned = list(fence.app.tables.recovery.active_tps) if fence.recoveries else []
            said = {
                "pid": os.getpid(),
                "told": told,
                "ready": fence.is_ready(),
                "events": done["events"],
                "recoveries": fence.recoveries,
                "recovered": table.recovered,
                "rows": len(table.data.data),
                "partitions": len(assigned),
                "window": sum(window.in_flight for window in fence.windows.values()),
                "standing": fence.standing(3.0),
                "pending": await pending(fence),
            }
            status.with_suffix(".new").write_text(json.dumps(said))
            status.with_suffix(".new").replace(status)
            await asyncio.sleep(0.05)

    teller = asyncio.create_task(tell())
    try:
        await run_until_stopped(fence, stop)
    finally:
        teller.cancel()
    return 0


async def pending(fence: Fence) -> int | None:
    """Return how many events are not finished; None while that is not known, as behind a loop that stands still."""
    try:
        return sum((await fence.pending()).values()) if fence.is_ready() else None
    except TransientError:
        return None


def slow_seek(fence: Fence, delay_s: float) -> None:
    """Make the way from "seek" to "clear the queues" longer, as a busy broker and a busy loop do."""
    consumer = fence.app.consumer
    seek = consumer.perform_seek

    async def late() -> None:
        await seek()
        await asyncio.sleep(delay_s)

    consumer.perform_seek = late


def slow_fetch(fence: Fence, delay_s: float) -> None:
    """Make a fetch wait between being asked for and being done, as behind a busy thread."""
    thread = fence.app.consumer._thread
    fetch = thread.getmany

    async def late(*args: Any) -> Any:
        await asyncio.sleep(delay_s)
        return await fetch(*args)

    thread.getmany = late


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "app", "topics", "out", "instance", "data-dir", "status"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--session-s", type=float, default=6.0)
    parser.add_argument("--rebalance-s", type=float, default=20.0)
    parser.add_argument("--request-s", type=float, default=30.0)
    parser.add_argument("--clash-s", type=float, default=lease.CLASH_S)
    parser.add_argument("--pace-s", type=float, default=0.0)
    parser.add_argument("--slow-changelog-s", type=float, default=0.0)
    parser.add_argument("--slow-output-s", type=float, default=0.0)
    parser.add_argument("--slow-fetch-s", type=float, default=0.0)
    parser.add_argument("--slow-seek-s", type=float, default=0.0)
    parser.add_argument("--log-level", default="WARNING")
    parser.add_argument("--without", action="append", default=[], choices=FIXES)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse(sys.argv[1:]))))
