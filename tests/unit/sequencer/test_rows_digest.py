"""Two workers hold the same rows where their hashes are the same, and only there."""

from services.sequencer.adapters.fence.table import digest


def test_digest_is_the_same_in_any_order_and_differs_for_another_key_value_or_border_between_them() -> None:
    rows = [(b"a", b"1"), (b"b", b"2")]
    assert digest(rows) == digest(list(reversed(rows)))
    others = [
        [(b"a", b"1")],
        [(b"a", b"1"), (b"b", b"3")],
        [(b"a", b"1"), (b"c", b"2")],
        [(b"a1", b""), (b"b", b"2")],
        [],
    ]
    assert len({digest(rows), *(digest(other) for other in others)}) == len(others) + 1
