"""The fence around Faust 0.15.3: a worker with one row for each key that loses no event and writes no stale row.

Nothing in here knows what the events mean. Why each part is there: ADR 6 and the docstring of its module.

    fence = Fence(settings, handle, on_event_done=...)   # checks that faust, mode and aiokafka are what was tested
    await fence.start()                                  # checks the topics; raises FenceRefusal
    await fence.run()                                    # until stopped (start/run/stop make it a part of a service)
    await fence.stop()                                   # finishes, commits; the caller bounds it (runtime.hard_end)

    def handle(event: Incoming, row: TableRow | None) -> Outcome:      # pure, quick, no I/O and no clock
        return Outcome(row={...},                                 # None deletes it, UNCHANGED writes nothing
                       sends=[("topic", key, value, [("header", b"bytes")])])

Promises:
    - an event is committed only after the broker has acknowledged everything it sent and the row it wrote (exit 70 when
      one of them fails, before the offset moves);
    - events of a key are handled one after the other, in partition order, and so is everything of a partition;
    - after a crash an event may come again, with the row as it was before the event, or as this event or a later one left
      it. So a row keeps the id and the effects of its last event: the same id again sends the same effects again; what the
      row has passed is ignored. What is sent may therefore arrive twice, with the same content;
    - a worker that cannot know any more that a partition is its own ends at once (exit 71) without another write;
    - an exception out of `handle` becomes an outcome (`on_error`, by default a dead letter to `<topic>.dlq`); the row stays.

Needs: source topics with equal partition counts, neither compacted nor transactional; the changelog topic
`settings.changelog_topic` (cleanup.policy=compact, segment.bytes 16 MiB, segment.ms 10 min, min.cleanable.dirty.ratio
0.1) with the same count; something that starts the process again when it ends. Rows are JSON-able dicts, never empty.
"""

from .handler import UNCHANGED, Halt, Incoming, Outcome, Send, Unchanged, dead_letter
from .lease import Lease
from .pins import UntestedVersion, check_pins
from .settings import FenceSettings
from .table import TableRow
from .topics import FenceRefusal
from .worker import Fence

__all__ = [
    "UNCHANGED",
    "Fence",
    "FenceRefusal",
    "FenceSettings",
    "Halt",
    "Incoming",
    "Lease",
    "Outcome",
    "Send",
    "TableRow",
    "Unchanged",
    "UntestedVersion",
    "check_pins",
    "dead_letter",
]
