"""A borrower's text that nobody could read may be a STOP: until somebody has looked at it, its sender gets no texts.

It is suppressed before the record becomes a dead letter. `ringback dlq replay` and `drop` lift that again (they send a
`reply.looked_at`), and so does the borrower's own START, but a replayed one only where it was written after the text. It
is no opt-out: no lead is stopped by it, and once it is lifted the number stands as before.
"""

from typing import Final

import structlog

from schemas.ids import whose
from schemas.inbound import ReplyLookedAt, ReplyReceived
from services.leads import metrics
from services.leads.adapters.documents import unread_id
from services.leads.adapters.store import UNREAD_REPLY, LeadStore
from services.policy.suppression import suppression_id
from services.runtime.clock import Clock
from services.runtime.dead_letters import Record
from services.runtime.handled import APPLIED, Handled, ignored

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
        found = whose(record.key)
        if found is None:
            log.error("unread_reply_of_nobody", partition=record.partition, offset=record.offset)
            return
        lender_id, caller = found
        await self._store.suppress(
            suppression_id(self._number_key, lender_id, caller),
            lender_id,
            self._clock.now(),
            UNREAD_REPLY,
            unread_id(record.topic, record.partition, record.offset),
        )
        metrics.UNREAD.inc()
        log.error("unread_reply", partition=record.partition, offset=record.offset, why=type(error).__name__)

    async def on_looked_at(self, key: bytes, looked_at: ReplyLookedAt) -> Handled:
        """Lift what a text has suppressed that is now replayed or dropped.

        What was replayed is applied by then, for it has the same key and comes before. If it could not be read again, it has
        suppressed its sender again, as another record.
        """
        found = whose(key)
        if found is None:
            return ignored("no_caller")
        word = unread_id(TOPIC, looked_at.partition, looked_at.offset)
        if not await self._store.lift(suppression_id(self._number_key, *found), word):
            return ignored("lifted_already")
        log.info("unread_reply_lifted", partition=looked_at.partition, offset=looked_at.offset, how=looked_at.how)
        return APPLIED
