"""What a cadence is, once its file has been read: steps with delays, channels and stop conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from schemas.base import Lane
from schemas.touches import SuppressReason

Channel = Literal["sms", "phone"]


class Stop(StrEnum):
    """What may end a step before its time."""

    REPLIED = "replied"
    HANDED_OVER = "handed_over"
    CONTACTED = "contacted"
    ATTEMPTS_ENDED = "attempts_ended"
    OPTED_OUT = "opted_out"
    CLOSED = "closed"
    FIRST_TEXT_MISSING = "first_text_missing"


_TEXT_REASON: Mapping[Stop, SuppressReason] = {
    Stop.REPLIED: "replied",
    Stop.HANDED_OVER: "handed_over",
    Stop.CONTACTED: "contacted",
    Stop.ATTEMPTS_ENDED: "task_done",
    Stop.OPTED_OUT: "opted_out",
    Stop.CLOSED: "closed",
    Stop.FIRST_TEXT_MISSING: "first_text_missing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step.

    A text's delay counts from when the text before it was *sent*, the first text's from the call's end. A phone step is due
    at a local time of the branch (`at_callback_morning`), or a delay after the call's end.
    """

    name: str
    channel: Channel
    stop_on: frozenset[Stop]
    delay: timedelta | None = None
    at_callback_morning: bool = False
    template: str = ""
    lane: Lane = "normal"
    expires_after: timedelta = timedelta(hours=1)

    def reason(self, stop: Stop) -> SuppressReason:
        """Return what `touch.suppressed` says when this step is dropped."""
        return "task_done" if self.channel == "phone" and stop is Stop.CLOSED else _TEXT_REASON[stop]


@dataclass(frozen=True, slots=True)
class Cadence:
    """Steps in order. Unless the first text goes, no later text does."""

    name: str
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step | None:
        """Return a step; None when the cadence no longer has it."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def first_text(self) -> str:
        """The name of the first text; empty for a cadence with calls only."""
        return next((step.name for step in self.steps if step.channel == "sms"), "")


Cadences = Mapping[str, Cadence]
