"""What breaks when: drawn from a seed, so that a run that found something can be repeated."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """One way to break something."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    PAUSE = "SIGSTOP, shorter than the session"
    LONG_PAUSE = "SIGSTOP, longer than the session"
    CUT = "connections cut"
    REFUSE = "connections refused"


SERVICES: Final = ("ingest", "leads", "sequencer", "timekeeper", "notifier")
SERVERS: Final = ("Kafka", "mongod")
PROXIED: Final = ("mongod", "provider")

QUIET_START_S: Final = 5.0
QUIET_END_S: Final = 15.0
"""The end of a run breaks nothing: what was broken last must have time to show."""

DURATION_S: Final = {
    Kind.KILL: (0.5, 4.0), Kind.TERM: (0.5, 2.0), Kind.PAUSE: (1.0, 4.0), Kind.LONG_PAUSE: (13.0, 18.0),
    Kind.CUT: (0.0, 0.0), Kind.REFUSE: (1.0, 6.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """At `at_s` seconds of the run, do `kind` to `target` (of `instance`) and put it right after `for_s` seconds."""

    at_s: float
    kind: Kind
    target: str
    instance: int = 0
    for_s: float = 0.0

    def __str__(self) -> str:
        name = f"{self.target}/{self.instance}" if self.target in SERVICES else self.target
        return f"{self.at_s:6.1f} s  {name:14} {self.kind.value} for {self.for_s:.1f} s"


def draw(seed: int, seconds: float, *, every_s: float = 6.0, instances: int = 1) -> Sequence[Fault]:
    """Return a run's faults in the order of their time.

    Args:
        seed: the same seed and arguments give the same faults on every machine.
        seconds: length of the run.
        every_s: mean time between two faults; they may overlap.
        instances: how many of each service run.
    """
    dice = random.Random(f"chaos:{seed}")
    found: list[Fault] = []
    at = QUIET_START_S
    while (at := at + dice.expovariate(1 / every_s)) < seconds - QUIET_END_S:
        target = dice.choices([*SERVICES, *SERVERS, "provider"], [3, 4, 5, 3, 4, 2, 2, 1])[0]
        if target == "provider":
            kind = dice.choice([Kind.CUT, Kind.REFUSE])
        elif target == "mongod":
            kind = dice.choice([Kind.KILL, Kind.PAUSE, Kind.CUT, Kind.REFUSE])
        elif target == "Kafka":
            kind = dice.choice([Kind.KILL, Kind.PAUSE])
        else:
            kind = dice.choices([Kind.KILL, Kind.TERM, Kind.PAUSE, Kind.LONG_PAUSE], [4, 2, 2, 2])[0]
        low, high = DURATION_S[kind]
        found.append(
            Fault(
                at_s=round(at, 2),
                kind=kind,
                target=target,
                instance=dice.randrange(instances) if target in SERVICES else 0,
                for_s=round(dice.uniform(low, high), 2),
            )
        )
    return found
