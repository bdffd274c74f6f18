"""An officer who is no longer in the directory keeps no task: each open one gets an owner who is there."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from services.leads.adapters.store import LeadStore
from services.leads.shell import Shell
from services.runtime.clock import Clock
from services.runtime.health import Health
from services.runtime.rounds import Rounds

LOOK_EVERY: Final = timedelta(minutes=10)
"""The directory is read at start, so the first look finds nearly all. Later ones find what an instance with the older directory
assigned while a new one was rolled out; seldom, for such a pair would take leads from each other's new officers."""
BATCH: Final = 1_000


class Departures(Rounds):
    """Finds leads with an open task whose owner has left, at start and every ten minutes.

    Args:
        store: of the leads.
        shell: gives a lead to somebody else.
        clock: counts the ten minutes, in real time.
        health: where a round that fails says so.
        lender_id: whose directory it is.
        present: the officers that it names.
    """

    name = "departures"
    period_s = 20.0

    def __init__(
        self, *, store: LeadStore, shell: Shell, clock: Clock, health: Health, lender_id: str, present: Sequence[str]
    ) -> None:
        super().__init__(health)
        self._shell, self._clock = shell, clock
        self._find = partial(store.leads_of_others, lender_id, present)
        self._next: datetime | None = None

    async def round(self) -> None:
        """Give to somebody else what those who left still own, unless that was done a short time ago.

        Raises:
            TransientError: MongoDB is away; the next round goes on.
        """
        now = self._clock.real_now()
        if self._next is not None and now < self._next:
            return
        left = await self.each_left(self._find, self._shell.replace_owner, key=str, group=lambda _: None, batch=BATCH)
        for error in left.values():
            raise error
        self._next = now + LOOK_EVERY
