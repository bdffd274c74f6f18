"""The lender's file for a service that is starting: read, checked and warmed up, or every problem said and exit code 78."""

from datetime import datetime
from pathlib import Path

from services.policy.directory import Directory, DirectoryError, load_directory
from services.runtime.exits import exit_with_problems


def directory_or_exit(path: Path | str, now: datetime) -> Directory:
    """Read a directory, its calendars worked out; exit with 78 on every problem in it."""
    try:
        directory = load_directory(path)
    except DirectoryError as error:
        exit_with_problems(error.source, error.problems)
    for branch in directory.branches:
        # A year's holidays take a third of a second to work out: not while the first borrower waits for a text.
        directory.next_business_morning(branch, now)
        directory.is_open(branch, now)
    return directory
