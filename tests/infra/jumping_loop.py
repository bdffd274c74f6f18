"""An event loop whose time jumps: nobody waits, so minutes of time-outs and pauses pass in milliseconds."""

import asyncio
import selectors
from typing import Any


class JumpingLoop(asyncio.SelectorEventLoop):
    """Where nothing is ready, its time goes on to whatever is due next. Not for code that uses threads or sockets."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Return the loop's time, with all that it has jumped over."""
        return super().time() + self.ahead_s


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        """Never wait for a time."""
        if timeout:
            self._loop.ahead_s += timeout
            timeout = 0
        return super().select(timeout)
