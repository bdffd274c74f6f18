"""What a text quotes, taken out of it: our own words, and a mail program's lines, are not what the borrower says."""

import re
from collections.abc import Sequence
from typing import Final

_QUOTED_LINES: Final = re.compile(r"(?m)^[ \t]*>.*$")
_WROTE: Final = re.compile(r"(?im)^[ \t]*(?:on|el)\b[^\n]{0,120}\b(?:wrote|escribi\u00f3):[ \t]*$")
_SIGNATURE: Final = re.compile(
    r"(?is)(?:(?:^|\n)[ \t]*|\b(?=sent from my |get outlook for ))(?:--+|__+|sent from (?:my )?\S|sent (?:from|via) \S|get outlook for|enviado (?:desde|de) mi)[^\n]*(?:\n.*)?$"
)
FOOTER: Final = re.compile(
    r"(?i)\b(?:please )?(?:reply|txt|text|send|respond(?: with)?|responda|responde|env[i\u00ed]e|env[i\u00ed]a|escriba)\s+(?:with\s+)?[\"'\u201c]?"
    r"(?:stop|alto|help|end|cancel|quit|unsubscribe|parar)[\"'\u201d]?(?:\s*(?:,|or|o)\s*(?:stop|alto|help|end|cancel|quit|unsubscribe|parar))*"
    r"\s+(?:to|for|para)\s+(?:opt[ -]?out|end(?: texts| these| messages)?|quit|stop|cancel|unsubscribe|no recibir|cancelar|parar|salir|help|dejar)"
    r"(?:[ \w]{0,20}(?:messages|texts|texting|notices|mensajes|textos))?"
)
"""The sentence that every first text of anybody ends with."""

_QUOTE: Final = re.compile('["\u201c\u00ab]([^"\u201c\u201d\u00ab\u00bb]{12,700})(?:["\u201d\u00bb]|$)')


def strip_quoted(body: str, ours: Sequence[str] = ()) -> str:
    """Return a text without what it quotes, and without the writer's signature.

    Args:
        body: as the borrower sent it.
        ours: the newest texts of ours to him, where they are known; wherever one stands in the text, it is a quotation.
    """
    text = body
    for own in ours:
        if own.strip():
            text = text.replace(own.strip(), " ")
    if ">" in text:
        text = _QUOTED_LINES.sub("", text)
    text = _WROTE.sub("", text)
    text = _QUOTE.sub(lambda quote: " " if FOOTER.search(quote[1]) else quote[0], text)
    text = FOOTER.sub(" ", text)
    return _SIGNATURE.sub("", text).strip()
