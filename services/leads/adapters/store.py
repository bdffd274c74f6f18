"""What the leads service asks of its store: `mongo.MongoLeads` is the real one, `memory.MemoryLeads` the tests' one.

One contract suite runs against both. Every change is conditional: it names the `rev` it was decided on and returns False
(or None) when that is no longer the stored one. Then nothing has happened, and the caller reads and decides again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol

from services.leads.domain.messages import Message, Reply
from services.leads.domain.model import Call, DueCall, Lead, LeftOutbox, OfficerState, Task

HISTORY_LIMIT: Final = 200
"""How many words a number's suppression keeps: enough to know every repetition again, and no document grows for ever."""
TALKS_LIMIT: Final = 5
UNREAD_REPLY: Final = "unread_reply"
"""Why a number is suppressed that has not opted out: it sent a text that nobody could read."""


class LeadStore(Protocol):
    """Documents that survive: an acknowledged write is journaled on a majority, and reads see only such writes.

    Every method raises StoreAway or StoreRefused of `services.runtime.mongo_errors`, and nothing of the driver's own.
    """

    async def find_call(self, key: str) -> Call | None:
        """Return a call."""

    async def insert_call(self, call: Call) -> bool:
        """Store a new call; False when there is one of that key."""

    async def save_call(self, before: Call, after: Call) -> Call | None:
        """Store a changed call, `rev` raised; None when `before` is not what is stored. Leaves `applied` alone."""

    async def calls_due(self, now: datetime, partitions: Iterable[int], limit: int) -> list[DueCall]:
        """Return calls whose `settle_at` has come, the longest due first.

        Undecided ones only of these partitions, or of none that is noted (written by an older version); what a decision
        causes may be finished by anyone.
        """

    async def calls_undecided(self, since: datetime, limit: int, *, untold: bool = False) -> list[DueCall]:
        """Return calls, of any partition, that were due at an instant and are undecided, the longest due first.

        With `untold`, only those whose caller has no task because of that.
        """

    async def note_undecided(self, key: str) -> None:
        """Note that a call's caller has a task because the call could not be decided; `rev` stays."""

    async def claim_call(self, key: str, now: datetime, lease_until: datetime) -> Call | None:
        """Return a call whose `settle_at` has come, after moving that to `lease_until`; None to all but one claimant."""

    async def finish_call(self, key: str, *, applied: bool) -> None:
        """Note that all a decision causes is done (`applied`), or has to wait for another fact; it settles no more."""

    async def talks_since(self, lender_id: str, caller: str, since: datetime) -> list[Call]:
        """Return a few of a caller's calls in which a person of ours has begun to talk at or after an instant."""

    async def calls_settling(self) -> int:
        """Return how many calls are over and wait to be decided; a call that goes on is no unfinished work."""

    async def find_lead(self, lender_id: str, caller: str) -> Lead | None:
        """Return a caller's lead."""

    async def lead_by_id(self, lead_id: str) -> Lead | None:
        """Return a lead."""

    async def insert_lead(self, lead: Lead, now: datetime) -> bool:
        """Store a new lead; False when the caller has one. `now` (real) dates its outbox."""

    async def save_lead(self, before: Lead, after: Lead, now: datetime) -> Lead | None:
        """Store a changed lead, `rev` raised, new entries at the outbox's end; None when `before` is not what is stored.

        Returns:
            The lead as stored, with every entry that nobody has pulled yet.
        """

    async def pull_outbox(self, lead_id: str, upto_seq: int) -> None:
        """Take acknowledged entries out of a lead's outbox; repeats change nothing, and `rev` stays."""

    async def outboxes_left(self, since: datetime, limit: int, after: LeftOutbox | None = None) -> list[LeftOutbox]:
        """Return the leads whose outbox has held something since (real) or longer, the oldest first, behind one of them."""

    async def leads_of_others(self, lender_id: str, present: Sequence[str], limit: int, skip: int = 0) -> list[str]:
        """Return a lender's leads with a task whose owner is none of these, always in one order, after so many others."""

    async def outboxes_pending(self) -> int:
        """Return how many leads have something to emit."""

    async def officers(self, ids: Sequence[str]) -> dict[str, OfficerState]:
        """Return officers by id; unknown ones are missing."""

    async def save_officer(self, before: OfficerState, after: OfficerState) -> bool:
        """Store a changed officer, `rev` raised; False when `before` is not what is stored."""

    async def add_officers(self, officers: Sequence[OfficerState]) -> None:
        """Store those that are not there; a stored officer keeps status and everything else."""

    async def put_message(self, message: Message) -> bool:
        """Store a message; False when there is one of that id, which stays as it is."""

    async def find_reply(self, event_id: str) -> Reply | None:
        """Return a borrower's text by its event."""

    async def replies_of(self, lender_id: str, caller: str, limit: int) -> list[Reply]:
        """Return a caller's own newest texts, the oldest first."""

    async def mark_delivered(self, touch_id: str, at: datetime) -> None:
        """Note on a sent text that it has reached the handset; nothing where no such text is stored."""

    async def log_task(self, lead: Lead, task: Task) -> None:
        """Store a closed task; a repeat changes nothing."""

    async def suppress(
        self,
        suppression_id: str,
        lender_id: str,
        at: datetime,
        why: str,
        event_id: str,
        *,
        unless_opted_in_since: bool = False,
    ) -> bool:
        """Store an opt-out, with what was said before kept as its history; an event that is in it changes nothing.

        Args:
            suppression_id: the number's.
            lender_id: whose opt-out.
            at: when it was said.
            why: who said so.
            event_id: of what was said; each is taken once.
            unless_opted_in_since: change nothing where the number was opted in by a word from after `at`.

        Returns:
            Whether the number is opted out now.
        """

    async def unsuppress(
        self,
        suppression_id: str,
        lender_id: str,
        at: datetime,
        event_id: str,
        *,
        first_stood: tuple[int, int] | None = None,
    ) -> bool:
        """Take an opt-out back (`active: false`, history kept); each event is taken once, also where there was none.

        Args:
            suppression_id: the number's.
            lender_id: whose opt-in.
            at: when it was said.
            event_id: of what was said; each is taken once.
            first_stood: partition and offset of the record that was replayed, where it was. It is put in before the texts
                behind that record that nobody has read: they keep the number suppressed until they are lifted.

        Returns:
            False, and nothing has changed, where the number was opted out after `at`: the word comes late.
        """

    async def lift(self, suppression_id: str, event_id: str) -> bool:
        """Take one word out of a number's history, which stands then as if it had not been said; False without it."""

    async def is_suppressed(self, suppression_id: str) -> bool:
        """Return whether a number is opted out; a text that nobody could read is no opt-out."""

    async def was_suppressed(self, suppression_id: str, event_id: str) -> bool:
        """Return whether a number is opted out, or was until this very event took that back."""

    async def check_key(self, key_check: str) -> bool:
        """Store the key check where there is none; return whether the stored one is this."""
