"""Where a lead belongs and who takes it: the directory says who may, `officers` says who has."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from services.leads import metrics
from services.leads.adapters.store import LeadStore
from services.leads.domain.model import OfficerState
from services.leads.domain.officer_choice import Candidate, choose, take
from services.leads.domain.place import Place
from services.leads.errors import TooMuchContention
from services.policy.directory import Branch, Directory, Officer

log = structlog.get_logger(__name__)

TRIES = 50
"""A branch has few officers and many calls in its busiest hour: conflicts are normal, and each costs one round trip."""


class Assigner:
    """The directory and the officers' documents, asked together."""

    def __init__(self, store: LeadStore, directory: Directory) -> None:
        self._store, self._directory = store, directory
        self._branches = {branch.id: branch for branch in directory.branches}
        # One at a time within this process: side by side they would choose the same officer and conflict.
        self._turns = {branch.id: asyncio.Lock() for branch in directory.branches}
        self._known: dict[str, OfficerState] = {}
        self._officers = {branch.id: directory.officers_of(branch.id) for branch in directory.branches}

    def is_here(self, officer_id: str | None) -> bool:
        """Return whether it is an officer of the directory; who is no longer in it has left."""
        return officer_id is not None and self._directory.officer(officer_id) is not None

    def place(self, at: datetime, caller: str, branch_id: str = "", *, dialled: str | None = None) -> Place:
        """Return what a branch's calendar says at the end of a call, or at a text.

        Where the branch was closed and the lender sends this caller no text after hours, the task is due with the next
        business morning's first callbacks instead of at once.

        Args:
            at: the end of the call.
            caller: decides which state's rules hold.
            branch_id: of the directory; an unknown one is read as the branch of `dialled`, else as the first one.
            dialled: the number of ours that was called or texted.
        """
        branch = self._branch(branch_id, dialled)
        day = self._directory.local_day(branch, at)
        morning = self._directory.next_business_morning(branch, at)
        nobody_answers = not (
            self._directory.policies.for_caller(caller).after_hours_text or self._directory.is_open(branch, at)
        )
        return Place(
            branch_id=branch.id,
            local_day=day,
            callback_morning=morning,
            task_due_at=morning.utc() if nobody_answers else None,
        )

    def _branch(self, branch_id: str, dialled: str | None) -> Branch:
        branch = self._branches.get(branch_id)
        if branch is None and dialled is not None:
            branch = self._directory.branch_by_number(dialled)
        if branch is None:
            branch = self._directory.branches[0]
            log.warning("unknown_branch", branch_id=branch_id, used=branch.id)
        return branch

    async def take(self, place: Place, cause_id: str, now: datetime, *, first_try: bool = False) -> str | None:
        """Take an officer of the branch for a lead.

        Args:
            place: the branch and its day.
            cause_id: what the officer is taken for; whoever has taken it before a crash is found again.
            now: virtual.
            first_try: nobody can have taken it yet, so what we remember of the officers is enough: if it is stale, the
                conditional write fails.
        """
        async with self._turns[place.branch_id]:
            return await self._take(place, cause_id, now, first_try=first_try)

    async def _take(self, place: Place, cause_id: str, now: datetime, *, first_try: bool) -> str | None:
        people = self._officers[place.branch_id]
        for attempt in range(TRIES):
            if attempt:
                metrics.CONFLICTS.labels("officers").inc()
            if attempt or not first_try or any(person.id not in self._known for person in people):
                self._known.update(await self._stored(people))
            candidates = [
                Candidate(
                    officer=self._known.get(person.id, OfficerState(officer_id=person.id)),
                    weight=person.weight,
                    daily_capacity=person.daily_capacity,
                )
                for person in people
            ]
            chosen = choose(candidates, place.local_day, cause_id)
            if chosen is None:
                log.error("branch_without_officers", branch_id=place.branch_id)
                return None
            after = take(chosen, cause_id, place.local_day, now)
            if after == chosen:
                return chosen.officer_id
            if await self._store.save_officer(chosen, after):
                self._known[chosen.officer_id] = replace(after, rev=chosen.rev + 1)
                return chosen.officer_id
            self._known.pop(chosen.officer_id, None)
        raise TooMuchContention(f"officers of {place.branch_id}")

    async def _stored(self, people: Sequence[Officer]) -> Mapping[str, OfficerState]:
        """Return a branch's officers as they are stored; who is missing, say after a restore, is stored first."""
        ids = [person.id for person in people]
        found = await self._store.officers(ids)
        if missing := [person for person in people if person.id not in found]:
            log.warning("officers_missing", officers=[person.id for person in missing])
            await self._store.add_officers(
                [OfficerState(officer_id=person.id, status=person.status) for person in missing]
            )
            found = await self._store.officers(ids)
        return found

    async def seed(self) -> None:
        """Store the directory's officers that are not there yet; a status set since then is never overwritten."""
        fresh = [OfficerState(officer_id=person.id, status=person.status) for person in self._directory.officers]
        await self._store.add_officers(fresh)
