"""How simulated borrowers behave: a pure function of number and seed, or a script that a test wrote."""

import hashlib
import random
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from deploy.sandbox.settings import Shares
from schemas.base import E164

FASTEST_S = 8.0
SLOWEST_S = 6 * 3600.0
MEDIAN_S = 90.0
"""Half of those who answer do so within a minute and a half: an assumption of the simulation, not a measurement."""

OPENINGS = (
    "Purchase, in 2 months",
    "call me at 5",
    "Refi. What are rates today?",
    "Hi! Looking to buy, preapproval please",
    "Can you call me back now?",
    "¿Hablan español?",
    "VA loan, around $400k. Can talk tomorrow morning",
    "Who is this?",
    "Yes please call me back",
    "refinance, hoping to lower my payment 🙏",
    "In a meeting, text me instead",
    "We're under contract & need a lender fast",
)
SECOND = (
    "Primary home",
    "Around 740 I think",
    "About 420k",
    "single family",
    "next month",
    "not sure yet",
    "Austin TX",
)
THIRD = ("tomorrow after 10 works", "Thanks!", "5pm is good", "anytime", "ok", "call my cell please")
NATURAL_OPT_OUTS = (
    "please stop texting me",
    "Take me off your list",
    "wrong number, don't text again",
    "no me manden mas mensajes",
    "leave me alone",
)
KEYWORDS = ("STOP", "Stop", "stop", "Unsubscribe", "QUIT")
FAILURES = ((30003, 4), (30005, 2), (30006, 3), (30007, 1))
"""Error codes and their weights; landlines and switched-off phones lead."""


class Reply(BaseModel):
    """One text of a borrower."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after_s: float = Field(default=0.0, ge=0, le=90 * 86_400, description="virtual seconds after the text it answers")
    body: str = Field(max_length=1600)
    to_text: int = Field(
        default=0, ge=0, le=1000, description="which text it answers, from 1; 0: its place in the list"
    )


class Outcome(BaseModel):
    """What becomes of texts to a number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: str = Field(default="delivered", pattern="^(delivered|undelivered|failed|sent)$")
    error_code: int | None = Field(default=None, ge=10_000, le=99_999)


class Script(BaseModel):
    """What a number does, instead of what its hash says. Texts are counted from when the script was set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: E164
    replies: tuple[Reply, ...] = Field(default=(), max_length=100)
    outcome: Outcome = Outcome()


DELIVERED = Outcome()


@dataclass(frozen=True, slots=True)
class Behavior:
    """What a number does with the texts it gets."""

    kind: str  # silent, reply, opt_out, help, undelivered, scripted
    replies: tuple[Reply, ...] = ()
    outcome: Outcome = DELIVERED

    def answers(self, text: int) -> list[Reply]:
        """Return the replies to the text-th text, from 1."""
        return [reply for place, reply in enumerate(self.replies, 1) if (reply.to_text or place) == text]


SILENT = Behavior("silent")


def scripted(script: Script) -> Behavior:
    """Return the behavior a script asks for."""
    return Behavior("scripted", script.replies, script.outcome)


def behavior(number: str, seed: int, shares: Shares) -> Behavior:
    """Return what a number does: the same for the same number, seed and shares, on every machine."""
    draw = random.Random(hashlib.sha256(f"{seed}:{number}".encode()).digest())
    at = draw.random()

    def delay_s() -> float:
        return round(min(max(draw.lognormvariate(0, 1.1) * MEDIAN_S, FASTEST_S), SLOWEST_S), 1)

    if (at := at - shares.undelivered) < 0:
        codes, weights = zip(*FAILURES, strict=True)
        code = draw.choices(codes, weights)[0]
        return Behavior("undelivered", outcome=Outcome(status="undelivered", error_code=code))
    if (at := at - shares.opt_out) < 0:
        words = KEYWORDS if draw.random() < 0.5 else NATURAL_OPT_OUTS
        return Behavior("opt_out", (Reply(after_s=delay_s(), body=draw.choice(words)),))
    if (at := at - shares.help) < 0:
        return Behavior("help", (Reply(after_s=delay_s(), body="HELP"),))
    if (at := at - shares.reply) < 0:
        lines = [draw.choice(OPENINGS), draw.choice(SECOND), draw.choice(THIRD)]
        count = draw.choices((1, 2, 3), (5, 3, 2))[0]
        return Behavior("reply", tuple(Reply(after_s=delay_s(), body=line) for line in lines[:count]))
    return SILENT
