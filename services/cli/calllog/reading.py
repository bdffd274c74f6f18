"""From a file to calls: what the file is, how it is packed, which day of it."""

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import BinaryIO, Final, cast
from zoneinfo import ZoneInfo

from services.cli.calllog.model import CallLogError, CompletedMeans, LoggedCall, Tally
from services.cli.calllog.ringcentral_json import read_ringcentral_json
from services.cli.calllog.twilio_csv import read_twilio_csv

_GZIP: Final = b"\x1f\x8b"
_LONGEST_LINE: Final = 1024 * 1024
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def read_call_log(
    path: Path | str, tally: Tally | None = None, completed_means: CompletedMeans | None = None
) -> Iterator[LoggedCall]:
    """Yield the inbound calls of a call log in the order of their start; the kind of file is found out by looking.

    Args:
        path: Twilio's Calls CSV or RingCentral's call log JSON, gzipped or not, in UTF-8 or UTF-16 with its mark.
        tally: filled while iterating; complete after the last call.
        completed_means: what a completed call was, where the log cannot say who talked; None judges by its length.

    Raises:
        CallLogError: the file cannot be opened or is not a call log at all; names the file. A bad row never raises.
    """
    found = tally if tally is not None else Tally()
    try:
        with Path(path).open("rb") as raw:
            yield from read_stream(raw, found, completed_means)
    except OSError as error:
        raise CallLogError(f"{path}: cannot be read: {error.strerror or error}") from error
    except CallLogError as error:
        raise CallLogError(f"{path}: {error}") from error


def read_stream(raw: BinaryIO, tally: Tally, completed_means: CompletedMeans | None = None) -> Iterator[LoggedCall]:
    """Yield the inbound calls of an open file; see `read_call_log`."""
    packed = io.BufferedReader(cast("io.RawIOBase", raw)) if not isinstance(raw, io.BufferedReader) else raw
    stream = packed
    if packed.peek(2)[:2] == _GZIP:
        stream = io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=packed)))
    try:
        head = stream.peek(4)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CallLogError(f"damaged gzip file: {error}") from error
    encoding = next((name for mark, name in _BOMS if head.startswith(mark)), "utf-8")
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
    try:
        if _is_json(head, encoding):
            yield from read_ringcentral_json(text, tally)
        else:
            # Bounded: a line without end comes in pieces, which are bad rows, instead of filling the memory.
            lines = iter(lambda: text.readline(_LONGEST_LINE), "")
            yield from read_twilio_csv(lines, tally, completed_means)
    finally:
        text.detach()  # or its end would close the caller's file


def _is_json(head: bytes, encoding: str) -> bool:
    start = head.decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n")
    return start[:1] in ("{", "[")


def calls_of_day(calls: Iterable[LoggedCall], day: date, zone: ZoneInfo) -> Iterator[LoggedCall]:
    """Yield the calls that started on one local date of a zone, in the order they come."""
    return (call for call in calls if call.started_at.astimezone(zone).date() == day)
