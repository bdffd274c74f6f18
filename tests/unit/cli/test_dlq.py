"""What `ringback dlq` makes of dead-letter topics: what is open, what stands, and what is sent again."""

from dataclasses import replace

import pytest

from schemas.envelope import STOOD, Wire, decode, encode
from schemas.inbound import ReplyLookedAt
from services.cli.dlq import line_of, open_in, open_letter, original_of, wires_of_drop, wires_of_replay, wires_to_drop
from services.cli.exits import Cannot
from services.runtime.clock import real_now
from services.runtime.dead_letter_topics import DROPPED, PAUSED, REPLAYED, RESUMED, Letter, Note
from services.runtime.dead_letters import dead_letter
from tests.unit.leads.events import text
from tests.unit.runtime.build import TOPIC, Record, record, stored

CALLER = "+12125550100"


def letter(offset: int, *, with_value: bool = True) -> Wire:
    return dead_letter(
        record(offset),
        ValueError(f"no such wording, {offset}"),
        attempts=1,
        first_failed=real_now(),
        with_value=with_value,
    )


def test_dead_letter_is_open_until_it_is_replayed_or_dropped() -> None:
    dlq = f"{TOPIC}.dlq"
    found = open_in(
        stored(
            [
                letter(1),
                letter(2),
                letter(3),
                Note(kind=REPLAYED, topic=dlq, partition=0, offset=0).wire(),
                Note(kind=DROPPED, topic=dlq, partition=0, offset=1).wire(),
            ]
        )
    )
    assert list(found.letters) == [(dlq, 0, 2)]
    assert found.done == {(dlq, 0, 0): "replayed", (dlq, 0, 1): "dropped"}


def test_partition_stands_for_its_group_until_it_is_resumed() -> None:
    first = Note(kind=PAUSED, topic=TOPIC, partition=3, offset=7, why="21 of 21 failed", group="leads")
    other = Note(kind=PAUSED, topic=TOPIC, partition=4, offset=9, why="21 of 21 failed", group="leads")
    assert open_in(
        stored([first.wire(), other.wire(), Note(kind=RESUMED, topic=TOPIC, partition=3, offset=7).wire()])
    ).standing == [other]
    assert open_in(stored([Note(kind=RESUMED, topic=TOPIC, partition=3, offset=7).wire(), first.wire()])).standing == [
        first
    ]


def test_replayed_record_is_the_original_to_the_byte() -> None:
    original = record(1)
    (kept,) = stored([dead_letter(original, ValueError("no"), attempts=1, first_failed=real_now())])
    assert original_of(kept) == Wire(
        topic=TOPIC, key=original.key or b"", value=original.value or b"", headers=list(original.headers)
    )


def test_dead_letter_without_its_value_cannot_be_replayed_and_says_where_the_value_stands() -> None:
    (kept,) = stored([letter(5, with_value=False)])
    with pytest.raises(Cannot, match="no value") as found:
        original_of(kept)
    assert f"{TOPIC}, partition 0, offset 5" in found.value.remedy


def _unread_text(key: bytes) -> Letter:
    """Return the dead letter of a text that could not be read."""
    headers = [("ce_id", b"twilio:SM1:received")]
    broken = Record(41, key, b"\xff", headers, topic="replies", partition=5)
    (kept,) = stored([dead_letter(broken, ValueError("no"), attempts=1, first_failed=real_now())])
    return kept


KEY = f"larkspur:{CALLER}".encode()


def test_replayed_text_is_followed_by_what_lifts_its_senders_suppression_and_the_note_comes_last() -> None:
    """Both have the same key, so that the text is applied before its sender gets texts again."""
    replayed, looked_at, note = wires_of_replay(_unread_text(KEY))
    assert (replayed.topic, replayed.key, replayed.value) == ("replies", KEY, b"\xff")
    assert (looked_at.topic, looked_at.key, note.topic) == ("replies", KEY, "replies.dlq")
    event = decode(looked_at.key, looked_at.value, looked_at.headers)
    assert isinstance(event.data, ReplyLookedAt)
    assert (event.lender_id, event.id) == ("larkspur", "replies:5:41:replayed")
    assert (event.data.partition, event.data.offset, event.data.how) == (5, 41, "replayed")


def test_replayed_text_says_where_it_stood_first_also_when_it_is_replayed_again() -> None:
    """A START lifts no text from behind the place where it was written, however often it fails."""
    first, *_ = wires_of_replay(_unread_text(KEY))
    assert (STOOD, b"5/41") in first.headers
    failed = Record(57, KEY, b"\xff", first.headers, topic="replies", partition=5)
    (kept,) = stored([dead_letter(failed, ValueError("no"), attempts=1, first_failed=real_now())])
    again, *_ = wires_of_replay(kept)
    assert [value for name, value in again.headers if name == STOOD] == [b"5/41"]


def test_replayed_text_is_decoded_with_the_place_where_it_stood() -> None:
    sent = replace(text("START"), first_stood=(5, 41))
    wire = encode(sent)
    assert decode(wire.key, wire.value, wire.headers) == sent


def test_dropped_text_lifts_its_senders_suppression_too() -> None:
    looked_at, note = wires_of_drop(_unread_text(KEY))
    assert decode(looked_at.key, looked_at.value, looked_at.headers).id == "replies:5:41:dropped"
    assert note.topic == "replies.dlq"


@pytest.mark.parametrize("key", [b"", b"larkspur:call:CA1", b"\xff"], ids=["none", "a call's", "no text"])
def test_text_whose_key_names_no_caller_has_suppressed_nobody(key: bytes) -> None:
    assert [wire.topic for wire in wires_of_drop(_unread_text(key))] == ["replies.dlq"]


def test_dead_letter_of_another_topic_lifts_nothing() -> None:
    (kept,) = stored(
        [dead_letter(replace(record(1), topic="leads"), ValueError("no"), attempts=1, first_failed=real_now())]
    )
    assert [wire.topic for wire in wires_of_replay(kept)] == ["leads", "leads.dlq"]


def test_line_names_place_source_and_reason_and_not_the_borrower() -> None:
    (kept,) = stored([letter(5)])
    line = line_of(kept)
    assert line.startswith(f"{TOPIC}.dlq/0/0 ")
    assert f"from {TOPIC}[0] at 5: ValueError: no such wording, 5" in line
    assert CALLER not in line


@pytest.mark.parametrize("kind", [REPLAYED, DROPPED])
def test_text_that_is_dealt_with_can_be_dropped_again_which_only_lifts_its_senders_suppression(kind: str) -> None:
    """An older leads service takes what lifts it for an unknown event: the suppression stood for ever."""
    broken = Record(41, KEY, b"\xff", [("ce_id", b"twilio:SM1:received")], topic="replies", partition=5)
    unread = dead_letter(broken, ValueError("no"), attempts=1, first_failed=real_now())
    there = open_in(stored([unread, Note(kind=kind, topic="replies.dlq", partition=0, offset=0).wire()]))
    (looked_at,) = wires_to_drop(there, "replies.dlq/0/0")
    assert decode(looked_at.key, looked_at.value, looked_at.headers).id == "replies:5:41:dropped"
    with pytest.raises(Cannot, match=f"was {kind.removeprefix('dlq.')} already"):
        open_letter(there, "replies.dlq/0/0")


def test_dead_letter_of_another_topic_that_is_dealt_with_cannot_be_dropped_again() -> None:
    letter = dead_letter(replace(record(1), topic="leads"), ValueError("no"), attempts=1, first_failed=real_now())
    there = open_in(stored([letter, Note(kind=DROPPED, topic="leads.dlq", partition=0, offset=0).wire()]))
    with pytest.raises(Cannot, match="was dropped already"):
        wires_to_drop(there, "leads.dlq/0/0")
