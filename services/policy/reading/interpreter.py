"""What a borrower's text means to a conversation: typed intents behind one port, so that another reader may stand beside the rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from services.policy.reading.times import CallbackTime

Kind = Literal[
    "purpose", "timeline", "applied_elsewhere", "property_state", "loan_type", "callback", "callback_at", "call_now", "wrong_number",
    "not_interested", "existing_loan", "not_a_borrower", "hardship", "legal", "language", "thanks", "yes", "no", "urgency", "handover",
    "ask",
]  # fmt: skip
TextLanguage = Literal["en", "es"]
Question = Literal["purpose", "property_state", "timeline", "applied_elsewhere", "callback_time", "other"]

VALUES: Final[dict[Kind, tuple[str, ...]]] = {
    "purpose": ("purchase", "refinance"),
    "timeline": ("now", "3m", "6m", "later", "browsing"),
    "applied_elsewhere": ("yes", "no"),
    "loan_type": ("fha", "va", "usda", "conventional", "jumbo", "heloc", "cash_out", "reverse"),
    "language": ("en", "es"),
    "handover": ("rate", "fees", "lock", "preapproval", "closing", "deadline", "complaint", "human", "anger", "advice"),
    "ask": ("who", "number", "bot", "hours", "next"),
}
"""What an intent of each kind may say; `property_state` says a state's two letters, and the others say nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One thing that a text means.

    Attributes:
        kind: what it is about.
        value: what it says of that (`VALUES`), or None.
        confidence: 0 to 1: 0.9 for words that mean nothing else, 0.7 for an answer that only its question explains.
        time: of `callback_at`: when, as it was said.
    """

    kind: Kind
    value: str | None = None
    confidence: float = 0.9
    time: CallbackTime | None = None

    @property
    def label(self) -> str:
        """Return its name in labeled files: `purpose:purchase`."""
        return self.kind if self.value is None else f"{self.kind}:{self.value}"


class Interpreter(Protocol):
    """A reader of borrowers' texts."""

    @property
    def version(self) -> str:
        """Return what is stored beside its readings."""

    def read(
        self, text: str, *, last_question: Question | None = None, language: TextLanguage | None = None
    ) -> Sequence[Intent]:
        """Return what a text means, each intent once; empty where it means nothing we know.

        Args:
            text: as the borrower wrote it.
            last_question: what we asked last; a `yes` answers it.
            language: the one he writes in, as far as it is known.
        """
