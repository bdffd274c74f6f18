"""A borrower's text that nobody could read may be a STOP: until somebody has looked at it, its sender gets no texts.

It is suppressed before the record becomes a dead letter. `ringback dlq replay` and `drop` lift that again (`lift`), and so
does the borrower's own START. It is no opt-out: no lead is stopped by it, and once it is lifted the number stands as before.
"""

from typing import Final

import structlog

from schemas.inbound import ReplyReceived
from services.leads import metrics
from services.leads.adapters.store import UNREAD_REPLY, LeadStore
from services.policy.suppression import suppression_id
from services.runtime.clock import Clock
from services.runtime.dead_letters import Record

log = structlog.get_logger(__name__)

TOPIC: Final = ReplyReceived.TOPIC


class Unread:
    """Suppresses whoever wrote a text that nobody could read.

    Args:
        store: of the suppressions.
        clock: dates the suppression; the text itself may not say when it came.
        number_key: names numbers in `suppressions`.
    """

    def __init__(self, store: LeadStore, clock: Clock, number_key: str) -> None:
        self._store, self._clock, self._number_key = store, clock, number_key

    async def before_dead_letter(self, record: Record, error: Exception) -> None:
        """Suppress the number in a record's key; for the consumer loop, which repeats it until it has succeeded."""
        if record.topic != TOPIC:
            return
        whose = _whose(record.key)
        if whose is None:
            log.error("unread_reply_of_nobody", partition=record.partition, offset=record.offset)
            return
        lender_id, caller = whose
        await self._store.suppress(
            suppression_id(self._number_key, lender_id, caller),
            lender_id,
            self._clock.now(),
            UNREAD_REPLY,
            unread_id(record.topic, record.partition, record.offset),
        )
        metrics.UNREAD.inc()
        log.error("unread_reply", partition=record.partition, offset=record.offset, why=type(error).__name__)

    async def lift(self, key: bytes | None, topic: str, partition: int, offset: int) -> bool:
        """Lift what a record that is now replayed or dropped has suppressed; return whether there was anything.

        Args:
            key: the record's.
            topic: where the record stood; the dead letter's headers say so.
            partition: of that topic.
            offset: in that partition.
        """
        whose = _whose(key)
        if topic != TOPIC or whose is None:
            return False
        return await self._store.lift(suppression_id(self._number_key, *whose), unread_id(topic, partition, offset))


def unread_id(topic: str, partition: int, offset: int) -> str:
    """Return the id under which a record's suppression is kept; the record's own id may be unreadable."""
    return f"unread:{topic}:{partition}:{offset}"


def _whose(key: bytes | None) -> tuple[str, str] | None:
    """Return lender and caller of a key; None where it names no caller."""
    lender_id, _, caller = (key or b"").decode(errors="replace").rpartition(":")
    return (lender_id, caller) if lender_id and caller.startswith("+") else None
