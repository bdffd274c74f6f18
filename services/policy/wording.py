"""What an approved text must look like before it may be in a directory at all.

Only what every later rule stands on: placeholders that exist, letters that stay in one cheap alphabet, and the two
things the first written word to a borrower must carry. Rates, promises and the rest are the linter's.
"""

from collections.abc import Iterator
from typing import Final

from jinja2 import TemplateSyntaxError, meta
from jinja2.sandbox import SandboxedEnvironment

PLACEHOLDERS: Final = frozenset({"name", "officer_name", "company", "number", "nmls_ids"})
"""All that a text may be filled with (C10). Each may be None or empty except `company` and `nmls_ids`."""

FIRST_CONTACT: Final = frozenset({"missed_call_first"})
"""Families that are the first written word to a borrower: NMLS ids (12 CFR 1007.105(b)) and the way out."""

_ENVIRONMENT: Final = SandboxedEnvironment(autoescape=False)  # plain text, never a page


def wording_problems(family: str, text: str) -> Iterator[str]:
    """Yield what is wrong with a wording; nothing when it may be approved."""
    # Printable ASCII is inside GSM-7 but for the backtick; one curly quote would more than double the segments.
    if odd := sorted({c for c in text if not (" " <= c <= "~" or c == "\n") or c == "`"}):
        yield f"{odd[0]!r} makes every text cost more segments; write plain ASCII"
    try:
        tree = _ENVIRONMENT.parse(text)
    except TemplateSyntaxError as error:
        yield f"not a template: {error.message}"
        return
    used = meta.find_undeclared_variables(tree)
    if unknown := sorted(used - PLACEHOLDERS):
        yield f"unknown placeholder {unknown[0]!r}; there are {', '.join(sorted(PLACEHOLDERS))}"
    if family in FIRST_CONTACT:
        if "nmls_ids" not in used:
            yield "a first text shows {{ nmls_ids }}"
        if "STOP" not in text:
            yield "a first text says how to opt out (STOP)"
