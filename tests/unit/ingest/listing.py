"""A reconciler in this process: the lists of a provider, Kafka and time are fakes that a test fills and moves."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.base import EventData
from schemas.envelope import Event
from services.ingest.adapters.known import Known
from services.ingest.domain.lender import Lender
from services.ingest.domain.listed import ListedCall, ListedMessage
from services.ingest.domain.listed_voicemails import ListedRecording, ListedTranscript
from services.ingest.errors import ListsAway
from services.ingest.reconcile.passes import Passes
from services.policy.directory import load_directory
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.producer import FakeProducer
from services.runtime.producer_errors import RecordRefused
from tests.infra.clock import FakeClock
from tests.unit.ingest.rig import OPEN
from tests.unit.ingest.test_calls_by_twilio import CALL, CALLER, LEG, NEW_YORK

LEG_2 = "CA" + "d" * 32
TEXT, OURS = "SM" + "1" * 32, "SM" + "2" * 32
DANA = "+12125550161"


def at(seconds: float) -> datetime:
    return OPEN + timedelta(seconds=seconds)


WHOLE = ListedCall(
    sid=CALL, parent_sid=None, caller=CALLER, dialed=NEW_YORK, status="completed",
    started_at=at(0), ended_at=at(50), duration_s=50,
)  # fmt: skip
LEGS = [
    replace(WHOLE, sid=LEG, parent_sid=CALL, dialed=DANA, status="completed", ended_at=at(49)),
    replace(WHOLE, sid=LEG_2, parent_sid=CALL, dialed="+12125550162", status="no-answer", ended_at=at(20)),
]
STOP = ListedMessage(
    sid=TEXT, is_inbound=True, sender=CALLER, to=NEW_YORK, body="STOP", status="received", at=at(60)
)  # fmt: skip
RECEIPT = replace(STOP, sid=OURS, is_inbound=False, sender=NEW_YORK, to=CALLER, status="undelivered", error_code=30003)
ALL_IDS = {
    f"twilio:{CALL}:started", f"twilio:{CALL}:ended:completed", f"twilio:{LEG}:ended", f"twilio:{LEG_2}:ended",
    f"twilio:{TEXT}:received", f"twilio:{OURS}:undelivered",
}  # fmt: skip


VOICEMAIL = ListedRecording(
    sid="RE" + "e" * 32, call_sid=CALL, status="completed", url="https://api.twilio.com/RE1", at=at(25), duration_s=20
)  # fmt: skip
VOICE_IDS = {f"twilio:{VOICEMAIL.sid}:recorded", f"twilio:{VOICEMAIL.sid}:transcribed"}


@dataclass
class FakeLists:
    """A provider's lists; remembers from when it was asked."""

    calls: list[ListedCall] = field(default_factory=list)
    messages: list[ListedMessage] = field(default_factory=list)
    recordings: list[ListedRecording] = field(default_factory=list)
    transcripts: dict[str, ListedTranscript] = field(default_factory=dict)
    asked: list[datetime] = field(default_factory=list)
    transcripts_asked: list[str] = field(default_factory=list)
    away: set[str] = field(default_factory=set)

    async def calls_ended(self, since: datetime) -> list[ListedCall]:
        """Return calls and legs."""
        self._may_fail("calls")
        self.asked.append(since)
        return [call for call in self.calls if call.ended_at >= since]

    async def legs_of(self, call_sid: str) -> list[ListedCall]:
        """Return a call's legs."""
        return [call for call in self.calls if call.parent_sid == call_sid]

    async def messages_sent(self, since: datetime) -> list[ListedMessage]:
        """Return texts."""
        self._may_fail("messages")
        return [message for message in self.messages if message.at >= since]

    async def recordings_made(self, since: datetime) -> list[ListedRecording]:
        """Return recordings."""
        self._may_fail("recordings")
        return [recording for recording in self.recordings if recording.at >= since]

    async def transcript_of(self, recording_sid: str) -> ListedTranscript | None:
        """Return a recording's words."""
        self._may_fail("transcripts")
        self.transcripts_asked.append(recording_sid)
        return self.transcripts.get(recording_sid)

    def _may_fail(self, name: str) -> None:
        if name in self.away:
            raise ListsAway(f"the fake was told that its {name} are away")


@dataclass
class PickyProducer(FakeProducer):
    """Does not take the events that it is told."""

    fails: Sequence[str] = ()
    refuses: Sequence[str] = ()

    async def send(self, *events: Event[EventData]) -> None:
        """Keep events, or fail."""
        if any(event.id in self.fails for event in events):
            raise TransientError("the fake was told to fail")
        if any(event.id in self.refuses for event in events):
            raise RecordRefused("too large")
        await super().send(*events)


@dataclass
class FakeKnown:
    """What is in Kafka: what was there before, and what the producer of this test sent."""

    producer: FakeProducer
    ids: set[str] = field(default_factory=set)
    unread: set[tuple[str, int]] = field(default_factory=set)
    away_before: datetime | None = None

    async def since(self, at: datetime | None) -> Known:
        """Return the ids."""
        if at is not None and self.away_before is not None and at < self.away_before:
            raise TransientError("too long ago")
        return Known(ids=self.ids | {event.id for event in self.producer.sent}, partitions=12, unread=self.unread)


@dataclass
class Bench:
    """A reconciler without anything real."""

    folder: Path
    lists: FakeLists = field(default_factory=lambda: FakeLists([WHOLE, *LEGS], [STOP, RECEIPT]))
    producer: PickyProducer = field(default_factory=PickyProducer)
    clock: FakeClock = field(default_factory=lambda: FakeClock(at(50 + 3600)))

    def __post_init__(self) -> None:
        """Make what stands on the others."""
        self.known = FakeKnown(self.producer)
        self.passes = self.restarted()

    def restarted(self) -> Passes:
        """Return a new process's passes."""
        return Passes(
            lists=self.lists,
            known=self.known,
            producer=self.producer,
            clock=self.clock,
            health=Health(),
            lender=Lender(load_directory("deploy/examples/lender.yaml")),
            folder=self.folder,
        )

    def sent(self) -> dict[str, Event[Any]]:
        """Return what was emitted, by id; nothing twice."""
        ids = [event.id for event in self.producer.sent]
        assert len(ids) == len(set(ids))
        return {event.id: event for event in self.producer.sent}
