"""What is wrong with a value, in words for people: one translator for the directory, settings, webhooks and events.

A message starts with a verb ("is missing"), because the path of the field stands in front of it. It never shows a regular
expression, and never the value: that may be a secret or a borrower's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import AfterValidator, ValidationError
from pydantic_core import ErrorDetails

from schemas.base import E164_PATTERN

NOT_A_NUMBER: Final = "is not a phone number; write +1 and ten digits, such as +12125550100"

MAX_LINE: Final = 300
"""Longest line about one problem: a value that it quotes may be of any length."""

_A_DATE: Final = "is not a date; write it like 2026-02-06"
_A_TIME: Final = "is not a time; write it with its offset, like 2026-03-03T14:58:00-05:00"
_WHOLE: Final = "is not a whole number"
_NUMBER: Final = "is not a number"
_TRUTH: Final = "is neither true nor false"
_FIELDS: Final = "is not a set of named fields"
_LIST: Final = "is not a list"

_SAID: Final[Mapping[str, str]] = {
    "missing": "is missing", "extra_forbidden": "is not a known field", "json_invalid": "is not JSON",
    "string_type": "is not text", "string_unicode": "is not text", "none_required": "must be empty",
    "string_pattern_mismatch": "is not written as it must be",
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE, "int_parsing_size": _WHOLE,
    "float_type": _NUMBER, "float_parsing": _NUMBER, "finite_number": _NUMBER,
    "bool_type": _TRUTH, "bool_parsing": _TRUTH,
    "dict_type": _FIELDS, "model_type": _FIELDS, "model_attributes_type": _FIELDS, "mapping_type": _FIELDS,
    "list_type": _LIST, "tuple_type": _LIST,
    "date_type": _A_DATE, "date_parsing": _A_DATE, "date_from_datetime_parsing": _A_DATE,
    "date_from_datetime_inexact": _A_DATE,
    "datetime_type": _A_TIME, "datetime_parsing": _A_TIME, "datetime_from_date_parsing": _A_TIME,
    "datetime_object_invalid": _A_TIME, "timezone_aware": _A_TIME,
}  # fmt: skip
"""By pydantic's name of an error."""

_COUNTED: Final[Mapping[str, tuple[str, str]]] = {
    "string_too_long": ("is longer than {} characters", "max_length"),
    "string_too_short": ("is shorter than {} characters", "min_length"),
    "too_short": ("needs at least {}", "min_length"),
    "too_long": ("has more than {}", "max_length"),
    "greater_than_equal": ("is less than {}", "ge"),
    "less_than_equal": ("is more than {}", "le"),
    "greater_than": ("is not more than {}", "gt"),
    "less_than": ("is not less than {}", "lt"),
    "literal_error": ("is not {}", "expected"),
    "enum": ("is not {}", "expected"),
}
"""Those that carry a limit: the words, and where pydantic keeps the limit."""


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Return why a text file cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8 text"
    return f"cannot be read: {error.strerror or type(error).__name__}"


def path_of(loc: Sequence[int | str]) -> str:
    """Return a field's path as a person writes it: `branches[1].time_zone`; empty for the whole."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def problems_of(error: ValidationError, name: Callable[[Sequence[int | str]], str] = path_of) -> list[tuple[str, str]]:
    """Return everything that pydantic found wrong: path and reason, one or more lines a field.

    Args:
        error: from validating a model.
        name: how the fields' paths are written.
    """
    found = error.errors(include_input=False, include_url=False)
    return [(name(one["loc"]), line) for one in found for line in _reason(one).split("\n")]


def shortened(line: str) -> str:
    """Return a line about a problem, cut where nobody would read on."""
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 3]}..."


def written(pattern: str, words: str) -> AfterValidator:
    """Return a check that a whole text matches a pattern; a person is told the words instead."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


def _reason(found: ErrorDetails) -> str:
    kind, context = found["type"], found.get("ctx", {})
    if kind == "value_error":  # one of our own checks, which speaks for itself
        return found["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch" and context.get("pattern") == E164_PATTERN:
        return NOT_A_NUMBER
    if kind == "string_too_short" and context.get("min_length") == 1:
        return "is empty"
    if kind in _COUNTED:
        words, limit = _COUNTED[kind]
        return words.format(_plain(context.get(limit)))
    return _SAID.get(kind, f"is wrong ({kind.replace('_', ' ')})")


def _plain(limit: object) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)
