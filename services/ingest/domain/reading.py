"""What one webhook says: drafts of the events to emit, and what to answer. Data, not calls."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeVar, get_args

from schemas.base import EventData
from services.policy.numbers import InvalidReason

IGNORED: Final = ("not_final", "not_inbound", "no_recording", "unknown_status", "key_not_pressed", "unusable_sender")
"""Why a good webhook says nothing we keep."""
UNUSABLE: Final[tuple[str, ...]] = get_args(InvalidReason)

T = TypeVar("T", bound=EventData, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft(Generic[T]):
    """One event before it gets its envelope.

    Attributes:
        id: derived from the provider's own id, so that a repetition makes the same one.
        data: what is true.
        time: when it happened.
        branch_id: the branch it is about; empty when it names none.
        caller: whose event it is, and so its Kafka key. None: the call is the key.
        call_id: the provider's id of the call, for the key of an event without a caller.
    """

    id: str
    data: T
    time: datetime
    branch_id: str = ""
    caller: str | None = None
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class NoContent:
    """An empty response: 204."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A JSON receipt: 202."""

    event_id: str


@dataclass(frozen=True, slots=True)
class GoOn:
    """Empty TwiML: the call or message goes on as it is."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """TwiML that ends this leg."""


@dataclass(frozen=True, slots=True)
class Ring:
    """TwiML that dials officers (id, phone), screens each, and then asks `/dial` what comes next."""

    call_id: str
    branch_id: str
    officers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TakeVoicemail:
    """TwiML that takes a voicemail."""

    call_id: str
    branch_id: str
    closed: bool


@dataclass(frozen=True, slots=True)
class Screen:
    """TwiML that asks whoever picked up to press 1."""

    call_id: str
    branch_id: str
    officer_id: str | None


Instruction = NoContent | Accepted | GoOn | HangUp | Ring | TakeVoicemail | Screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one webhook says.

    Attributes:
        drafts: the events to emit.
        instruction: what to answer.
        ignored: one of `IGNORED`, when the webhook says nothing we keep.
        unusable: one of `UNUSABLE`, when the caller is not a phone number.
    """

    drafts: tuple[Draft[EventData], ...] = ()
    instruction: Instruction = field(default_factory=NoContent)
    ignored: str | None = None
    unusable: str | None = None
