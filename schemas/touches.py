"""`touches`, `touch-results` and the sequencer's timers."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from schemas.base import E164, OPEN_LIST, Audience, EventData, Id, Instant, Lane, LocalTime

SuppressReason = Literal[
    "opted_out", "reply_in_flight", "overtaken", "expired", "already_sent", "quiet_hours", "cap_reached", "no_lead",
    "not_textable", "paused", "contacted", "replied", "handed_over", "first_text_missing", "closed", "task_done",
    "after_hours_policy", "consent_needed",
]  # fmt: skip
"""Why a touch was held or dropped, as our writers say it. Nothing says `quiet_hours`, `cap_reached` or `not_textable` yet."""

ReasonText = Annotated[str, Field(json_schema_extra={OPEN_LIST: list(get_args(SuppressReason))})]
"""The same for readers: text, so that a reason that a newer writer adds is read, kept and counted."""


class TouchRef(EventData):
    """Which step of which sequence this is about."""

    touch_id: Id
    lead_id: Id
    caller: E164
    sequence_id: Id
    step: Id = Field(examples=["text-now"])
    attempt: int = Field(default=1, ge=1)


class TouchDue(TouchRef):
    """Decisions and ids, no words: the notifier renders after its last gate. `touch_id` is the delivery's `_id`."""

    TYPE: ClassVar[str] = "touch.due"
    TOPIC: ClassVar[str] = "touches"

    audience: Audience = "borrower"
    template: Id = Field(description="a family; the notifier picks the variant")
    lane: Lane = "normal"
    due_at: Instant
    expires_at: Instant
    lead_seq: int = Field(ge=0, description="the newest its decider has read")
    base_at: Instant | None = Field(default=None, description="the end of the call that began the sequence")
    first_of_sequence: bool = False


class TouchResult(TouchRef):
    """What became of a touch."""

    TOPIC: ClassVar[str] = "touch-results"


class TouchSent(TouchResult):
    """The provider has accepted the text."""

    TYPE: ClassVar[str] = "touch.sent"
    sid: Id
    body: str
    template: Id
    template_version: int
    variant: str
    sent_at: Instant
    from_number: E164


class TouchDelivered(TouchResult):
    """The carrier says it is on the handset."""

    TYPE: ClassVar[str] = "touch.delivered"
    sid: Id
    delivered_at: Instant


class TouchFailed(TouchResult):
    """The provider or the carrier refused it; `retriable` says whether another attempt may help."""

    TYPE: ClassVar[str] = "touch.failed"
    sid: Id | None = None
    error_code: int | None = None
    reason: str = ""
    retriable: bool = False
    until: Instant | None = None


class TouchSuppressed(TouchResult):
    """A gate said no: with `until` the sequencer tries again then; without it the no is final, whatever the reason."""

    TYPE: ClassVar[str] = "touch.suppressed"
    reason: ReasonText
    until: Instant | None = None


class TouchTaskRequested(TouchResult):
    """A person has to do something: a phone step that is due, or a text that did not leave."""

    TYPE: ClassVar[str] = "touch.task_requested"
    kind: Literal["callback", "text_not_sent"] = "callback"
    due: LocalTime | None = None
    due_at: Instant
    urgent: bool = False
    reason: str


class TimerSet(EventData):
    """The agent asks its timekeeper for a tick. The same `timer_id` again has a tick that has come come again."""

    TYPE: ClassVar[str] = "timer.set"
    TOPIC: ClassVar[str] = "sequencer-timers"
    timer_id: Id
    due_at: Instant
    due_local: LocalTime | None = Field(default=None, description="resolved again when it fires")
    step: Id


class TimerDue(EventData):
    """A tick; the agent checks it against the caller's row, so a repeated, late or obsolete one changes nothing."""

    TYPE: ClassVar[str] = "timer.due"
    TOPIC: ClassVar[str] = "sequencer-ticks"
    timer_id: Id
    due_at: Instant
    step: Id


TOUCH_EVENTS: tuple[type[EventData], ...] = (
    TouchDue, TouchSent, TouchDelivered, TouchFailed, TouchSuppressed, TouchTaskRequested, TimerSet, TimerDue,
)  # fmt: skip
