"""The rule of one sequence a day: one recovery of a caller per local day, and none beside an unfinished one."""

from datetime import datetime, timedelta

from schemas.leads import LeadCalledAgain, LeadOpened
from services.sequencer.domain.row import Row

UNFINISHED_LIMIT = timedelta(days=14)
"""A sequence whose last result never comes must not keep a borrower from being texted for good."""


def may_start(row: Row, missed: LeadOpened | LeadCalledAgain, now: datetime) -> bool:
    """Say whether a missed call may start a sequence: none is unfinished, and there was none that local day.

    Source: facts C11, Q2.
    """
    found = row.sequence
    if found is None:
        return True
    over = found.finished or now - found.call_ended_at > UNFINISHED_LIMIT
    return over and found.local_day != missed.local_day
