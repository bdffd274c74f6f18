"""Letters that cost: a text stays in GSM-7, where a segment holds 160 characters instead of 70."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import smsutil

_PLAIN: Final = str.maketrans({
    "\u2014": " - ", "\u2013": "-", "\u2012": "-", "\u2010": "-", "\u2011": "-", "\u2212": "-",
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'", "`": "'", "\u00b4": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2026": "...", "\u2022": "-", "\u00a0": " ", "\u2007": " ", "\u2009": " ", "\u202f": " ", "\t": " ",
    "\u0142": "l", "\u0141": "L", "\u0111": "d", "\u0110": "D", "\u0131": "i", "\u0153": "oe", "\u0152": "OE",
    "\u00ad": "", "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
})  # fmt: skip
"""What word processors and keyboards put in, and what it means in plain letters."""


def clean(text: str) -> str:
    """Return text in GSM-7: the same words, other characters made plain or, where nothing fits, left out.

    Runs of spaces become one; line breaks stay.
    """
    plain = "".join(_fits(char) for char in text.translate(_PLAIN))
    return re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", plain)).strip()


@lru_cache(maxsize=4096)  # the library makes a pattern of every character it is asked about
def _fits(char: str) -> str:
    if char == "\n" or (char.isprintable() and smsutil.is_valid_gsm(char)):
        return char
    bare = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    return bare if bare != char and bare.isprintable() and smsutil.is_valid_gsm(bare) else ""


@lru_cache(maxsize=1024)
def segments(text: str) -> int:
    """Return how many segments the carrier bills: 160 characters alone or 153 each in GSM-7, 70 or 67 in UCS-2."""
    return max(1, len(smsutil.split(text).parts))
