"""What the sequencer keeps of one caller: the phase, the last sequence with its steps, and the last event's effects.

A row keeps only what `decide` reads. Sequence, touch and timer ids are not in it: they are derived from lead, cadence,
day, step and attempt whenever they are needed.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from schemas import ids
from schemas.base import EventData, LocalTime
from schemas.envelope import Event
from services.sequencer.domain.effects import Effect


class Phase(StrEnum):
    """Where a caller stands."""

    IDLE = "idle"
    RECOVERING = "recovering"
    CONVERSING = "conversing"
    HANDED_OVER = "handed_over"
    NURTURING = "nurturing"
    STOPPED = "stopped"


class StepStatus(StrEnum):
    """Where one step stands; the last three are final, except that `sent` may still fail at the carrier."""

    WAITING = "waiting"  # for the text before it to be sent
    TIMED = "timed"  # its timer is open
    DUE = "due"  # emitted: the notifier has it
    SENT = "sent"  # for a phone step: the task was requested
    DROPPED = "dropped"  # by us, for a reason
    NOT_SENT = "not_sent"  # the notifier says so, finally


OPEN = frozenset({StepStatus.WAITING, StepStatus.TIMED, StepStatus.DUE})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """One step of a sequence.

    Attributes:
        name: the step's, in its cadence.
        status: where it stands.
        attempt: which one; the first is 1.
        at: when this attempt is (or was) due; once sent, when it was.
        stop: what ends it when the notifier gives it back, as a `Stop`; empty: nothing.
        base: what its expiry counts from, where that is not `at`: holds for technical reasons do not move it.
    """

    name: str
    status: StepStatus
    attempt: int = 1
    at: datetime | None = None
    stop: str = ""
    base: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerSequence:
    """A caller's last sequence, running or finished."""

    cadence: str
    local_day: date
    call_ended_at: datetime
    morning: LocalTime
    steps: tuple[StepState, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether no step is open any more."""
        return not any(step.status in OPEN for step in self.steps)

    def step(self, name: str) -> StepState | None:
        """Return a step's state."""
        return next((step for step in self.steps if step.name == name), None)

    def having(self, changed: StepState) -> "CallerSequence":
        """Return the sequence with one step's state replaced."""
        steps = tuple([changed if step.name == changed.name else step for step in self.steps])
        return self.with_steps(steps)

    def with_steps(self, steps: tuple[StepState, ...]) -> "CallerSequence":
        """Return the sequence with its steps replaced."""
        return CallerSequence(
            cadence=self.cadence,
            local_day=self.local_day,
            call_ended_at=self.call_ended_at,
            morning=self.morning,
            steps=steps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the events that an event causes take over from it: with it, they can be made again from the row alone."""

    time: datetime
    received_at: datetime | None = None
    branch_id: str = ""
    traceparent: str = ""

    @classmethod
    def of(cls, event: Event[EventData]) -> "Origin":
        """Return the origin of what an event causes."""
        return cls(
            time=event.time,
            received_at=event.received_at,
            branch_id=event.branch_id,
            traceparent=event.traceparent,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the sequencer knows of one caller; never mutated."""

    phase: Phase = Phase.IDLE
    lead_id: str = ""
    lead_seq: int = 0
    sequence: CallerSequence | None = None
    last_event: str = ""
    last_effects: tuple[Effect, ...] = ()
    last_origin: Origin | None = None
    """Of the last effects; none without effects, and in rows from before it was kept."""

    @property
    def sequence_id(self) -> str:
        """The id of the last sequence; empty before the first."""
        found = self.sequence
        return ids.sequence_id(self.lead_id, found.cadence, found.local_day) if found else ""

    # The next three write every field out, because they run for every event and `dataclasses.replace` costs three times
    # as much.

    def following(self, sequence: CallerSequence) -> "Row":
        """Return the row with another sequence, or another state of it."""
        return Row(
            phase=self.phase,
            lead_id=self.lead_id,
            lead_seq=self.lead_seq,
            sequence=sequence,
            last_event=self.last_event,
            last_effects=self.last_effects,
            last_origin=self.last_origin,
        )

    def heard(self, lead_seq: int) -> "Row":
        """Return the row with its lead's count as it is after another event."""
        return Row(
            phase=self.phase,
            lead_id=self.lead_id,
            lead_seq=lead_seq,
            sequence=self.sequence,
            last_event=self.last_event,
            last_effects=self.last_effects,
            last_origin=self.last_origin,
        )

    def remembering(self, event: Event[EventData], effects: tuple[Effect, ...]) -> "Row":
        """Return the row with its last event."""
        return Row(
            phase=self.phase,
            lead_id=self.lead_id,
            lead_seq=self.lead_seq,
            sequence=self.sequence,
            last_event=event.id,
            last_effects=effects,
            last_origin=Origin.of(event) if effects else None,
        )


EMPTY = Row()
