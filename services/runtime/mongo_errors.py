"""MongoDB's errors in our two kinds: the one table, used around every call of the driver.

StoreAway (transient) says that the same call may succeed later; a write may have happened or not. StoreRefused
(permanent) says that it never will: the document or the command itself is wrong.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import bson.errors
import pymongo.errors as driver

from services.runtime.errors import PermanentError, TransientError


class StoreAway(TransientError):
    """MongoDB is not there, has no primary, or did not acknowledge; a write may or may not have happened."""


class StoreRefused(PermanentError):
    """MongoDB or its driver says that this document or command can never work."""


ERRORS: Final[Mapping[type[Exception], type[StoreAway] | type[StoreRefused]]] = {
    driver.PyMongoError: StoreAway,
    driver.ConnectionFailure: StoreAway,
    driver.OperationFailure: StoreAway,  # but see REFUSED_CODES
    driver.WriteError: StoreRefused,  # but see PASSING_CODES
    driver.DuplicateKeyError: StoreAway,  # inserts expect it and catch it first; from an upsert it means that two met
    driver.BulkWriteError: StoreAway,  # but its parts are looked at one by one
    driver.ClientBulkWriteException: StoreAway,
    driver.InvalidOperation: StoreAway,  # the client is closed: we are stopping, nothing is wrong with the event
    driver.ProtocolError: StoreAway,
    driver.ConfigurationError: StoreRefused,
    driver.CollectionInvalid: StoreRefused,
    driver.InvalidName: StoreRefused,
    driver.EncryptionError: StoreRefused,
    bson.errors.BSONError: StoreRefused,
    OverflowError: StoreRefused,  # bson: a whole number of more than 8 bytes
    UnicodeEncodeError: StoreRefused,  # bson: half of a surrogate pair, which JSON lets through
}
"""Our kind of each of the driver's errors; the most specific class wins."""

REFUSED_CODES: Final = frozenset({2, 9, 14, 28, 40, 52, 121, 10334, 17280, 17419, 17420})
"""Server codes that say that the command or document itself is wrong (bad value, failed to parse, type mismatch, path
not viable, conflicting or dollar-prefixed fields, validation, too large), whatever class they come in."""

PASSING_CODES: Final = frozenset({
    6, 7, 24, 50, 64, 89, 91, 112, 134, 189, 262, 9001, 10058, 10107, 11600, 11601, 11602, 13435, 13436,
})  # fmt: skip
"""Server codes that pass by themselves (host away, shutting down, stepped down, interrupted, time limit, lock or write
conflict, write concern), also where they come as a WriteError."""

DUPLICATE_KEY: Final = 11000

LOGIN_CODES: Final = frozenset({13, 18, 8000})
"""Server codes of a refused login (unauthorized, authentication failed, Atlas's own). It may be right again without us."""


def is_login_refused(error: BaseException) -> bool:
    """Return whether MongoDB answers, and refuses whom the URL names."""
    return isinstance(error, driver.OperationFailure) and error.code in LOGIN_CODES


def kind_of(error: type[BaseException]) -> type[StoreAway] | type[StoreRefused]:
    """Return our kind of one of the driver's error classes.

    Raises:
        LookupError: it is none of the driver's.
    """
    for model in error.__mro__:
        if (kind := ERRORS.get(model)) is not None:
            return kind
    raise LookupError(f"{error.__name__} is none of MongoDB's errors")


def translated(error: Exception) -> StoreAway | StoreRefused:
    """Return our error for one of the driver's."""
    if is_login_refused(error):
        return _kind(error)("MongoDB refuses the login; correct the user and password in RINGBACK_MONGODB_URL")
    return _kind(error)(f"MongoDB: {type(error).__name__}: {str(error)[:300]}")


def _kind(error: Exception) -> type[StoreAway] | type[StoreRefused]:
    kind = kind_of(type(error))
    if isinstance(error, driver.BulkWriteError):
        codes = [found.get("code") for found in error.details.get("writeErrors", ())]
        # One part that can never be written refuses the whole: whoever wrote them together may write them one by one.
        refused = any(code not in PASSING_CODES and code != DUPLICATE_KEY for code in codes)
        return StoreRefused if refused else StoreAway
    if isinstance(error, driver.OperationFailure):
        if error.code in REFUSED_CODES:
            return StoreRefused
        if error.code in PASSING_CODES or error.has_error_label("RetryableWriteError"):
            return StoreAway
    return kind


@contextmanager
def mongo_errors() -> Iterator[None]:
    """Let nothing of the driver's own out of the block.

    Raises:
        StoreAway: the same call may succeed later.
        StoreRefused: it never will.
    """
    try:
        yield
    except tuple(ERRORS) as error:
        raise translated(error) from error
