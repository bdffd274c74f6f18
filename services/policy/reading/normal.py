"""A text as the readers see it: one case, no marks, misspellings of the words that matter put right, cut into clauses."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import ascii_lowercase
from types import MappingProxyType
from typing import Final

READ_MAX: Final = 2_000
"""How much of a text is read: more than the longest text a carrier takes (1,600). Of a longer one, its head and its tail."""

CLAUSES_MAX: Final = 64
"""How many clauses are read; the longest text that people write has about 40."""

_APOSTROPHES: Final = re.compile("['\u2018\u2019\u02bc`\u00b4]")
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0e\ufe0f\ufeff]")
_SWORN: Final = {"f": "fuck", "sh": "shit", "b": "bitch"}
_CLAUSE_ENDS: Final = re.compile(
    r"[.!?;:,()\[\]{}\n\r\"\u201c\u201d\u00bf\u00a1\u2026|/\u2022]+|\s[-\u2013\u2014~]+\s?|[\u2013\u2014]|--+"
)
_BROKEN: Final = re.compile(
    r"\b(?:don t|dont t|do nt|do no(?= (?:text|message|contact|call|send|write))|dot(?= (?:text|contact|message|call)))\b"
)
_COLON: Final = "\u02d0"  # a letter to regular expressions, so that the colon of 3:30 outlives the marks
_MARKS: Final = re.compile(r"[\W_]+")
_TIME_COLON: Final = re.compile(r"(?<=\d):(?=\d)")
_LETTER_BY_LETTER: Final = re.compile(r"\b(?:[a-z][ .\-*_]+){3,}[a-z]\b")
_STARRED: Final = re.compile(r"\b(f|sh|b)[*#@\u2022]+(?:c?k|t|ch)?(?=ing\b|er\b|\W|$)")
_LOOKALIKES: Final = str.maketrans(
    "\u0455\u043e\u0440\u0435\u0430\u0441\u0442\u0456\u0445\u0443\u03bf\u03c4\u03c1", "sopeactixyotp"
)
"""Cyrillic and Greek letters that pass for Latin ones; one in an English word is there to slip past readers."""
_LONG_RUN: Final = re.compile(r"([a-z])\1{2,}")

EMOJI: Final[Mapping[str, str]] = MappingProxyType(
    {"\U0001f6d1": " stop ", "\u26d4": " stop ", "\U0001f44d": " thumbsup ", "\U0001f44c": " thumbsup ", "\u2705": " thumbsup ",
     "\U0001f44e": " thumbsdown ", "\U0001f64f": " thankyou "}
)  # fmt: skip
"""What a reader makes of an emoji; every other one is a space."""

_REAL_WORDS: Final = frozenset(
    [
        "step",
        "shop",
        "slop",
        "stow",
        "top",
        "atop",
        "sop",
        "strop",
        "stoop",
        "stops",
        "soup",
        "stomp",
        "stop",
        "stoup",
        "swop",
        "estop",
        "story",
        "stock",
        "store",
        "stone",
        "stood",
        "stoic",
        "stove",
        "testing",
        "texting",
        "texts",
        "tenting",
        "contract",
        "contact",
        "contacts",
        "contacted",
        "massage",
        "message",
        "messages",
        "messaged",
        "removed",
        "removes",
        "remover",
        "remove",
        "cancer",
        "cancel",
        "cancels",
        "cancele",
        "spam",
        "unsubscribe",
        "unsubscribed",
        "unsubscribes",
        "please",
        "pleased",
        "pleases",
        "lease",
        "plead",
        "pleas",
        "texted",
        "exting",
    ]
)
_FUZZY: Final = (
    "stop",
    "interested",
    "texting",
    "messaging",
    "message",
    "messages",
    "contact",
    "remove",
    "cancel",
    "please",
    "unsubscribe",
)
_SPELLED: Final = {
    "txt": "text", "txts": "texts", "txting": "texting", "txtng": "texting", "texing": "texting", "textin": "texting",
    "textn": "texting", "texxt": "text", "msg": "message", "msgs": "messages", "mesages": "messages", "mesage": "message",
    "messging": "messaging", "mssg": "message", "dnt": "dont", "donot": "do not", "u": "you",
    "ur": "your", "pls": "please", "plz": "please", "plse": "please", "pleas": "please", "thx": "thanks", "tks": "thanks",
    "thanx": "thanks", "remov": "remove", "rmv": "remove", "remve": "remove", "cancell": "cancel", "cancle": "cancel",
    "canel": "cancel", "quitt": "quit", "qiut": "quit", "qit": "quit", "revok": "revoke", "optt": "opt", "unsub": "unsubscribe",
    "unsuscribe": "unsubscribe", "unsubcribe": "unsubscribe", "unsubscibe": "unsubscribe", "unsubsribe": "unsubscribe",
    "unsuscribed": "unsubscribed", "nomore": "no more", "stahp": "stop", "st0p": "stop", "kiero": "quiero",
    "mensages": "mensajes", "mensage": "mensaje", "msjs": "mensajes", "msj": "mensaje", "porfa": "por favor", "porfavor": "por favor",
    "xfavor": "por favor", "cannot": "cant", "w": "with", "n": "and", "loose": "lose",
    "revome": "remove", "remvoe": "remove", "tex": "text", "tx": "text",
}  # fmt: skip


def _one_edit_away(word: str) -> Iterator[str]:
    for n in range(len(word) + 1):
        head, tail = word[:n], word[n:]
        if tail:
            yield head + tail[1:]
            yield from (head + letter + tail[1:] for letter in ascii_lowercase)
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        yield from (head + letter + tail for letter in ascii_lowercase)


def _spellings() -> Mapping[str, str]:
    found = {near: word for word in _FUZZY for near in _one_edit_away(word) if near not in _REAL_WORDS}
    return MappingProxyType({**found, **_SPELLED})


SPELLINGS: Final = _spellings()
"""Each misspelling that is put right, real words excepted: a `contract` is no `contact`, a `cancer` no `cancel`."""


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text made plain.

    Attributes:
        text: case folded, without apostrophes, accents and marks, misspellings put right, one space between words.
        clauses: the same, cut where the writer's marks cut it.
        accented: case folded, with accents and marks: for words that differ by an accent alone.
    """

    text: str
    clauses: tuple[str, ...]
    accented: str


def shorten(body: str) -> str:
    """Return what is read of a text: all of it, or the head and the tail of one that no phone sends."""
    return body if len(body) <= READ_MAX else f"{body[: READ_MAX * 3 // 4]} {body[-READ_MAX // 4 :]}"


def make_plain(body: str) -> PlainText:
    """Return a text as the readers see it; it costs some microseconds a word."""
    folded = _INVISIBLE.sub("", unicodedata.normalize("NFKC", shorten(body))).casefold()
    if not folded.isascii():
        folded = folded.translate(_LOOKALIKES)
    for emoji, word in EMOJI.items():
        if emoji in folded:
            folded = folded.replace(emoji, word)
    folded = shorten(folded)
    folded = _APOSTROPHES.sub("", folded)
    folded = folded.replace("w/", "with ")
    if "*" in folded or "#" in folded or "@" in folded:
        folded = _STARRED.sub(lambda found: _SWORN[found[1]], folded)
    bare = folded if folded.isascii() else _without_accents(folded)
    bare = _LETTER_BY_LETTER.sub(lambda letters: _MARKS.sub("", letters[0]), bare)
    bare = _TIME_COLON.sub(_COLON, bare)
    clauses = _bounded(tuple(filter(None, (_words(clause) for clause in _CLAUSE_ENDS.split(bare)))))
    return PlainText(" ".join(clauses), clauses, folded)


def _bounded(clauses: tuple[str, ...]) -> tuple[str, ...]:
    """Return the clauses; of more than people write, each once, and of those the first and the last."""
    if len(clauses) <= CLAUSES_MAX:
        return clauses
    once = tuple(dict.fromkeys(clauses))
    head = CLAUSES_MAX * 3 // 4
    return once if len(once) <= CLAUSES_MAX else (*once[:head], *once[head - CLAUSES_MAX :])


def _without_accents(text: str) -> str:
    return "".join(mark for mark in unicodedata.normalize("NFD", text) if not unicodedata.combining(mark))


def _words(clause: str) -> str:
    words = _MARKS.sub(" ", clause).split()
    return _BROKEN.sub("dont", " ".join(SPELLINGS.get(word) or _squeezed(word) for word in words)).replace(_COLON, ":")


def _squeezed(word: str) -> str:
    """Return a word without its drawn-out letters: stoppppp, pleaseee."""
    if _LONG_RUN.search(word) is None:
        return word
    once = _LONG_RUN.sub(r"\1", word)
    return SPELLINGS.get(once, once)
