"""What the leads service keeps, as frozen values; field names are the documents' (`services.leads.adapters.documents`)."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import date, datetime
from typing import Final, Literal

from schemas.base import Texting
from schemas.card import OfficerStatus
from schemas.envelope import Wire
from schemas.ids import partition_key
from schemas.leads import CallOutcome, LeadStatus

# How long the arrays in documents may get (design 5): a document is read and written whole.
SEEN_LIMIT = 100
OUTBOX_LIMIT = 64
LEGS_LIMIT = 32
VOICEMAILS_LIMIT = 8
TAKEN_LIMIT = 50
STEPS_LIMIT = 16
DAYS_LIMIT = 8

CADENCE: Final = "missed-call"
"""The cadence that a missed call asks for."""

DecidedBy = Literal["facts", "after_end", "incomplete", "reconciler"]
"""What made it time to decide a call. `reconciler`: its facts come from the provider's list, a phone was picked up in it, and
whether a key was pressed is in no list: it is kept as missed, and causes a task and no text."""
Urgency = Literal["normal", "high", "urgent"]
TaskKind = Literal["callback", "text_not_sent"]
TaskState = Literal["open", "claimed", "done"]
TouchState = Literal["sent", "delivered", "failed", "suppressed"]


@dataclass(frozen=True, slots=True)
class Cause:
    """What led to a change. Its id makes the change happen once; the rest goes into the events that follow."""

    id: str
    received_at: datetime | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One officer's leg of a call. `listed`: its end was read from the provider's list; a webhook was lost."""

    leg_id: str
    _: KW_ONLY
    officer_id: str | None = None
    answered_at: datetime | None = None
    status: str | None = None
    ended_at: datetime | None = None
    listed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Voicemail:
    """A recording, and its words once they are there."""

    recording_id: str
    call_id: str
    _: KW_ONLY
    url: str | None = None
    duration_s: float = 0.0
    transcript: str | None = None


@dataclass(frozen=True, slots=True)
class ReportedTalk:
    """What a phone system that reports whole calls says of the talk in one."""

    answered: bool
    talk_time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One inbound call: its facts so far and, once, what it was.

    `partition` is the one whose owner settles it: the caller's, or the call's own while no caller is known. With
    `said_undecided` its caller has a task because it could not be decided.
    """

    key: str
    lender_id: str
    provider: str
    call_id: str
    newest_fact_at: datetime
    rev: int = 0
    caller: str | None = None
    withheld: bool = False
    branch_id: str = ""
    dialled: str | None = None
    test: bool = False
    legs_dialled: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_status: str | None = None
    duration_s: float | None = None
    legs: tuple[Leg, ...] = ()
    voicemails: tuple[Voicemail, ...] = ()
    voicemail: bool = False
    report: ReportedTalk | None = None
    facts: tuple[str, ...] = ()
    received_at: datetime | None = None
    traceparent: str = ""
    settle_at: datetime | None = None
    outcome: CallOutcome | None = None
    decided_at: datetime | None = None
    decided_by: DecidedBy | None = None
    late_answer: bool = False
    applied: bool = False
    partition: int | None = None
    said_undecided: bool = False

    @property
    def decision_id(self) -> str:
        """What everything the decision causes is derived from."""
        return f"{self.key}:decided"

    @property
    def contact_id(self) -> str:
        """The one id of "a person talked in this call", whichever fact proves it."""
        return f"{self.key}:contacted"

    @property
    def over_at(self) -> datetime:
        """When the call ended, as well as the facts tell."""
        return self.ended_at or self.newest_fact_at


@dataclass(frozen=True, slots=True, kw_only=True)
class DueCall:
    """A call whose `settle_at` has come, as far as its settler needs it before it claims the call."""

    key: str
    settle_at: datetime
    _: KW_ONLY
    lender_id: str = ""
    call_id: str = ""
    caller: str | None = None
    is_decided: bool = False
    said_undecided: bool = False

    @property
    def keys(self) -> frozenset[bytes]:
        """The keys of every record that may hold a fact of the call: facts that name no caller have the call's own."""
        return frozenset({partition_key(self.lender_id, None, self.call_id), self.lead_key})

    @property
    def lead_key(self) -> bytes:
        """The key of what is emitted about the call."""
        return partition_key(self.lender_id, self.caller, self.call_id)


@dataclass(frozen=True, slots=True)
class LeftOutbox:
    """A lead whose outbox was left behind, the key of its events, and since when it has held something."""

    lead_id: str
    key: bytes
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a person has to do about a lead: one at a time, everything that asks for it merged."""

    task_id: str
    kind: TaskKind
    due_at: datetime
    created_at: datetime
    urgency: Urgency = "normal"
    reasons: tuple[str, ...] = ()
    state: TaskState = "open"
    holder: str | None = None
    claim_until: datetime | None = None
    voicemails: tuple[Voicemail, ...] = ()
    closed_at: datetime | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStanding:
    """Where one step of the newest sequence stands."""

    touch_id: str
    attempt: int
    state: TouchState
    at: datetime
    reason: str | None = None
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One event in a lead's outbox, as Kafka will carry it."""

    seq: int
    wire: Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """One borrower. The notifier reads the fields that schemas/card.py names.

    `sequence_days` are the local days on which a missed call may have begun a sequence, ISO, in order: a sequence's id is
    derived from its day, so they tell which of two sequences is the newer. `task_closed` is the task that was closed last,
    as it goes into `task_log`.
    """

    lead_id: str
    lender_id: str
    caller: str
    branch_id: str
    first_contact_at: datetime
    opened_by_call: str
    name: str | None = None
    referred_by: str | None = None
    owner_id: str | None = None
    status: LeadStatus = "attempted_contact"
    texting: Texting = "open"
    lead_seq: int = 0
    halt_seq: int = 0
    seen: tuple[str, ...] = ()
    voicemail: bool = False
    last_call_ended_at: datetime | None = None
    first_reply_at: datetime | None = None
    test: bool = False
    rev: int = 0
    source: str = "Inbound missed call"
    local_day: date | None = None
    calls: int = 0
    task: Task | None = None
    tasks_made: int = 0
    purpose: Literal["purchase", "refinance"] | None = None
    replies: int = 0
    texts: int = 0
    first_text_at: datetime | None = None
    last_text_at: datetime | None = None
    last_reply_at: datetime | None = None
    opted_in_at: datetime | None = None
    contacted_at: datetime | None = None
    task_closed: Task | None = None
    sequence_days: tuple[str, ...] = ()
    sequence_id: str | None = None
    touches: Mapping[str, StepStanding] = field(default_factory=dict)
    outbox: tuple[OutboxEntry, ...] = ()
    outbox_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficerState:
    """An officer's availability and leads of the day; name, weight and capacity stand in the directory."""

    officer_id: str
    _: KW_ONLY
    rev: int = 0
    status: OfficerStatus = "available"
    day: date | None = None
    assigned_today: int = 0
    last_assigned_at: datetime | None = None
    taken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeadChange:
    """What one event makes of a lead; `ignored` says, from a closed set, why it changes nothing."""

    lead: Lead
    ignored: str | None = None
