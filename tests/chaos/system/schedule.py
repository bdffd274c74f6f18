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
    AWAY = "killed, one partition of each topic without a leader"
    CUT = "connections cut"
    REFUSE = "connections refused"
    SLOW = "connections slow, and with them the changelog"


SERVICES: Final = ("ingest", "leads", "sequencer", "timekeeper", "notifier")
KAFKA, FIRST, SECOND, MONGO, PROVIDER = "Kafka", "broker 1", "broker 2", "mongod", "provider"
WEIGHTS: Final = {
    "ingest": 3, "leads": 4, "sequencer": 5, "timekeeper": 3, "notifier": 4,
    KAFKA: 1, FIRST: 1, SECOND: 3, MONGO: 2, PROVIDER: 1,
}  # fmt: skip
KINDS: Final[dict[str, dict[Kind, int]]] = {
    **{name: {Kind.KILL: 4, Kind.TERM: 2, Kind.PAUSE: 2, Kind.LONG_PAUSE: 2} for name in SERVICES},
    KAFKA: {Kind.KILL: 1},
    FIRST: {Kind.KILL: 1, Kind.PAUSE: 1, Kind.CUT: 1},
    SECOND: {Kind.KILL: 1, Kind.TERM: 1, Kind.PAUSE: 1, Kind.LONG_PAUSE: 1, Kind.CUT: 1, Kind.AWAY: 2, Kind.SLOW: 2},
    MONGO: {Kind.KILL: 1, Kind.TERM: 1, Kind.PAUSE: 1, Kind.LONG_PAUSE: 1, Kind.CUT: 1, Kind.REFUSE: 1},
    PROVIDER: {Kind.CUT: 1, Kind.REFUSE: 1},
}

QUIET_START_S: Final = 5.0
QUIET_END_S: Final = 15.0
"""The end of a run breaks nothing: what was broken last must have time to show."""

DURATION_S: Final = {
    Kind.KILL: (0.5, 4.0), Kind.TERM: (0.5, 2.0), Kind.PAUSE: (1.0, 4.0), Kind.LONG_PAUSE: (13.0, 18.0),
    Kind.AWAY: (10.0, 20.0), Kind.CUT: (0.0, 0.0), Kind.REFUSE: (1.0, 6.0), Kind.SLOW: (5.0, 12.0),
}  # fmt: skip

BROKER_PAUSE_S: Final = {Kind.PAUSE: (0.5, 2.0), Kind.LONG_PAUSE: (5.0, 9.0)}
"""A broker's session lasts three seconds: past it the controller gives its partitions to the other broker, and it comes back
believing that they are its own."""

SCENES: Final = {"kafka-down": (KAFKA, 300.0), "mongo-down": (MONGO, 120.0)}
"""An outage of one server, and how long it lasts."""
BEFORE_SCENE_S: Final = 20.0
AFTER_SCENE_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """At `at_s` seconds of the run, do `kind` to `target` (of `instance`) and put it right after `for_s` seconds."""

    at_s: float
    kind: Kind
    target: str
    instance: int = 0
    for_s: float = 0.0

    @property
    def is_kill(self) -> bool:
        """Whether something ends at once, without a word."""
        return self.kind in (Kind.KILL, Kind.AWAY)

    def __str__(self) -> str:
        name = f"{self.target}/{self.instance}" if self.target in SERVICES else self.target
        return f"{self.at_s:6.1f} s  {name:14} {self.kind.value} for {self.for_s:.1f} s"


def draw(seed: int, seconds: float, *, every_s: float = 6.0, instances: int = 1, min_kills: int = 0) -> Sequence[Fault]:
    """Return a run's faults in the order of their time.

    Args:
        seed: the same seed and arguments give the same faults on every machine.
        seconds: length of the run.
        every_s: mean time between two faults; they may overlap.
        instances: how many of each service run.
        min_kills: services are killed besides, at moments of their own, until there are so many kills.
    """
    dice = random.Random(f"chaos:{seed}")
    found: list[Fault] = []
    at = QUIET_START_S
    while (at := at + dice.expovariate(1 / every_s)) < seconds - QUIET_END_S:
        target = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        kind = dice.choices(list(KINDS[target]), list(KINDS[target].values()))[0]
        found.append(_fault(dice, at, target, kind, instances))
    while sum(fault.is_kill for fault in found) < min_kills:
        at = dice.uniform(QUIET_START_S, seconds - QUIET_END_S)
        found.append(_fault(dice, at, dice.choice(SERVICES), Kind.KILL, instances))
    return sorted(found, key=lambda fault: fault.at_s)


def scene(name: str, for_s: float | None = None) -> tuple[float, Sequence[Fault]]:
    """Return how long an outage's run is, and the outage; `for_s` is another length of it."""
    target, usual_s = SCENES[name]
    for_s = for_s or usual_s
    outage = Fault(at_s=BEFORE_SCENE_S, kind=Kind.KILL, target=target, for_s=for_s)
    return BEFORE_SCENE_S + for_s + AFTER_SCENE_S, (outage,)


def _fault(dice: random.Random, at: float, target: str, kind: Kind, instances: int) -> Fault:
    low, high = BROKER_PAUSE_S.get(kind, DURATION_S[kind]) if target in (FIRST, SECOND) else DURATION_S[kind]
    return Fault(
        at_s=round(at, 2),
        kind=kind,
        target=target,
        instance=dice.randrange(instances) if target in SERVICES else 0,
        for_s=round(dice.uniform(low, high), 2),
    )
