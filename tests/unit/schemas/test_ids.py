"""Ids are derived the same way for ever."""

from uuid import uuid5

from hypothesis import given
from hypothesis import strategies as st

from schemas import ids


@given(st.text())
def test_id_is_the_uuid5_of_its_parts(call: str) -> None:
    assert ids.lead_id(call) == str(uuid5(ids.RINGBACK, f"lead|{call}"))
