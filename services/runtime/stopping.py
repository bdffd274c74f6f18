"""How long a service may take to end: one bound for the whole, and the shares of it."""

import asyncio
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

STOP_LIMIT_S: Final = 30.0
"""From the signal to the end of the process, whatever hangs. What is not finished by then, the next process repeats."""

PARTS_LIMIT_S: Final = 15.0
"""All parts together, one after the other."""
EVENTS_LIMIT_S: Final = 10.0
"""How long a consumer loop waits for the events in hand, at its end and when partitions are taken away."""
FLUSH_LIMIT_S: Final = 5.0
"""How long a producer waits for acknowledgements; who waits for one knows that it has not come."""
CLOSE_LIMIT_S: Final = 5.0
"""How long one request to say goodbye may take: a commit, leaving a group, closing a client, ending
cancelled tasks, answering the last requests."""
REBALANCE_LIMIT_S: Final = 60.0
"""How long a group waits for a member to hand in its partitions: longer than the events in hand and commits may take, or a
member with an event that waits is dropped again and again."""
ROUND_LIMIT_S: Final = 3.0
"""How long the round in hand may take."""


async def left_after(limit_s: float, *tasks: asyncio.Task[Any]) -> bool:
    """Wait for tasks, but not longer than a limit; log and return whether any has not ended. Those are cancelled."""
    if not tasks:
        return False
    _, left = await asyncio.wait(tasks, timeout=limit_s)
    for task in left:
        task.cancel()
    if left:
        log.error("stop_hung", limit_s=limit_s, left=sorted(task.get_name() for task in left))
    return bool(left)
