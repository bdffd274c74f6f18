"""What went into the system and what came out of it, as values that the checker compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceTry:
    """One request for a call's first TwiML: which ingest it went to, when (real), how long it took, whether it was answered."""

    instance: int
    at_s: float
    took_s: float
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """When the run itself kept an ingest from answering: killed, told to stop or halted, until it was there again (real)."""

    instance: int
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlaced:
    """One call as the phone company played it.

    Attributes:
        sid: the provider's id.
        caller: E.164; None when the caller withheld it.
        answered: an officer pressed the key, and that webhook was acknowledged.
        acknowledged: names of the webhooks that were answered with 2xx, such as `started`, `ended`.
        ended_s: when the webhook of its end was posted first (real, seconds since the epoch).
        expected: what it is decided as where nothing breaks.
        tries: to get its first TwiML.
        pressed: id of the event of an officer's key press that was acknowledged.
    """

    sid: str
    caller: str | None
    answered: bool = False
    acknowledged: frozenset[str] = frozenset()
    ended_s: float | None = None
    expected: Literal["answered", "missed", "abandoned"] = "missed"
    tries: Sequence[VoiceTry] = ()
    pressed: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether the system has to account for it: its start and its end were acknowledged."""
        return {"started", "ended"} <= self.acknowledged


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReceived:
    """One text of a borrower whose webhook was acknowledged."""

    sid: str
    caller: str
    kind: Literal["stop", "start", "reply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """One webhook that was answered with 2xx: the id of the event it tells, and when the answer came (real)."""

    event_id: str
    route: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """One record in Kafka: when the log took it (seconds since the epoch), and whose it is."""

    event_id: str
    type: str
    caller: str
    call_id: str = ""
    body: str = ""
    status: str = ""
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One request to send a text, as the sandbox got it; `touch_id` and `sid` only where it was accepted."""

    to: str
    at_s: float
    virtual_at: datetime | None = None
    touch_id: str | None = None
    sid: str | None = None
    error_code: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether a text exists because of it."""
        return self.sid is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything the checker reads.

    Attributes:
        calls: as placed.
        texts: as received from borrowers.
        webhooks: that were acknowledged.
        posted: in the order of their arrival at the sandbox.
        appended: `call-events` and `replies`, in the order of each partition.
        lead_documents: the collection `leads`; likewise the others.
        rows: the sequencer's rows by key, as a fresh worker reads them from the changelog.
        row_digests: of each partition, a hash over the rows, by whoever holds them: the changelog, the workers that were
            at work, and the workers that were started afterwards.
        dead_letters: how many records each dead-letter topic holds.
        reconciled: how many events of each type the reconciler told.
        unsafe: how many calls went on without a safe event.
        died_unsafe: ids of events that an ingest held in memory alone when it was killed (kill -9).
        away: when the run itself kept an ingest from answering.
        twiml_limit_s: how long a request for TwiML may take here, the machine's allowance in it.
    """

    calls: Sequence[CallPlaced] = ()
    texts: Sequence[TextReceived] = ()
    webhooks: Sequence[Acknowledged] = ()
    posted: Sequence[Posted] = ()
    appended: Sequence[Appended] = ()
    lead_documents: Sequence[Document] = ()
    call_documents: Sequence[Document] = ()
    message_documents: Sequence[Document] = ()
    delivery_documents: Sequence[Document] = ()
    task_log: Sequence[Document] = ()
    pending_timers: Sequence[Document] = ()
    rows: Mapping[str, Document] = field(default_factory=dict)
    row_digests: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    reconciled: Mapping[str, int] = field(default_factory=dict)
    unsafe: int = 0
    died_unsafe: frozenset[str] = frozenset()
    away: Sequence[Away] = ()
    twiml_limit_s: float = 3.0
