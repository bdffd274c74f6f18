"""MongoDB's errors become ours: StoreAway where the same call may succeed later, StoreRefused where it never will."""

import inspect
import types

import bson
import bson.errors
import pymongo.errors
import pytest

from services.runtime.errors import PermanentError, TransientError
from services.runtime.mongo_errors import ERRORS, StoreAway, StoreRefused, kind_of, mongo_errors, translated

LOOKED_AT = {"PyMongoError", "GridFSError", "CorruptGridFile", "NoFile", "FileExists", "_PoolClosedError"}
"""Errors for which falling back on the root of the tree, StoreAway, is right."""


def _defined_in(module: types.ModuleType, root: type[Exception]) -> list[type[Exception]]:
    return [one for one in vars(module).values() if inspect.isclass(one) and issubclass(one, root)]


def _family(error: type[Exception]) -> list[type[Exception]]:
    return [error, *(one for child in error.__subclasses__() for one in _family(child))]


ALL = sorted(
    {
        *_defined_in(pymongo.errors, pymongo.errors.PyMongoError),
        *_family(pymongo.errors.PyMongoError),
        *_defined_in(bson.errors, bson.errors.BSONError),
    },
    key=lambda one: one.__name__,
)


@pytest.mark.parametrize("error", ALL)
def test_every_error_of_the_driver_is_mapped_and_a_new_kind_is_noticed(error: type[Exception]) -> None:
    assert issubclass(kind_of(error), StoreAway | StoreRefused)
    nearest = next(model for model in error.__mro__ if model in ERRORS)
    assert nearest is not pymongo.errors.PyMongoError or error.__name__ in LOOKED_AT


def test_error_of_nobody_is_not_taken_for_mongodbs() -> None:
    with pytest.raises(LookupError, match="ZeroDivisionError"):
        kind_of(ZeroDivisionError)
    with pytest.raises(ZeroDivisionError), mongo_errors():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (pymongo.errors.ServerSelectionTimeoutError("no server"), StoreAway),
        (pymongo.errors.NotPrimaryError("stepped down"), StoreAway),
        (pymongo.errors.OperationFailure("interrupted", 11602), StoreAway),
        (pymongo.errors.OperationFailure("odd", 1), StoreAway),
        (pymongo.errors.OperationFailure("validation", 121), StoreRefused),
        (pymongo.errors.WriteError("too large", 17419), StoreRefused),
        (pymongo.errors.WriteError("unheard of", 4711), StoreRefused),
        (pymongo.errors.WriteError("write conflict", 112), StoreAway),
        (pymongo.errors.WriteError("odd", 4711, {"errorLabels": ["RetryableWriteError"]}), StoreAway),
        (pymongo.errors.DuplicateKeyError("met", 11000), StoreAway),
        (pymongo.errors.InvalidOperation("closed"), StoreAway),
        (pymongo.errors.DocumentTooLarge("17 MB"), StoreRefused),
        (pymongo.errors.BulkWriteError({"writeErrors": [{"code": 11000}, {"code": 10334}]}), StoreRefused),
        (pymongo.errors.BulkWriteError({"writeErrors": [{"code": 11000}]}), StoreAway),
        (pymongo.errors.BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}), StoreAway),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Exception) else value.__name__,
)
def test_what_may_pass_is_away_and_what_never_will_is_refused(
    error: pymongo.errors.PyMongoError, ours: type[Exception]
) -> None:
    assert type(translated(error)) is ours


@pytest.mark.parametrize(
    "document",
    [{"whole": 2**70}, {"half": "\ud800"}, {"nul\0": 1}, {"odd": object()}],
    ids=["number of more than 8 bytes", "half a surrogate pair", "NUL in a key", "no BSON type"],
)
def test_document_that_can_never_be_written_is_refused_with_the_drivers_reason(document: dict[str, object]) -> None:
    with pytest.raises(StoreRefused, match="MongoDB: ") as found, mongo_errors():
        bson.encode(document)
    assert found.value.__cause__ is not None


def test_our_kinds_say_whether_trying_again_may_help() -> None:
    assert issubclass(StoreAway, TransientError)
    assert issubclass(StoreRefused, PermanentError)


@pytest.mark.parametrize("code", [13, 18, 8000])
def test_refused_login_is_told_as_such_and_may_be_right_again(code: int) -> None:
    found = translated(pymongo.errors.OperationFailure("Authentication failed.", code))
    assert isinstance(found, StoreAway)
    assert str(found) == "MongoDB refuses the login; correct the user and password in RINGBACK_MONGODB_URL"
