"""A fence by itself, without the rest of a service."""

import asyncio
import contextlib

from services.runtime.hard_end import StopBound
from services.runtime.stopping import PARTS_LIMIT_S
from services.sequencer.adapters.fence import Fence


async def run_until_stopped(fence: Fence, stop: asyncio.Event) -> None:
    """Run a fence by itself until `stop` is set."""
    await fence.start()
    running = asyncio.create_task(fence.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        await running
    bound = StopBound(PARTS_LIMIT_S)
    bound.arm()
    try:
        await fence.stop()
        running.cancel()  # a start that still waits for a broker does not notice that Faust was stopped
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        bound.disarm()
