"""The one table: rows as JSON bytes in memory; each write is a changelog record whose acknowledgement is awaited."""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import faust
from faust.types import TP

TableRow = dict[str, Any]


def digest(rows: Iterable[tuple[bytes, bytes]]) -> str:
    """Return a hash over rows by their keys, the same for the same rows in any order."""
    hashed = hashlib.sha256()
    for key, value in sorted(rows):
        hashed.update(len(key).to_bytes(4) + key + len(value).to_bytes(4) + value)
    return hashed.hexdigest()


class DurableTable(faust.Table):  # type: ignore[misc]
    """A memory table that only `put` and `write` change.

    Rows are kept as the bytes that the changelog has: recovery parses nothing, a row costs its own size, and a handler
    always gets a fresh copy.
    """

    recovered = 0
    """Changelog records applied by recoveries so far."""

    @cached_property
    def _topic(self) -> str:
        return str(self.changelog_topic_name)

    def row(self, key: bytes) -> TableRow | None:
        """Return a copy of the row of a key whose partition is ours."""
        found = self.data.data.get(key)
        return None if found is None else json.loads(found)

    def put(self, partition: int, key: bytes, row: TableRow | None) -> bytes | None:
        """Keep a row (None deletes) here, and return what `write` must bring into the changelog."""
        if row is not None and not row:
            raise ValueError("a row must not be empty: Faust's memory store takes empty for deleted")
        store = self.data
        if row is None:
            store.data.pop(key, None)
            store._key_partition.pop(key, None)
            return None
        value = json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()
        store.data[key] = value
        store._key_partition[key] = partition
        return value

    async def write(self, producer: Any, partition: int, key: bytes, value: bytes | None) -> "asyncio.Future[Any]":
        """Write into the changelog what `put` returned; the future is the broker's acknowledgement."""
        sent: asyncio.Future[Any] = await producer.send(self._topic, value, key=key, partition=partition)
        return sent

    def apply_changelog_batch(self, batch: Any) -> None:
        """Apply records read from the changelog."""
        self.recovered += len(batch)
        super().apply_changelog_batch(batch)

    def forget(self, partition: int) -> None:
        """Drop the rows of a partition."""
        store = self.data
        for key in [key for key, at in store._key_partition.items() if at == partition]:
            store.data.pop(key, None)
            store._key_partition.pop(key, None)

    def digests(self) -> dict[int, str]:
        """Return of each partition a hash over its rows in the order of their keys."""
        store, rows = self.data, defaultdict[int, list[tuple[bytes, bytes]]](list)
        for key, value in store.data.items():
            rows[store._key_partition[key]].append((key, value))
        return {partition: digest(found) for partition, found in rows.items()}

    def changelog_tp(self, partition: int) -> TP:
        """Return the changelog's partition for rows of a source partition."""
        return TP(self._topic, partition)
