"""What the ingest service asks the lender's directory."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.ingest.errors import UnknownNumber
from services.policy.directory import Branch, Directory
from services.policy.numbers import normalize_caller

MOST_LEGS: Final = 10
"""Twilio dials at most ten numbers of one `<Dial>`."""


@dataclass(frozen=True)
class Lender:
    """The directory, with the questions a webhook raises.

    Attributes:
        directory: the lender's file.
        tests: callers whose calls are tests, beside the directory's internal numbers (facts A11, C12).
    """

    directory: Directory
    tests: Collection[str] = ()

    @property
    def id(self) -> str:
        """The lender."""
        return self.directory.lender_id

    def dialed(self, raw: str | None, field: str = "To") -> tuple[str, Branch]:
        """Return the dialed number and its branch.

        Raises:
            UnknownNumber: no branch has it.
        """
        number = normalize_caller(raw).e164
        branch = self.directory.branch_by_number(number) if number else None
        if number is None or branch is None:
            raise UnknownNumber(field)
        return number, branch

    def branch_id(self, said: str | None, dialed: str | None = None) -> str:
        """Return the branch that a callback URL names, or else whose number was dialed; empty when neither is known.

        A fact of a branch that has just left the directory is kept: it belongs to a call that the leads service knows.
        """
        if said and any(branch.id == said for branch in self.directory.branches):
            return said
        number = normalize_caller(dialed).e164
        branch = self.directory.branch_by_number(number) if number else None
        return branch.id if branch else ""

    def is_ours(self, number: str) -> bool:
        """Return whether a number is a branch's own."""
        return self.directory.branch_by_number(number) is not None

    def is_test(self, caller: str | None) -> bool:
        """Return whether a caller's calls are tests."""
        return caller is not None and (caller in self.directory.internal_numbers or caller in self.tests)

    def on_shift(self, branch: Branch, at: datetime) -> tuple[tuple[str, str], ...]:
        """Return id and phone of each officer to dial at an instant; none when the branch is closed."""
        if not self.directory.is_open(branch, at):
            return ()
        there = [officer for officer in self.directory.officers_of(branch.id) if officer.status != "off"]
        return tuple((officer.id, officer.phone) for officer in there[:MOST_LEGS])
