"""One event as the spool's files hold it: its length, its CRC-32, and JSON that people can read too."""

import json
import zlib
from collections.abc import Iterator
from struct import Struct
from typing import Final

from schemas.envelope import Wire

HEAD: Final = Struct(">II")
"""Before each record: its length in bytes and its CRC-32."""


def pack(wire: Wire, at: float) -> bytes:
    """Return a record; `at` is when its event came, real seconds since 1970."""
    said = {
        "at": at,
        "topic": wire.topic,
        "key": wire.key.decode(),
        "headers": [(name, value.decode()) for name, value in wire.headers],
        "value": wire.value.decode(),
    }
    record = json.dumps(said, separators=(",", ":")).encode()
    return HEAD.pack(len(record), zlib.crc32(record)) + record


def unpack(record: bytes) -> Wire:
    """Return the event in a record, without its head."""
    said = json.loads(record)
    headers = [(name, value.encode()) for name, value in said["headers"]]
    return Wire(topic=said["topic"], key=said["key"].encode(), value=said["value"].encode(), headers=headers)


def records_in(data: bytes) -> Iterator[bytes]:
    """Yield the whole records at the beginning of some bytes."""
    at = 0
    while at + HEAD.size <= len(data):
        length, crc = HEAD.unpack_from(data, at)
        record = data[at + HEAD.size : at + HEAD.size + length]
        if not length or len(record) < length or zlib.crc32(record) != crc:
            return
        yield record
        at += HEAD.size + length
