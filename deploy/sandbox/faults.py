"""Failures on demand: the next N requests of a kind, or a seeded share of them."""

import random
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FaultKind = Literal["429", "5xx", "hang", "lost", "slow"]
RULES_MAX = 100


class FaultSpec(BaseModel):
    """One rule, as the control API takes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    next: int | None = Field(default=None, ge=1, le=1_000_000, description="how many requests; then the rule is spent")
    share: float | None = Field(default=None, gt=0, le=1, description="or a share of all requests, until reset")
    on: Literal["create", "list", "fetch"] = "create"
    to: str | None = Field(default=None, max_length=64, description="only texts to this number")
    accepted: bool | None = Field(
        default=None, description="whether the text is taken all the same; default: only for lost and slow"
    )
    status: int = Field(default=503, ge=500, le=599, description="for 5xx")
    delay_ms: int = Field(default=1000, ge=0, le=60_000, description="for slow")

    @model_validator(mode="after")
    def _says_how_often(self) -> Self:
        if (self.next is None) == (self.share is None):
            raise ValueError("give one of next and share")
        if self.kind == "429" and self.accepted:
            raise ValueError("a 429 is never processed (Twilio error 20429)")
        if self.kind == "slow" and self.accepted is False:
            raise ValueError("a slow answer is an acceptance; use 5xx, hang or lost")
        return self

    @property
    def is_accepted(self) -> bool:
        """Whether the message exists after the fault."""
        return self.kind in ("lost", "slow") if self.accepted is None else self.accepted


class Faults:
    """The rules in force; the first that matches a request applies to it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"faults:{seed}")
        self._rules: list[tuple[FaultSpec, list[int]]] = []
        self.counts: dict[str, int] = {}

    def add(self, spec: FaultSpec) -> None:
        """Put a rule behind the others.

        Raises:
            ValueError: there are too many.
        """
        if len(self._rules) >= RULES_MAX:
            raise ValueError(f"more than {RULES_MAX} rules; reset first")
        self._rules.append((spec, [spec.next or 0]))

    def clear(self) -> None:
        """Drop every rule."""
        self._rules.clear()

    def pick(self, on: str, to: str | None = None) -> FaultSpec | None:
        """Return the fault of this request, if any, and use it up."""
        for spec, left in self._rules:
            if spec.on != on or (spec.to is not None and spec.to != to):
                continue
            if spec.share is not None:
                if self._random.random() >= spec.share:
                    continue
            else:
                left[0] -= 1
                if left[0] <= 0:
                    self._rules = [rule for rule in self._rules if rule[1] is not left]
            self.counts[spec.kind] = self.counts.get(spec.kind, 0) + 1
            return spec
        return None

    def left(self) -> list[dict[str, object]]:
        """Return the rules still in force."""
        return [spec.model_dump() | ({"next": left[0]} if spec.next else {}) for spec, left in self._rules]
