"""What an approved text must look like before it may be in a directory at all.

Only what every later rule stands on: placeholders that exist, letters that stay in one cheap alphabet, and the two
things the first written word to a borrower must carry. Rates, promises and the rest are the linter's.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final

from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2 import Template as JinjaTemplate
from jinja2.sandbox import SandboxedEnvironment

PLACEHOLDERS: Final = frozenset({"name", "officer_name", "company", "number", "nmls_ids"})
"""All that a text may be filled with (fact C10). Each may be None or empty except `company` and `nmls_ids`."""

FIRST_CONTACT: Final = frozenset({"missed_call_first"})
"""Families that are the first written word to a borrower: NMLS ids (12 CFR 1007.105(b)) and the way out."""

_SAMPLE_IDS: Final = "9900011/9900001"
_SAMPLE: Final[dict[str, str | None]] = {"company": "Larkspur", "nmls_ids": _SAMPLE_IDS}
_SAMPLES: Final = (
    {**_SAMPLE, "name": "Sam", "officer_name": "Dana", "number": "(212) 555-0100"},
    {**_SAMPLE, "name": None, "officer_name": "Dana", "number": "(212) 555-0100"},
)

_ENVIRONMENT: Final = SandboxedEnvironment(autoescape=False)  # plain text, never a page


def wording_problems(family: str, text: str) -> Iterator[str]:
    """Yield what is wrong with a wording; nothing when it may be approved."""
    # Printable ASCII is inside GSM-7 but for the backtick; one curly quote would more than double the segments.
    if odd := sorted({c for c in text if not (" " <= c <= "~" or c == "\n") or c == "`"}):
        yield f"{odd[0]!r} makes every text cost more segments; write plain ASCII"
    try:
        used = meta.find_undeclared_variables(_ENVIRONMENT.parse(text))
    except TemplateSyntaxError as error:  # an unknown filter too
        yield f"is not a template: {error.message}"
        return
    if unknown := sorted(used - PLACEHOLDERS):
        yield f"unknown placeholder {unknown[0]!r}; there are {', '.join(sorted(PLACEHOLDERS))}"
        return
    # What counts is what a borrower reads, with a name and without: a word in a comment or in a branch does not.
    try:
        read = [render(text, **sample) for sample in _SAMPLES]
    except NoWording as error:
        yield str(error)
        return
    if family in FIRST_CONTACT:
        if not all(_SAMPLE_IDS in one for one in read):
            yield "a first text shows {{ nmls_ids }}, also to a borrower without a name"
        if not all("STOP" in one for one in read):
            yield "a first text says how to opt out (STOP), also to a borrower without a name"


VARIANT_RULE: Final = "first-text-variant"
VARIANT_RULE_VERSION: Final = 1
"""Stored with every text, so that it can be said later why it read as it did."""

SIGNED_BY_OFFICER: Final = frozenset({"free", "busy"})
"""Variants that name the owner, and so carry the owner's own NMLS id."""

_WEAKER: Final = {
    "free": ("free", "no_name", "default"),
    "busy": ("busy", "no_name", "default"),
    "after_hours": ("after_hours", "no_name", "default"),
    "no_name": ("no_name", "default"),
}
"""What is said instead when the lender has approved no such variant: only ever something that promises less."""


class NoWording(LookupError):
    """The lender has approved nothing that may be said here."""


def pick_variant(approved: Collection[str], *, owner_known: bool, owner_status: str | None, branch_open: bool) -> str:
    """Return which approved variant is true now.

    "I'm available now" is said only for an owner whose status is available, at an open branch (fact C14); "with another
    borrower" only for one who is busy. Anything else, unknown included, is the company's words: they promise neither.

    Raises:
        NoWording: no variant that is true now has been approved.
    """
    if not branch_open:
        wanted = "after_hours"
    elif not owner_known:
        wanted = "no_name"
    else:
        wanted = {"available": "free", "busy": "busy"}.get(owner_status or "", "no_name")
    for variant in _WEAKER[wanted]:
        if variant in approved:
            return variant
    raise NoWording(f"no approved variant for {wanted!r}")


def render(text: str, **values: str | None) -> str:
    """Return a wording filled in; values are data and never read as a template.

    Raises:
        NoWording: the wording is no template, or asks for something that is not there.
    """
    try:
        return _compiled(text).render(values)
    except Exception as error:  # a template may divide by zero, include a file, take a part of nothing
        raise NoWording(f"cannot be filled in: {error}") from error


_STRICT: Final = SandboxedEnvironment(autoescape=False, undefined=StrictUndefined)  # plain text, never a page


@lru_cache(maxsize=512)  # compiling costs more than everything else about a text
def _compiled(text: str) -> JinjaTemplate:
    return _STRICT.from_string(text)
