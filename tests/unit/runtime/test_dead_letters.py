"""Dead letters: the record as it came, and why it could not be handled."""

from services.runtime.clock import real_now
from services.runtime.dead_letters import dead_letter
from tests.unit.runtime.build import Record


def test_reason_of_any_length_and_any_characters_fits_its_header() -> None:
    letter = dead_letter(Record(1), ValueError("\ud800" * 5000), attempts=1, first_failed=real_now())
    assert len(dict(letter.headers)["dlq_reason"]) <= 1000


def test_record_without_key_value_or_headers_has_a_dead_letter_too() -> None:
    letter = dead_letter(Record(1, None, None), ValueError("no key"), attempts=1, first_failed=real_now())
    assert (letter.key, letter.value) == (b"", b"")
