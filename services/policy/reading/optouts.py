"""What a text says about being texted and called: stop, start, help, a doubt, or nothing of the kind.

Machine texts say nothing, quotations are taken out, then each clause is asked what it asks for. A reader of this file needs
one rule: whoever means stop must be understood, and whoever speaks of a stop by the office tomorrow must not be.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from services.policy.reading.machine import machine_kind
from services.policy.reading.normal import PlainText, make_plain, shorten
from services.policy.reading.optout_rules import (
    BEFORE,
    DOCS,
    EMAIL,
    LEGAL_RULES,
    LOAN,
    OTHERS,
    OWN_HABIT,
    PAPERS,
    STOP_RULES,
    STOP_VERBS,
    TEXTS_ARE_FINE,
    TURNED_ROUND,
    StopRule,
)
from services.policy.reading.optout_spanish import CALL_WANTED as LLAMADA
from services.policy.reading.optout_spanish import NO_CALLS as NO_LLAMADAS
from services.policy.reading.optout_spanish import NO_CALLS_AND_TEXTS as NI_TEXTOS
from services.policy.reading.optout_spanish import NO_CALLS_UNLESS as NO_LLAMADAS_UNLESS
from services.policy.reading.optout_spanish import SPANISH_RULES, TOLD
from services.policy.reading.quoted import FOOTER, strip_quoted

OptOut = Literal["none", "stop", "doubt", "start", "help"]
Scope = Literal["text", "call", "all"]


@dataclass(frozen=True, slots=True)
class OptOutReading:
    """What a text asks for.

    Attributes:
        optout: `doubt` when a person must decide whether it is a stop.
        scope: what a stop or a doubt is about; None where there is neither.
        why: the rule that said so; empty where none did.
    """

    optout: OptOut
    scope: Scope | None = None
    why: str = ""


TEXTS_WANTED: Final = "no_calls_texts_wanted"
"""Why a stop of calls is no stop of texts: he asks for texts."""

NOTHING: Final = OptOutReading("none")

_STRONG: Final = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "optout", "opt out", "unsubscribe all", "unsubscribe all messages", "alto", "basta",
     "parar", "no mas", "ya no mas", "stop messages", "alto ya"}
)  # fmt: skip
"""They stop as a clause of their own, whatever stands around it."""

_WEAK: Final = frozenset(
    {"cancel", "end", "quit", "revoke", "remove", "delete", "cease", "terminate", "pare", "paren", "para", "parale", "detener", "detenganse",
     "detente", "cancelar", "cancela", "cancele", "cancelen", "baja", "salir", "fin", "terminar", "enough", "enough is enough", "take off",
     "end texts", "remove number", "discontinue", "halt", "exit", "stoop", "stops", "stopping", "desuscribir", "eliminar", "borrar"}
)  # fmt: skip
"""They stop as a text of their own; beside other words they are about something else (`cancel, 5pm works better`)."""

_FILLERS: Final = frozenset(
    [
        "please",
        "ok",
        "okay",
        "no",
        "just",
        "hey",
        "hi",
        "hello",
        "yo",
        "dude",
        "bro",
        "guys",
        "sir",
        "maam",
        "mam",
        "omg",
        "ugh",
        "thanks",
        "thank",
        "you",
        "now",
        "immediately",
        "asap",
        "already",
        "it",
        "this",
        "that",
        "said",
        "i",
        "we",
        "alright",
        "and",
        "all",
        "everything",
        "yes",
        "ya",
        "por",
        "favor",
        "gracias",
        "bueno",
        "senor",
        "senorita",
        "pls",
        "dear",
        "kindly",
        "nope",
        "again",
        "right",
        "sms",
        "plain",
        "simply",
        "well",
        "bye",
        "lol",
        "oh",
        "so",
        "really",
        "wtf",
        "yall",
        "man",
        "lady",
        "ma",
        "bruh",
        "um",
        "uh",
        "ew",
    ]
)
_KEYWORDS_OF_START: Final = frozenset({"start", "unstop", "start messages", "start texts", "resubscribe"})
_START: Final = re.compile(
    r"^(?:please |ok |you can |yes |sorry )*(?:(?:start|resume|begin) (?:texting|messaging|texts|messages)(?: me| us)?(?: again)?|opt (?:me )?(?:back )?in|"
    r"(?:re ?subscribe|subscribe)(?: me)?(?: again| back)?|(?:you can )?(?:text|message) me again|put me back on(?: the list| your list)?|unstop\w*)(?: please)?$"
)
_KEYWORDS_OF_HELP: Final = frozenset({"help", "info", "ayuda", "help me", "information", "informacion"})

_LAST_WORDS: Final = frozenset(
    {"quit", "end", "remove", "remove it", "remove number", "delete", "delete it", "cancel", "pare", "paren", "para", "baja", "cancelar", "take off"}
)  # fmt: skip
_NO_BUSINESS: Final = re.compile(
    r"\b(?:not interested|no interest\w*|paid (?:off|cash|in full)|no (?:loan|mortgage|house)|not your (?:client|customer)|we sold|not a customer|not a home ?owner|wrong(?! (?:on|in|with|amount|date|form|address)\b)|(?:dont|do not|no longer) (?:need|want) (?:a |any |your )?(?:loan|mortgage|refi\w*|house|home)|isnt|not (?:me|maria|the|him|her)|landline|work phone|no thanks?|no thank you|i rent|no me interesa|"
    r"no gracias|not in the market|not looking|not buying|equivocado|no estoy interesad[oa]|anymore|passed away|died|reassigned|already (?:have|bought|closed|own))\b"
)
_ENDS_IN_REMOVE: Final = re.compile(
    r"(?:\bplease |\bphone |\blandline |\bpls |\bnumber |\binterested )(?:please )?(?:remove|delete|take off)(?: it| this)?(?: please| thanks)?$|\b(?:not interested|no interesad[oa]) (?:end|quit|cancel|remove)$"
)
"""Weaker keywords at the end of a text whose other words say that there is no business."""

_STOP_LEADS: Final = re.compile(
    r"^(?:please |ok |no |hey |hi |just |yo |omg )*stop(?:all)? (?:i|im|ive|id|we|were|weve|not|no|already|wrong|my|you|your|youre|do|dont|it|its|who|never|"
    rf"texting|this (?:is|number)|why|go|leave|sending(?! (?:me |us )?(?:the |my |a |that )?(?:\w+ )?{DOCS}\b)|spam\w*|trying|that|thank|thanks|ya|por|no|nunca|remove|unsubscribe|stop|fuck\w*|is|was|have|has|cease|asap|now|bot|scam\w*|lol|bro|bitch|damn)\b"
)
_STOP_NAMED: Final = re.compile(
    r"^(?:please |ok |no |hey |just |yo )*stop(?: (?:from|mr|mrs|ms|miss|senor))?(?: (?!by|in|at|over|on|off|sign|signs|light|loss|and|for|to|the|there|here|with|next|first|shop|watch|gap|"
    r"payment|payments|order|work|a|an|smoking|before|after|around|near|or|if|me|him|her|them|us|\w+ing\b)[a-z]+\b){1,2}$"
)
"""A stop with a name behind it and no mark between: `STOP Pat`."""

_STOP_LEADS_NOT: Final = re.compile(
    r"^(?:\w+ )*stop (?:i think|no i |you there|i love|its too|is (?:near|at|on|the)|it s|its (?:on|near|at))"
)
_STOP_TRAILS: Final = re.compile(r"^(.*)\bstop(?: please| now| it| thanks| thank you| asap| already| ok)*$")
_TRAILS_NOT: Final = re.compile(
    r"\b(?:bus|last|next|first|pit|quick|full|to|a|the|my|your|one|non|it|reply|says?|word)\s$"
    r"|\b(?:cant|couldnt|dont|didnt|doesnt|wont|wouldnt|never|not(?! interested| me| us| him| her))\s(?:\w+\s)?$|\b(?:will|would|do|does|did|"
    r"other|others|others|them|they|he|she|lenders?|bank|train|metro|rest|subway|if|when|should|how|can|could|rate|payments?|puedo|truck|gas)\b"
)
_CAPITALS: Final = re.compile(r"(?<![A-Z])STOP(?![A-Z])")

_NO_CALLS: Final = re.compile(
    r"\b(?:stop|quit|cease|end) (?:all |the |with the |these |this |your |trying |phone |fucking |damn |spam )*(?:calling(?! it| this| that)|phoning|ringing|calls|phone calls)\b"
    r"|\b(?:do not|dont|never|not to|please not)(?: ever)? (?:call|phone|ring)(?: (?:me|us|this|again|anymore|ever|just|text|only|please|my (?:phone|cell|number)|back|here|number|it|or|and|unless|i))*(?=$| )"
    r"|^(?:please |ok |just |thanks |and )*no (?:more )?(?:phone )?calls(?: (?:please|thanks|thank you|ever|anymore|ok|text only|only texts|just text|at all))*$"
    r"|\b(?:text|texts|message|messages|texting) only\b|^(?:only|just) (?:text|texts|messages)(?: please)?$|\bonly text(?: me)?$|\bcant take (?:phone )?calls\b.*|\bonly texts?\b$"
)
_NO_CALLS_UNLESS: Final = re.compile(
    r"\b(?:dont|do not|never|not to) (?:call|phone|ring)(?: (?:me|us|this number|my phone))? (?:before|until|till|til|after|between|on|in|at|during|while|so|late|early|today|tonight|now|right|yet|if|the|his|her|him|them|"
    r"my (?!phone|number|cell)\w+|work|anyone|back yet)\b|no calls yet|ill call you|i will call you|never (?:call|called) (?:me )?back|can i|did(?:nt)? call|never called"
    r"|cant take calls (?:right now|now|until|till|at the moment)"
)
_CALL_WANTED: Final = re.compile(
    r"(?<!dont )(?<!not )(?<!never )(?<!stop )\b(?:call (?:me|us|instead|though|my|it|this)|just call|please call|can call|phone calls? only|calls? only|prefer (?:phone )?calls?|"
    r"pick up the phone|want a call|phone call|by phone|calls are (?:fine|ok|okay|better)|give me a (?:call|ring)|ring me|^call)\b(?! me stop| list| registry)"
)
_TEXT_OPT_OUT_BY_CALL: Final = re.compile(
    r"\b(?:no|stop|quit|dont|do not|not|without)\b.*\b(?:text\w*|messag\w*)\b|\b(?:dont|do not) do (?:texts?|texting)\b|\bno (?:texts?|texting|messages?|text messages?)\b|\bno (?:me )?(?:text|escrib|mand)\w+|\bno mensajes\b"
)
_CANT_TEXT: Final = re.compile(
    r"\b(?:cant|couldnt|not able to|unable to|havent|didnt get|never got|isnt|not) (?:\w+ )?text|text and drive|didnt get|while driving|texts? (?:dont|doesnt) come|dont have text"
)
_DO_NOT_DO: Final = re.compile(r"\b(?:dont|do not) do (?:texts?|texting)\b|^no (?:texts?|texting|text messages?)\b")

_SOME_STOP: Final = re.compile(
    r"\b(?:stop|unsubscribe|opt out|remove me|take me off|no more texts?|leave me alone|cancel (?:texts?|messages?)|no more sms)\b"
)
_HARMLESS: Final = re.compile(
    r"\bstop (?:there|payment|payments|you|early|late|halfway|somewhere|\w+ing(?<!texting)(?<!sending)(?<!messaging)(?<!contacting)(?<!calling)(?<!spamming)|by|in|at|over|off|signs?|light|loss|the|for|and|to|working|paying|renting|looking|using|shopping|making|reporting|taking|thinking|us|me|him|them|"
    r"throwing|living|talking|crying|smiling|asking|being|out|before|until|when|is|was)\b|\b(?:bus|pit|quick|full|next|first|last|one|non|truck|train|that|this will|had to|have to) stop\b|"
    r"\b(?:reply|does|says?|word|what|if|when|should|will|would|did|loan|mortgage|deed|title|pmi|escrow|lol|mail|mailing|email|e mail|emails)\b"
)
_CORRECTS: Final = re.compile(
    r"\bi meant? (?!what|it\b|that|this|stop|every|dont|do not|no\b|leave|take|quit|all)|\bstop wait\b|\bmy mistake\b|\btypo\b|\b(?:that|this|it) was (?:meant )?for\b|"
    r"\bwrong (?:file|form|photo|picture|link|date|day|time|doc|address)\b"
)
"""A stop before these holds up the writer's own last text: a person must decide (`stop, I meant Monday`)."""
_SMALL_NAME: Final = re.compile(r"[^\d]{1,40}")


def read_opt_out(body: str, media_count: int = 0) -> OptOutReading:
    """Return what a text says about being texted and called.

    It takes about 0.1 ms for an ordinary text; one of the longest, written to be slow, takes up to some 20 ms.

    Args:
        body: as the borrower wrote it, quotations and signature included.
        media_count: how many files came with it.
    """
    body = shorten(body)
    if machine_kind(body, media_count) is not None:
        return NOTHING
    said = strip_quoted(body)
    if not said:
        only_footer = FOOTER.search(body) is not None and not body.lstrip().startswith((">", '"', "\u201c"))
        return OptOutReading("doubt", "all", "only_our_footer") if only_footer else NOTHING
    plain = make_plain(said)
    if not plain.text:
        return NOTHING
    reading = _keyword(plain) or _wish(plain, said)
    if reading.why in ("keyword_clause", "stop_beside_words") and _CORRECTS.search(plain.text):
        return OptOutReading("doubt", "all", "stop_corrected")
    return reading


def _keyword(plain: PlainText) -> OptOutReading | None:
    cores = [core_of(clause) for clause in plain.clauses]
    whole = core_of(plain.text)
    joined = whole.replace(" ", "")
    if whole in _STRONG or joined in ("stop", "stopall", "unsubscribe", "optout", "parar", "stopstop", "stopstopstop"):
        return OptOutReading("stop", "all", "keyword")
    if whole in _WEAK:
        return OptOutReading("stop", "all", "keyword")
    if whole and set(whole.split()) == {"stop"}:
        return OptOutReading("stop", "all", "keyword")
    if plain.text in _KEYWORDS_OF_START or whole in _KEYWORDS_OF_START or _START.match(plain.text):
        return OptOutReading("start", None, "start")
    if whole in _KEYWORDS_OF_HELP:
        return OptOutReading("help", None, "help")
    if any(core in _STRONG for core in cores) and not OTHERS.search(plain.text):
        return OptOutReading("stop", "all", "keyword_clause")
    if cores and cores[-1] in _LAST_WORDS and _NO_BUSINESS.search(plain.text):
        return OptOutReading("stop", "all", "keyword_last")
    if _ENDS_IN_REMOVE.search(plain.text) and not PAPERS.search(plain.text):
        return OptOutReading("doubt" if LOAN.search(plain.text) else "stop", "all", "keyword_last")
    rest = " ".join(plain.clauses[1:])
    if cores and cores[0] in _WEAK and len(rest.split()) <= 3 and _SMALL_NAME.fullmatch(rest) and "never" not in rest:
        return OptOutReading("stop", "all", "keyword_signed")
    return None


def core_of(clause: str) -> str:
    """Return a clause without the words of politeness and impatience around it."""
    words = clause.split()
    while words and words[0] in _FILLERS and clause not in _STRONG and " ".join(words) not in _STRONG:
        del words[0]
    while words and words[-1] in _FILLERS and " ".join(words) not in _STRONG:
        del words[-1]
    return " ".join(words)


def _wish(plain: PlainText, said: str) -> OptOutReading:
    """Return what the words ask for, where no keyword does."""
    calls_wanted = any(_CALL_WANTED.search(clause) or LLAMADA.search(clause) for clause in plain.clauses)
    texts = _text_rule(plain)
    no_calls = _asks_for_no_calls(plain)
    if texts is not None and not texts.is_doubt:
        if no_calls and not TEXTS_ARE_FINE.search(plain.text):
            return OptOutReading("stop", "all", texts.id)
        if calls_wanted and texts.id in _ABOUT_TEXTS:
            return OptOutReading("stop", "text", texts.id)
        return OptOutReading("stop", "all", texts.id)
    if any(_DO_NOT_DO.search(clause) for clause in plain.clauses) and not _CANT_TEXT.search(plain.text):
        return OptOutReading("stop", "text" if calls_wanted else "all", "no_texts")
    if no_calls and NI_TEXTOS.search(plain.text):
        return OptOutReading("stop", "all", "no_calls_and_texts")
    if no_calls:
        return OptOutReading("stop", "call", TEXTS_WANTED if _wants_texts(plain) else "no_calls")
    if _leads(plain) or _trails(plain):
        return OptOutReading("stop", "all", "stop_beside_words")
    if texts is not None:
        return OptOutReading("doubt", "text", texts.id)
    if _CAPITALS.search(said) and not said.isupper() and not BEFORE.search(said[: said.index("STOP")].casefold()):
        return OptOutReading("doubt", "all", "capital_stop")
    return OptOutReading("doubt", "all", "some_stop") if _speaks_of_stopping(plain) else NOTHING


_ABOUT_TEXTS: Final = frozenset(
    {"stop_texting", "do_not_text", "do_not_send", "do_not_want", "too_many", "no_more", "es_no_me_manden", "es_dejen_de",
     "es_no_quiero_mensajes", "es_no_mas", "es_cancelar"}
)  # fmt: skip
"""Rules that name texts, so that a wish for a call beside them narrows the stop to texts."""


def _text_rule(plain: PlainText) -> StopRule | None:
    """Return the first rule, of those that leave no doubt first, that a clause satisfies."""
    doubt: StopRule | None = None
    for clause in plain.clauses:
        about_email = EMAIL.search(clause) is not None and "mailing list" not in clause
        if about_email or ("mailing list" in clause and TEXTS_ARE_FINE.search(plain.text)):
            continue
        for rule in (*LEGAL_RULES, *STOP_RULES, *SPANISH_RULES):
            found = rule.asks.search(clause)
            if found is None or rule.unless.search(clause) or rule.unless_in_text.search(plain.text):
                continue
            if rule.is_imperative and OWN_HABIT.search(clause[: found.start()]):
                continue
            if rule.is_command and TURNED_ROUND.search(clause[: found.start()]):
                continue
            if rule.id == "es_no_me_manden" and TOLD.search(plain.accented):
                continue
            if rule.is_doubt:
                doubt = doubt or rule
                continue
            return rule
        if OTHERS.search(plain.text):
            continue
        for rule in STOP_VERBS:
            found = rule.asks.search(clause)
            if found is not None and not rule.unless.search(clause) and not BEFORE.search(clause[: found.start()]):
                return rule
    return doubt


def _asks_for_no_calls(plain: PlainText) -> bool:
    if OTHERS.search(plain.text):
        return False
    for clause in plain.clauses:
        english = _NO_CALLS.search(clause)
        if english and not _NO_CALLS_UNLESS.search(clause) and not OWN_HABIT.search(clause[: english.start()]):
            return True
        if NO_LLAMADAS.search(clause) and not NO_LLAMADAS_UNLESS.search(clause):
            return True
    return False


def _wants_texts(plain: PlainText) -> bool:
    return any(TEXTS_ARE_FINE.search(clause) or clause == "text" for clause in plain.clauses)


def _speaks_of_stopping(plain: PlainText) -> bool:
    """Return whether a stop stands somewhere that no harmless wording explains."""
    if OTHERS.search(plain.text):
        return False
    for clause in plain.clauses:
        found = _SOME_STOP.search(clause)
        if (
            found is not None
            and not BEFORE.search(clause[: found.start()])
            and not _HARMLESS.search(clause)
            and not EMAIL.search(clause)
        ):
            return True
    return False


def _leads(plain: PlainText) -> bool:
    first = plain.clauses[0]
    if len(plain.clauses) == 1 and _STOP_NAMED.match(first):
        return True
    return _STOP_LEADS.match(first) is not None and _STOP_LEADS_NOT.match(first) is None and not _wants_texts(plain)


def _trails(plain: PlainText) -> bool:
    for clause in plain.clauses:
        found = _STOP_TRAILS.match(clause)
        if found is not None and _TRAILS_NOT.search(found[1].rstrip() + " ") is None:
            return True
    return False
