"""The last look before a text: the connection is there, and the first byte would be written next.

Name resolution, connecting and TLS may have taken seconds since the gate was asked, and a STOP may have come meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.notifier.adapters.store import Borrower
from services.notifier.domain.delivery import Delivery
from services.notifier.domain.facts import NotSent
from services.notifier.domain.gate import GateVerdict, Open
from services.runtime.clock import Clock
from services.runtime.errors import RingbackError

READ_FRESH_S: Final = 1.0
"""What the gate was told may be this old when the request goes out, counted from before it was read."""
READ_LIMIT_S: Final = 0.5
"""How long reading again may take while a connection waits."""


@dataclass(slots=True, kw_only=True)
class LastLook:
    """Says once whether one request may be written.

    Attributes:
        posting: the text, stored as being posted.
        borrower: what the gate was told.
        read_s: on the monotonic clock, from before that was read.
        write_before_s: on the monotonic clock; from then on nothing is written.
        read: reads it again.
        gate: the gate, with the tail as it is now.
        clock: the service's.
        posted_real: when it said yes.
    """

    posting: Delivery
    borrower: Borrower
    read_s: float
    write_before_s: float
    read: Callable[[Delivery], Awaitable[Borrower]]
    gate: Callable[[Delivery, Borrower], GateVerdict]
    clock: Clock
    posted_real: datetime | None = None

    async def __call__(self) -> NotSent | None:
        """Return None when the request may be written, else why not. Costs a read only where the last one is old."""
        if not self._is_fresh():
            self.read_s = self.clock.monotonic_s()
            try:
                async with asyncio.timeout(READ_LIMIT_S):
                    self.borrower = await self.read(self.posting)
            except (TimeoutError, RingbackError) as error:
                return NotSent(reason=f"cannot look again: {type(error).__name__}")
        # From here on nothing awaits.
        if not self._is_fresh() or self.clock.monotonic_s() >= self.write_before_s:
            return NotSent(reason="too_late", pause=False)
        if not isinstance(self.gate(self.posting, self.borrower), Open):
            return NotSent(reason="gate_closed_again", pause=False)
        self.posted_real = self.clock.real_now()
        return None

    def _is_fresh(self) -> bool:
        return self.clock.monotonic_s() - self.read_s <= READ_FRESH_S
