"""Call logs as phone systems export them, read into one shape. Pure: bytes in, calls out; nothing is sent from here.

`read_call_log(path, tally)` finds out what a file is (Twilio's Calls CSV or RingCentral's call log JSON, plain or
gzipped) and yields its inbound calls in the order of their start. A row that makes no sense is counted and reported
with its line, field and reason, and reading goes on. `docs/call-log.md` tells the formats.
"""

from services.cli.calllog.model import BadRow, CallLogError, CompletedMeans, LoggedCall, LoggedLeg, Tally
from services.cli.calllog.reading import calls_of_day, read_call_log

__all__ = [
    "BadRow",
    "CallLogError",
    "CompletedMeans",
    "LoggedCall",
    "LoggedLeg",
    "Tally",
    "calls_of_day",
    "read_call_log",
]
