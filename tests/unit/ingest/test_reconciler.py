"""What webhooks missed is found in the provider's lists, and emitted under the ids that the webhooks would have made."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.ingest.domain.listed_voicemails import ListedTranscript
from services.ingest.errors import ListsAway
from services.ingest.reconcile.passes import CALL_AGE_S, MOST_TRANSCRIPTS, Passes
from services.runtime.errors import TransientError
from tests.unit.ingest.listing import (
    ALL_IDS,
    LEG_2,
    LEGS,
    OURS,
    RECEIPT,
    STOP,
    TEXT,
    VOICE_IDS,
    VOICEMAIL,
    WHOLE,
    Bench,
    at,
)
from tests.unit.ingest.rig import Rig
from tests.unit.ingest.test_calls_by_twilio import CALL, CALLER, LEG, NEW_YORK, RINGING, count


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


async def test_ends_of_a_listed_calls_legs_are_told_before_its_start_and_its_end(bench: Bench) -> None:
    """A webhook may have told the end alone: with the start the call is decided, and that a phone was picked up must be known."""
    await bench.passes.round()
    facts = [event.type for event in bench.producer.sent if event.topic == "call-events"]
    assert facts == ["call.leg_ended", "call.leg_ended", "call.started", "call.ended"]


async def test_after_a_fact_that_kafka_does_not_take_no_later_one_of_its_partition_is_told_and_all_others_are(
    bench: Bench,
) -> None:
    """The start must not pass the leg's end whose send failed; the texts are in other topics."""
    bench.producer.fails = [f"twilio:{LEG}:ended"]
    with pytest.raises(TransientError):
        await bench.passes.round()
    assert set(bench.sent()) == {f"twilio:{TEXT}:received", f"twilio:{OURS}:undelivered"}
    bench.producer.fails = []
    await bench.passes.round()
    facts = [event.type for event in bench.producer.sent if event.topic == "call-events"]
    assert facts == ["call.leg_ended", "call.leg_ended", "call.started", "call.ended"]


async def test_event_that_kafka_refuses_for_itself_keeps_no_other_of_the_pass_waiting(bench: Bench) -> None:
    bench.producer.refuses = [f"twilio:{TEXT}:received"]
    await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS - {f"twilio:{TEXT}:received"}


async def test_pass_that_a_stopping_service_leaves_is_not_finished(bench: Bench) -> None:
    await bench.passes.stop()
    with pytest.raises(TransientError, match="stops"):
        await bench.passes.round()
    bench.clock.move(60)
    await bench.restarted().round()
    assert bench.lists.asked[-1] == bench.clock.virtual - timedelta(days=1)
    assert set(bench.sent()) == ALL_IDS


@pytest.mark.parametrize("away", ["calls", "recordings", "transcripts"])
async def test_list_that_is_away_keeps_no_borrowers_text_waiting_and_is_told(bench: Bench, away: str) -> None:
    """A STOP whose webhook was lost is obeyed, whatever else the provider does not list."""
    bench.lists.recordings, bench.lists.away = [VOICEMAIL], {away}
    with pytest.raises(ListsAway, match=away):
        await bench.passes.round()
    texts = {f"twilio:{TEXT}:received", f"twilio:{OURS}:undelivered"}
    assert set(bench.sent()) >= (texts if away == "calls" else ALL_IDS)


async def test_calls_are_told_though_the_texts_are_not_listed(bench: Bench) -> None:
    bench.lists.away = {"messages"}
    with pytest.raises(ListsAway, match="messages"):
        await bench.passes.round()
    assert f"twilio:{CALL}:ended:completed" in bench.sent()


async def test_while_recordings_are_away_passes_finish_and_once_they_are_back_all_of_the_day_are_told(
    bench: Bench,
) -> None:
    bench.lists.recordings, bench.lists.away = [VOICEMAIL], {"recordings"}
    for _ in range(30):
        with pytest.raises(ListsAway):
            await bench.passes.round()
        bench.clock.move(60)
    assert bench.lists.asked[-1] == bench.clock.virtual - timedelta(minutes=12), "the passes do not grow"
    assert len(bench.lists.asked) == 30, "and no day is listed meanwhile but the first"
    bench.lists.away = set()
    await bench.passes.round()
    assert f"twilio:{VOICEMAIL.sid}:recorded" in bench.sent(), "though it is older than the pass"


async def test_words_of_a_days_voicemails_are_asked_for_some_at_a_time_and_all_within_minutes(bench: Bench) -> None:
    bench.lists.recordings = [replace(VOICEMAIL, sid=f"RE{n:032}") for n in range(150)]
    spent = []
    for _ in range(4):
        before = len(bench.lists.transcripts_asked)
        await bench.passes.round()
        spent.append(len(bench.lists.transcripts_asked) - before)
        bench.clock.move(60)
    assert len(set(bench.lists.transcripts_asked)) == 150
    assert max(spent) <= MOST_TRANSCRIPTS, "requests that a pass may spend on them"
    assert spent[-1] == 0, "those that have no words yet are asked again within the hour, and not at every pass"


async def test_words_that_could_not_be_asked_for_are_asked_for_again_though_their_voicemail_is_older_than_the_pass(
    bench: Bench,
) -> None:
    bench.lists.recordings, bench.lists.away = [VOICEMAIL], {"transcripts"}
    for _ in range(30):
        with pytest.raises(ListsAway):
            await bench.passes.round()
        bench.clock.move(60)
    assert len(bench.lists.asked) == 30, "no day is listed meanwhile but the first"
    bench.lists.away, bench.lists.transcripts = set(), {VOICEMAIL.sid: ListedTranscript("please call after five")}
    bench.lists.calls, bench.lists.recordings = [], []
    await bench.passes.round()
    assert set(bench.sent()) == ALL_IDS | VOICE_IDS


async def test_day_that_cannot_be_looked_back_on_is_tried_again_after_the_minutes_own_pass(bench: Bench) -> None:
    await bench.passes.round()
    bench.clock.move(3600)
    bench.clock.is_file, bench.known.away_before = False, bench.clock.virtual - timedelta(hours=20)
    bench.lists.messages = [replace(STOP, sid="SM" + "9" * 32, at=bench.clock.virtual - timedelta(minutes=2))]
    with pytest.raises(TransientError, match="too long ago"):
        await bench.passes.round()
    assert f"twilio:SM{'9' * 32}:received" in bench.sent()
    bench.known.away_before, bench.lists.asked = None, []
    bench.clock.move(60)
    await bench.passes.round()
    assert bench.lists.asked == [bench.clock.virtual - timedelta(minutes=11), bench.clock.virtual - timedelta(days=1)]


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
    bench.lists.away = {"calls"}
    with pytest.raises(ListsAway):
        await bench.passes.round()
    bench.lists.away = set()
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
    asked = len(bench.lists.transcripts_asked)
    await bench.passes.round()
    assert len(bench.lists.transcripts_asked) == asked, "what is in Kafka is not asked for"
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
