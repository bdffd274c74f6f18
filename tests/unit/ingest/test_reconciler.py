"""What webhooks missed is found in the provider's lists, and emitted under the ids that the webhooks would have made."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.envelope import Event
from services.ingest.adapters.known import Known
from services.ingest.domain.lender import Lender
from services.ingest.domain.listed import ListedCall, ListedMessage
from services.ingest.domain.listed_voicemails import ListedRecording, ListedTranscript
from services.ingest.errors import ListsAway
from services.ingest.reconcile.passes import CALL_AGE_S, Passes
from services.policy.directory import load_directory
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.producer import FakeProducer
from tests.infra.clock import FakeClock
from tests.unit.ingest.rig import OPEN, Rig
from tests.unit.ingest.test_calls_by_twilio import CALL, CALLER, LEG, NEW_YORK, RINGING, count

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
    transcripts_asked: int = 0
    is_away: bool = False

    async def calls_ended(self, since: datetime) -> list[ListedCall]:
        """Return calls and legs."""
        if self.is_away:
            raise ListsAway("the fake was told to be away")
        self.asked.append(since)
        return [call for call in self.calls if call.ended_at >= since]

    async def legs_of(self, call_sid: str) -> list[ListedCall]:
        """Return a call's legs."""
        return [call for call in self.calls if call.parent_sid == call_sid]

    async def messages_sent(self, since: datetime) -> list[ListedMessage]:
        """Return texts."""
        return [message for message in self.messages if message.at >= since]

    async def recordings_made(self, since: datetime) -> list[ListedRecording]:
        """Return recordings."""
        return [recording for recording in self.recordings if recording.at >= since]

    async def transcript_of(self, recording_sid: str) -> ListedTranscript | None:
        """Return a recording's words."""
        self.transcripts_asked += 1
        return self.transcripts.get(recording_sid)


@dataclass
class FakeKnown:
    """What is in Kafka: what was there before, and what the producer of this test sent."""

    producer: FakeProducer
    ids: set[str] = field(default_factory=set)
    unread: set[tuple[str, int]] = field(default_factory=set)

    async def since(self, at: datetime | None) -> Known:
        """Return the ids."""
        return Known(ids=self.ids | {event.id for event in self.producer.sent}, partitions=12, unread=self.unread)


@dataclass
class Bench:
    """A reconciler without anything real."""

    folder: Path
    lists: FakeLists = field(default_factory=lambda: FakeLists([WHOLE, *LEGS], [STOP, RECEIPT]))
    producer: FakeProducer = field(default_factory=FakeProducer)
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


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_call_and_texts_that_no_webhook_told_are_told_once_with_their_own_times(bench: Bench) -> None:
    before = count("ringback_reconciled_events_total", type="call.leg_ended")
    await bench.passes.round()
    await bench.passes.round()
    sent = bench.sent()
    assert set(sent) == ALL_IDS
    assert {event.key for event in sent.values()} == {b"larkspur:+13035550123"}
    started, ended = sent[f"twilio:{CALL}:started"].data, sent[f"twilio:{CALL}:ended:completed"].data
    assert (started.legs_dialled, started.started_at, started.dialled) == (2, at(0), NEW_YORK)
    assert (ended.ended_at, ended.duration_s) == (at(50), 50)
    leg = sent[f"twilio:{LEG}:ended"].data
    assert (leg.status, leg.officer_id, leg.listed) == ("completed", "dana-whitfield", True)
    assert "call.leg_answered" not in {event.type for event in sent.values()}, "what was pressed is in no list"
    assert (sent[f"twilio:{TEXT}:received"].data.body, sent[f"twilio:{OURS}:undelivered"].data.error_code) == (
        "STOP",
        30003,
    )
    assert count("ringback_reconciled_events_total", type="call.leg_ended") == before + 2


async def test_end_of_a_listed_call_is_told_after_the_ends_of_its_legs(bench: Bench) -> None:
    """Three seconds after the end the call is decided; that a phone was picked up must be known then."""
    await bench.passes.round()
    facts = [event.type for event in bench.producer.sent if event.topic == "call-events"]
    assert facts == ["call.started", "call.leg_ended", "call.leg_ended", "call.ended"]


async def test_facts_have_the_ids_of_the_webhooks_that_tell_them(bench: Bench, rig: Rig) -> None:
    """One id, whoever tells: so a late webhook changes nothing."""
    await rig.twilio("voice", RINGING)
    query = f"leg?step=status&call={CALL}&branch=new-york&officer=dana-whitfield"
    for leg, status in ((LEG, "completed"), (LEG_2, "no-answer")):
        await rig.twilio(query, {"CallSid": leg, "From": CALLER, "CallStatus": status})
    await rig.twilio("call-status", {**RINGING, "CallStatus": "completed", "CallDuration": "50"})
    await rig.twilio("sms", {"MessageSid": TEXT, "From": CALLER, "To": NEW_YORK, "Body": "STOP"})
    await rig.twilio("message-status", {"MessageSid": OURS, "To": CALLER, "MessageStatus": "undelivered"})
    assert {event.id for event in rig.events} == ALL_IDS
    bench.known.ids = ALL_IDS
    await bench.passes.round()
    assert bench.sent() == {}


async def test_call_is_left_alone_until_its_webhooks_had_their_time_and_told_while_a_first_text_still_may_leave(
    bench: Bench,
) -> None:
    """A call in which a phone was picked up becomes a task and no text, however early it is told; a missed one its text."""
    bench.clock.virtual = at(50 + 119)
    await bench.passes.round()
    assert set(bench.sent()) == {f"twilio:{TEXT}:received", f"twilio:{OURS}:undelivered"}
    bench.clock.virtual = at(50 + 120)
    await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS
    assert CALL_AGE_S + Passes.period_s < 300 - 60, "a minute is left of the first text's five"


async def test_pass_looks_back_ten_minutes_from_the_last_that_finished_over_failures_and_a_restart(
    bench: Bench,
) -> None:
    first = bench.clock.virtual
    await bench.passes.round()
    assert bench.lists.asked == [first - timedelta(days=1)]
    bench.clock.move(60)
    await bench.passes.round()
    second = first + timedelta(seconds=60)
    assert bench.lists.asked[-1] == first - timedelta(minutes=10)
    bench.clock.move(30 * 3600)
    bench.lists.is_away = True
    with pytest.raises(ListsAway):
        await bench.passes.round()
    bench.lists.is_away = False
    await bench.restarted().round()
    assert bench.lists.asked[-1] == second - timedelta(minutes=10), "thirty hours, though a first pass looks back a day"


async def test_pass_whose_event_kafka_does_not_take_is_made_again(bench: Bench) -> None:
    first = bench.clock.virtual
    bench.producer.fail = 1
    with pytest.raises(TransientError):
        await bench.passes.round()
    bench.clock.move(60)
    await bench.passes.round()
    assert bench.lists.asked == [first - timedelta(days=1), bench.clock.virtual - timedelta(days=1)]
    assert set(bench.sent()) == ALL_IDS


async def test_partition_that_cannot_be_read_keeps_only_its_own_events_waiting(bench: Bench) -> None:
    bench.known.unread = {("replies", n) for n in range(12)}
    with pytest.raises(TransientError, match="cannot be read"):
        await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS - {f"twilio:{TEXT}:received"}
    bench.known.unread = set()
    await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS


async def test_reconciler_waits_while_a_spool_beside_it_has_entries(bench: Bench) -> None:
    spooled = bench.folder / "0" / "call-events.3.spool"
    spooled.parent.mkdir()
    spooled.write_bytes(b"something")
    with pytest.raises(TransientError, match="spool"):
        await bench.passes.round()
    spooled.write_bytes(b"")
    await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS


async def test_receipt_that_comes_hours_after_its_text_and_gets_lost_is_found_within_the_hour(bench: Bench) -> None:
    """Lists are by the time a text was sent; its end may be reported hours later, long behind every short window."""
    bench.lists.messages = [replace(RECEIPT, status="sent")]
    await bench.passes.round()
    bench.clock.move(2.5 * 3600)
    await bench.passes.round()
    bench.lists.messages = [RECEIPT]
    bench.clock.move(60)
    await bench.passes.round()
    assert f"twilio:{OURS}:undelivered" not in bench.sent(), "a pass of ten minutes does not see it"
    for _ in range(59):
        bench.clock.move(60)
        await bench.passes.round()
    assert f"twilio:{OURS}:undelivered" in bench.sent()
    spans = [asked for asked in bench.lists.asked[-60:] if asked == bench.clock.virtual - timedelta(days=1)]
    assert len(spans) == 1, "a day is listed once an hour"


async def test_call_and_text_that_the_provider_lists_late_are_found_within_the_hour(bench: Bench) -> None:
    bench.lists.calls, bench.lists.messages = [], []
    await bench.passes.round()
    bench.lists.calls, bench.lists.messages = [WHOLE, *LEGS], [STOP]
    for _ in range(60):
        bench.clock.move(60)
        await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS - {f"twilio:{OURS}:undelivered"}


async def test_voicemail_whose_webhooks_were_lost_is_told_with_its_words_under_the_webhooks_ids(
    bench: Bench, rig: Rig
) -> None:
    """A borrower's request to be called at a time is in those words."""
    bench.lists.recordings = [VOICEMAIL]
    await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS | {f"twilio:{VOICEMAIL.sid}:recorded"}, "its words are not there yet"
    bench.lists.transcripts = {VOICEMAIL.sid: ListedTranscript("please call after five")}
    bench.clock.move(60)
    bench.passes = bench.restarted()
    await bench.passes.round()
    sent = bench.sent()
    assert set(sent) == ALL_IDS | VOICE_IDS
    asked = bench.lists.transcripts_asked
    await bench.passes.round()
    assert bench.lists.transcripts_asked == asked, "what is in Kafka is not asked for"
    form = {"CallSid": CALL, "RecordingSid": VOICEMAIL.sid, "RecordingUrl": VOICEMAIL.url, "RecordingDuration": "20"}
    query = f"?call={CALL}&branch=new-york"
    await rig.twilio(f"recording{query}", {**form, "RecordingStatus": "completed"})
    words = {"TranscriptionStatus": "completed", "TranscriptionText": "please call after five"}
    await rig.twilio(f"transcription{query}", {**form, **words})
    for event in rig.events:
        assert (sent[event.id].data, sent[event.id].key, sent[event.id].branch_id) == (
            event.data,
            event.key,
            event.branch_id,
        )


async def test_voicemail_that_cannot_be_transcribed_says_so_and_a_recording_of_no_call_of_ours_is_not_told(
    bench: Bench,
) -> None:
    bench.lists.recordings = [VOICEMAIL, replace(VOICEMAIL, sid="RE" + "f" * 32, call_sid="CA" + "f" * 32)]
    bench.lists.transcripts = {VOICEMAIL.sid: ListedTranscript(None)}
    await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS | VOICE_IDS
    assert bench.sent()[f"twilio:{VOICEMAIL.sid}:transcribed"].data.text is None


async def test_call_that_began_before_the_window_has_all_its_legs(bench: Bench) -> None:
    bench.lists.calls, bench.clock.virtual = [], at(600 + 30)
    await bench.passes.round()
    bench.lists.calls = [WHOLE, *LEGS]
    bench.clock.move(60)
    await bench.passes.round()
    assert bench.lists.asked[-1] == at(30), "one of the legs ended before"
    assert bench.sent()[f"twilio:{CALL}:started"].data.legs_dialled == 2


async def test_calls_and_texts_that_are_not_ours_to_follow_are_not_told(bench: Bench) -> None:
    bench.lists.calls = [
        replace(WHOLE, dialed="+12065550177"),  # no branch's
        replace(WHOLE, status="in-progress"),
    ]
    bench.lists.messages = [replace(RECEIPT, status="sent"), replace(STOP, sender="LARKSPUR")]
    await bench.passes.round()
    assert bench.sent() == {}
