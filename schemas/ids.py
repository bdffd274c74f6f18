"""Every id is derived, never random: a retry and a replay make the same one (design 2, ADR 2)."""

from datetime import date
from hashlib import sha1
from uuid import UUID

RINGBACK = UUID("6f1b8b5e-3c0f-5d0e-9a57-1d6f3f0c2a11")
"""The namespace of all our ids; after a change of it, every past event would count as new."""


def _id(*parts: str) -> str:
    # uuid5, written out: the sequencer makes several for each event, and uuid.uuid5 takes three times as long.
    found = sha1(RINGBACK.bytes + "|".join(parts).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(found[16], 16) & 3]
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{variant}{found[17:20]}-{found[20:32]}"


def partition_key(lender_id: str, caller: str | None, call_id: str = "") -> bytes:
    """Return the key that keeps one caller's events in one partition; the call's own key where no caller is known."""
    return f"{lender_id}:{caller}".encode() if caller else f"{lender_id}:call:{call_id}".encode()


def whose(key: bytes | None) -> tuple[str, str] | None:
    """Return lender and caller of a partition key; None where it names no caller."""
    lender_id, _, caller = (key or b"").decode(errors="replace").rpartition(":")
    return (lender_id, caller) if lender_id and caller.startswith("+") else None


def call_key(lender_id: str, provider: str, call_id: str) -> str:
    """Return the `_id` of a call's document."""
    return f"{lender_id}:{provider}:{call_id}"


def lead_id(opened_by: str) -> str:
    """Return the lead's id from the `call_key` of the call that opened it, or from the id of the text's event."""
    return _id("lead", opened_by)


def sequence_id(lead: str, cadence: str, local_day: date) -> str:
    """Return the id of a lead's sequence of a cadence on a local day; there is only one."""
    return _id("sequence", lead, f"{cadence}:{local_day.isoformat()}")


def touch_id(sequence: str, step: str, attempt: int) -> str:
    """Return the id of one attempt at a step."""
    return _id("touch", sequence, f"{step}:{attempt}")


def timer_id(sequence: str, step: str, attempt: int) -> str:
    """Return the id of the timer that makes an attempt at a step due."""
    return _id("timer", sequence, f"{step}:{attempt}")
