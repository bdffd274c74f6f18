"""Published schemas only gain optional properties and values in open lists; every golden payload still decodes."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import published
from schemas.base import OPEN_LIST, LocalTime
from schemas.envelope import EVENTS, Event, UndecodableEvent, decode, encode
from schemas.topics import BY_NAME, PARTITIONS, dead_letter_topic
from schemas.touches import TouchSuppressed

AT = datetime(2026, 6, 1, 14, 3, 22, tzinfo=UTC)
TYPES = sorted(EVENTS)


def test_todays_models_are_compatible_with_what_is_published() -> None:
    assert published.drift() == []


@pytest.mark.parametrize("event_type", TYPES)
def test_golden_payload_decodes_validates_and_survives_a_round_trip(event_type: str) -> None:
    golden = published.path_of(event_type, "golden").read_bytes()
    jsonschema.Draft202012Validator(published.read(event_type)).validate(published.read(event_type, "golden"))
    data = EVENTS[event_type].model_validate_json(golden)
    event = Event(
        id="id",
        data=data,
        source="test",
        time=AT,
        key=b"lender:+12125550123",
        lender_id="lender",
        branch_id="nyc",
        received_at=AT,
        traceparent="00-abc-def-01",
    )
    wire = encode(event)
    assert decode(wire.key, wire.value, wire.headers) == event
    assert wire.topic in BY_NAME


@pytest.mark.parametrize("event_type", TYPES)
def test_reader_ignores_a_field_it_does_not_know(event_type: str) -> None:
    payload = {**published.read(event_type, "golden"), "added_by_a_newer_writer": 1}
    EVENTS[event_type].model_validate(payload)


Change = Callable[[published.Schema], object]


def reason_of(schema: published.Schema) -> published.Schema:
    """Return the open list of `touch.suppressed`."""
    found: published.Schema = schema["properties"]["reason"]
    return found


def closed(field: published.Schema) -> None:
    """Make an open list the closed one that it was before."""
    field["enum"] = field.pop(OPEN_LIST)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["properties"].pop("call_id"),
        lambda s: s["required"].append("caller"),
        lambda s: s["required"].remove("call_id"),
        lambda s: s["properties"]["status"]["enum"].append("lost"),
        lambda s: s["properties"]["status"]["enum"].remove("busy"),
        lambda s: s["properties"]["status"].pop("enum"),
        lambda s: s["properties"]["duration_s"]["anyOf"][0].update(minimum=1),
    ],
)
def test_change_that_some_reader_or_writer_does_not_survive_is_told(change: Change) -> None:
    old = published.read("call.ended")
    new = copy.deepcopy(old)
    change(new)
    assert published.incompatibilities(old, new) != []


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["properties"].update(new={"type": "string"}),
        lambda s: s["properties"]["call_id"].update(description="other words"),
    ],
)
def test_added_optional_property_and_other_words_pass(change: Change) -> None:
    old = published.read("call.ended")
    new = copy.deepcopy(old)
    change(new)
    assert published.incompatibilities(old, new) == []


def test_value_added_to_an_open_list_passes() -> None:
    old = published.read("touch.suppressed")
    new = copy.deepcopy(old)
    reason_of(new)[OPEN_LIST].append("a_new_reason")
    assert published.incompatibilities(old, new) == []


def test_closed_list_of_reasons_that_becomes_an_open_one_passes_with_an_added_value_or_without() -> None:
    new = published.read("touch.suppressed")
    old = copy.deepcopy(new)
    closed(reason_of(old))
    assert published.incompatibilities(old, new) == []
    reason_of(new)[OPEN_LIST].append("a_new_reason")
    assert published.incompatibilities(old, new) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda s: closed(reason_of(s)),
        lambda s: reason_of(s).pop(OPEN_LIST),
        lambda s: reason_of(s)[OPEN_LIST].remove("opted_out"),
        lambda s: reason_of(s).update(type="integer"),
        lambda s: reason_of(s).update(maxLength=5),
        lambda s: reason_of(s).update(enum=["opted_out"]),
    ],
)
def test_any_other_change_of_an_open_list_is_told(change: Change) -> None:
    old = published.read("touch.suppressed")
    new = copy.deepcopy(old)
    change(new)
    assert published.incompatibilities(old, new) != []


@pytest.mark.parametrize(
    "change",
    [
        lambda s: reason_of(s)[OPEN_LIST].remove("opted_out"),
        lambda s: reason_of(s).update(maxLength=5),
        lambda s: reason_of(s).pop(OPEN_LIST),
    ],
)
def test_closed_list_that_opens_and_changes_otherwise_too_is_told(change: Change) -> None:
    new = published.read("touch.suppressed")
    old = copy.deepcopy(new)
    closed(reason_of(old))
    change(new)
    assert published.incompatibilities(old, new) != []


def test_closed_list_that_is_neither_of_reasons_nor_of_states_stays_closed() -> None:
    old = published.read("touch.due")
    new = copy.deepcopy(old)
    lane = new["properties"]["lane"]
    lane[OPEN_LIST] = lane.pop("enum")
    assert published.incompatibilities(old, new) != []


def test_reason_that_a_newer_writer_added_is_read_as_it_was_written() -> None:
    payload = {**published.read("touch.suppressed", "golden"), "reason": "a_new_reason"}
    jsonschema.Draft202012Validator(published.read("touch.suppressed")).validate(payload)
    found = EVENTS["touch.suppressed"].model_validate(payload)
    assert isinstance(found, TouchSuppressed)
    assert found.reason == "a_new_reason"


@given(
    st.binary(max_size=200),
    st.lists(
        st.tuples(st.sampled_from(["ce_type", "ce_time", "ce_id", "ce_source", "ce_lenderid"]), st.binary(max_size=20))
    ),
)
def test_hostile_bytes_become_a_clear_error_and_nothing_else(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(UndecodableEvent):
        decode(b"key", value, headers)


def test_undecodable_event_names_the_field_and_the_reason() -> None:
    wire = encode(
        Event(
            id="id",
            data=EVENTS["call.ended"].model_validate(published.read("call.ended", "golden")),
            source="test",
            time=AT,
            key=b"k",
            lender_id="l",
        )
    )
    with pytest.raises(UndecodableEvent, match=r"call\.ended: status: is not"):
        decode(wire.key, wire.value.replace(b'"completed"', b'"gone"'), wire.headers)


def test_every_source_topic_has_the_same_partitions_and_a_dead_letter_topic() -> None:
    sources = [t for name, t in BY_NAME.items() if not name.endswith(("dlq", "changelog"))]
    assert {topic.partitions for topic in sources} == {PARTITIONS}
    assert all(dead_letter_topic(topic.name) in BY_NAME for topic in sources)


@pytest.mark.parametrize(("on", "utc_hour"), [("2026-03-07", 13), ("2026-03-08", 12), ("2026-11-02", 13)])
def test_local_time_is_resolved_by_the_zones_own_rules(on: str, utc_hour: int) -> None:
    local = LocalTime.model_validate({"on": on, "at": "08:30", "zone": "America/New_York"})
    assert (local.utc().hour, local.utc().minute) == (utc_hour, 30)
