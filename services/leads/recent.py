"""The documents written last, so that the next fact of the same call or caller needs no read.

Never a source of truth: whatever is decided on a remembered value is written on the condition that its `rev` is still
the stored one. What only ever grows (facts, `seen`) may be believed without a write.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """A bounded memory; the value that was used longest ago leaves first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        """Return what was remembered."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def remember(self, key: str, value: V) -> None:
        """Keep a value as it was acknowledged."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drop a value that is or may be stale."""
        self._kept.pop(key, None)
