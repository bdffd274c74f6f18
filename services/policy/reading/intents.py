"""The rules' reader of intents: each rule a pattern of plain words, then a few rules of which intent outdoes which."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from services.policy.reading.intent_rules import ALONE, NO_TIME, NOT_THAT_NAME, RULES, named_states
from services.policy.reading.interpreter import Intent, Kind, Question, TextLanguage
from services.policy.reading.machine import machine_kind
from services.policy.reading.normal import make_plain, shorten
from services.policy.reading.optout_rules import LEGAL_RULES
from services.policy.reading.quoted import strip_quoted
from services.policy.reading.times import read_callback_time

_LEADING_YES: Final = re.compile(r"(?:yes|yeah|yep|yup|sure|si) \w+ \w")


class RulesInterpreter:
    """Reads by the rules of `intent_rules`."""

    version: Final = "rules-1"

    def read(
        self, text: str, *, last_question: Question | None = None, language: TextLanguage | None = None
    ) -> Sequence[Intent]:
        """Return what a text means; see `Interpreter`."""
        text = shorten(text)
        if machine_kind(text) is not None:
            return ()
        said = strip_quoted(text)
        plain = make_plain(said)
        if not plain.text:
            return ()
        found: dict[str, Intent] = {}
        for kind, value, pattern, confidence, unless in RULES:
            if pattern.search(plain.text) and (unless is None or not unless.search(plain.text)):
                intent = Intent(kind=kind, value=value, confidence=confidence)
                found.setdefault(intent.label, intent)
        for clause in plain.clauses:
            if (alone := ALONE.get(clause)) is not None:
                for kind, value in alone:
                    intent = Intent(kind=kind, value=value, confidence=0.8)
                    found.setdefault(intent.label, intent)
        if _LEADING_YES.match(plain.text):
            found.setdefault("yes", Intent(kind="yes", confidence=0.7))
        for clause in plain.clauses:
            if any(rule.asks.search(clause) and not rule.unless.search(clause) for rule in LEGAL_RULES):
                found["legal"] = Intent(kind="legal")
        if NOT_THAT_NAME.match(plain.text):
            found["wrong_number"] = Intent(kind="wrong_number", confidence=0.7)
        for state in named_states(plain.text, said):
            found[f"property_state:{state}"] = Intent(kind="property_state", value=state)
        if "property_state:VA" in found and "," in said:
            found.pop("loan_type:va", None)
        if not NO_TIME.search(plain.text) and (when := read_callback_time(plain.text, said)) is not None:
            found["callback_at"] = Intent(kind="callback_at", confidence=0.85, time=when)
        return tuple(_settled(found, last_question))


def _settled(found: dict[str, Intent], last_question: Question | None) -> list[Intent]:
    """Return the intents without those that a more telling one explains."""
    kinds: dict[Kind, list[Intent]] = {}
    for intent in found.values():
        kinds.setdefault(intent.kind, []).append(intent)
    for winner, losers in _OUTDOES.items():
        if winner in found or winner in kinds:
            for loser in losers:
                for label in [label for label in found if label == loser or label.partition(":")[0] == loser]:
                    if label != winner:
                        del found[label]
    purposes = [label for label in found if label.startswith("purpose:")]
    if len(purposes) == 2 and "handover:rate" not in found:
        for label in purposes:
            found[label] = replace(found[label], confidence=0.4)
    if last_question == "callback_time" and "timeline:now" in found and "callback_at" not in found:
        found["call_now"] = Intent(kind="call_now", confidence=0.7)
        del found["timeline:now"]
    if last_question == "applied_elsewhere":
        for word in ("yes", "no"):
            if word in found:
                found.setdefault(
                    f"applied_elsewhere:{word}", Intent(kind="applied_elsewhere", value=word, confidence=0.8)
                )
    return list(found.values())


_OUTDOES: Final[dict[str, tuple[str, ...]]] = {
    "legal": ("handover", "yes", "no", "ask", "callback", "callback_at"),
    "handover:preapproval": (
        "purpose",
        "timeline",
        "handover:deadline",
        "handover:rate",
        "urgency",
        "callback_at",
        "yes",
        "applied_elsewhere",
    ),
    "handover:deadline": ("timeline", "callback_at", "purpose", "urgency", "handover:preapproval"),
    "handover:closing": ("timeline", "callback_at", "handover:deadline"),
    "handover:lock": ("handover:rate", "timeline", "callback_at", "handover:deadline"),
    "handover:complaint": ("handover:human", "handover:anger", "callback", "callback_at", "no", "ask"),
    "handover:human": ("callback", "language", "ask", "yes"),
    "handover:advice": ("purpose", "handover:rate", "loan_type", "timeline", "yes", "applied_elsewhere", "callback_at"),
    "handover:fees": ("handover:rate", "purpose"),
    "handover:rate": ("purpose", "loan_type", "timeline"),
    "purpose:refinance": ("handover:advice",),
    "hardship": ("existing_loan", "timeline", "handover", "no", "callback_at", "not_interested"),
    "existing_loan": ("handover", "yes", "ask", "timeline", "purpose", "callback", "property_state"),
    "not_a_borrower": (
        "purpose",
        "callback",
        "ask",
        "timeline",
        "property_state",
        "existing_loan",
        "handover",
        "loan_type",
    ),
    "wrong_number": ("no", "thanks", "callback", "callback_at", "ask"),
    "not_interested": ("no", "yes", "applied_elsewhere", "purpose", "timeline"),
    "call_now": ("callback", "callback_at", "timeline", "yes"),
    "callback_at": ("callback", "timeline:3m", "timeline:6m", "timeline:later"),
    "ask": ("callback", "purpose", "callback_at", "timeline", "call_now"),
    "loan_type:heloc": ("purpose",),
    "applied_elsewhere": ("no", "yes", "timeline"),
    "timeline": ("urgency",),
    "language": ("ask",),
}
"""Which intents say nothing of their own beside a more telling one."""
