"""The calls written last, so that the next fact of the same call needs no read: a call has four facts or more in a minute.

Never a source of truth: whatever is decided on a remembered call is written on the condition that its `rev` is still the
stored one. What only ever grows (its facts) may be believed without a write: a fact it holds is a duplicate. Leads are
not remembered at all; a decision to ignore must not rest on an older copy.
"""

from collections import OrderedDict

from services.leads.domain.model import Call


class CallCache:
    """A bounded memory; the call that was used longest ago leaves first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Call] = OrderedDict()

    def get(self, key: str) -> Call | None:
        """Return what was remembered."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def remember(self, call: Call) -> None:
        """Keep a call as it was acknowledged."""
        self._kept[call.key] = call
        self._kept.move_to_end(call.key)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drop a call that is or may be stale."""
        self._kept.pop(key, None)
