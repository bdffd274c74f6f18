"""Texts that no person wrote: reactions of a phone, automatic answers, pictures, notices of a carrier. They say nothing to us."""

import re
from typing import Final, Literal

from services.policy.reading.normal import make_plain, shorten

Machine = Literal["tapback", "auto_reply", "carrier", "media", "empty"]

_REACTION: Final = re.compile(
    r"(?is)^\s*(?:(?:liked|loved|disliked|emphasi[sz]ed|questioned|laughed at|reacted(?: with)? \S{1,12} to|"
    r"removed an? [a-z ]{2,30} from|"
    r"(?:no )?le gust[o\u00f3]|le encant[o\u00f3]|le dio risa|se ri[o\u00f3] de|enfatiz[o\u00f3]|exclam[o\u00f3](?: por)?|pregunt[o\u00f3](?: por)?|cuestion[o\u00f3]|"
    r"reaccion[o\u00f3] (?:con )?\S{1,12} a|marc[o\u00f3] con un [\"\u201c\u00ab]me (?:gusta|encanta)[\"\u201d\u00bb]|quit[o\u00f3] (?:un|una) [\w ]{2,30} de)|"
    r"[^\w\s\"]{1,8} (?:to|a))\s*"
    r"(?:[\"\u201c\u00ab].*[\"\u201d\u00bb]?\s*|an? (?:image|attachment|movie|video|photo|picture|audio message|voice message|contact|location|sticker|link)|"
    r"una? (?:imagen|foto|video|archivo|mensaje de voz))\s*\.?\s*$"
)
_AFTER_QUOTE: Final = re.compile('["\u201d\u00bb]\\s*([^"\u201c\u201d\u00ab\u00bb\\s][^"\u201c\u201d\u00ab\u00bb]*)$')
_AUTOMATIC: Final = re.compile(
    r"\b(?:auto(?:matic|mated)? ?(?:reply|response|answer|message)|autoreply|(?:is|this) an automat(?:ed|ic)|sent automatically|"
    r"automat(?:ed|ic) (?:reply|response|message)|driving with (?:focus|do not disturb)|do not disturb while driving|"
    r"ill see your message when|not receiving notifications|(?:focus|do not disturb|driving mode) is on|driving mode|"
    r"out of (?:the )?office (?:until|through|with|back|from|and will|this)|(?:currently|automatically) (?:driving|away from my phone)|"
    r"driving right now and cant text|thank you for (?:contacting|texting|your message to)|we will respond shortly|"
    r"respuesta automatica|mensaje automatico|conduciendo con|modo de concentracion|no molestar (?:esta )?activado|"
    r"fuera de la oficina (?:hasta|del|y)|respondo cuando (?:pare|llegue)|te respondo cuando)\b"
)
_CANNED: Final = frozenset(
    {"sorry i cant talk right now", "cant talk right now whats up", "im in a meeting ill call you later", "ill call you right back",
     "no puedo hablar en este momento", "perdon no puedo hablar ahora", "im driving right now ill text you later",
     "cant talk now whats up", "cant talk now call me later", "cant talk right now call me later"}
)  # fmt: skip
"""What phones offer to answer a call with, word for word."""

_CARRIER: Final = re.compile(
    r"\b(?:free ?message|svc message|service message|unable to (?:send|deliver|receive) (?:the |your |this )?(?:messages?|texts?)|"
    r"message blocking|"
    r"(?:message|text) (?:was |is |has |could |cannot |not )*(?:be )?(?:not |un)?(?:delivered|deliverable|blocked)|"
    r"does not accept (?:text )?messages|not able to receive (?:text )?messages|landline and cannot|cannot receive text messages|"
    r"cant receive text messages)\b"
)


def machine_kind(body: str, media_count: int = 0) -> Machine | None:
    """Return which kind of machine's text this is; None when a person wrote it.

    Args:
        body: as it came.
        media_count: how many pictures or other files came with it.
    """
    if not body.strip():
        return "media" if media_count else "empty"
    body = shorten(body)
    if _REACTION.match(body) and _AFTER_QUOTE.search(body) is None:
        return "tapback"
    plain = make_plain(body).text
    if plain in _CANNED or _AUTOMATIC.search(plain):
        return "auto_reply"
    return "carrier" if _CARRIER.search(plain) else None
