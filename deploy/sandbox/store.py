"""What the sandbox remembers, bounded: messages, calls, opt-outs and the log of requests."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any

from deploy.sandbox.model import Call, Message, Recording

STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})
HELP_WORDS = frozenset({"HELP", "INFO"})


def keyword(body: str) -> str | None:
    """Return STOP, START or HELP when a body is exactly one of Twilio's words; "STOP PLEASE" is none."""
    word = body.strip().upper()
    for name, words in (("STOP", STOP_WORDS), ("START", START_WORDS), ("HELP", HELP_WORDS)):
        if word in words:
            return name
    return None


class Store:
    """Messages by sid and by party, newest last; the oldest go first when it is full."""

    def __init__(self, keep_messages: int, keep_requests: int) -> None:
        self._keep = keep_messages
        self.messages: OrderedDict[str, Message] = OrderedDict()
        # A dict by sid keeps the order of insertion, and any entry is removed at once, however many texts a party has.
        self._by_party: dict[str, dict[str, Message]] = {}
        self.calls: OrderedDict[str, Call] = OrderedDict()
        self.recordings: OrderedDict[str, Recording] = OrderedDict()
        self.opted_out: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.requests: deque[dict[str, Any]] = deque(maxlen=keep_requests)
        self.totals = {"outbound": 0, "inbound": 0, "forgotten": 0}
        self._n = 0
        self.changed: Callable[[Message], None] | None = None
        """Called after every change of a message; the page listens."""

    def next_n(self) -> int:
        """Return the next message's number."""
        self._n += 1
        return self._n

    def add(self, message: Message) -> None:
        """Keep a message, and forget the oldest when there are too many."""
        self.messages[message.sid] = message
        for party in {message.to, message.from_}:
            if party:
                self._by_party.setdefault(party, {})[message.sid] = message
        self.totals["inbound" if message.direction == "inbound" else "outbound"] += 1
        if len(self.messages) > self._keep:
            self._forget(self.messages.popitem(last=False)[1])
        self.touch(message)

    def assign_sender(self, message: Message, sender: str) -> None:
        """Give a Messaging Service's text the number that it is sent from."""
        message.from_ = sender
        if message.sid in self.messages:
            self._by_party.setdefault(sender, {})[message.sid] = message

    def touch(self, message: Message) -> None:
        """Tell the listener, if there is one, that a message changed."""
        if self.changed is not None:
            self.changed(message)

    def _forget(self, message: Message) -> None:
        self.totals["forgotten"] += 1
        for party in {message.to, message.from_}:
            held = self._by_party.get(party or "")
            if held is not None:
                held.pop(message.sid, None)
                if not held:
                    del self._by_party[party or ""]

    def newest_first(self, party: str | None = None) -> Iterator[Message]:
        """Return messages newest first, of one party when it is given."""
        held = self.messages if party is None else self._by_party.get(party, {})
        return iter(reversed(held.values()))

    def add_call(self, call: Call) -> None:
        """Keep a call; the same sid again replaces it."""
        self.calls[call.sid] = call
        if len(self.calls) > self._keep:
            self.calls.popitem(last=False)

    def add_recording(self, recording: Recording) -> None:
        """Keep a recording; the same sid again replaces it."""
        self.recordings[recording.sid] = recording
        if len(self.recordings) > self._keep:
            self.recordings.popitem(last=False)

    def opt_out(self, phone: str, sender: str) -> None:
        """Block texts from a sender to a phone."""
        self.opted_out[phone, sender] = None
        if len(self.opted_out) > self._keep:
            self.opted_out.popitem(last=False)

    def opt_in(self, phone: str, sender: str) -> bool:
        """Lift the block; return whether there was one."""
        if (phone, sender) not in self.opted_out:
            return False
        del self.opted_out[phone, sender]
        return True

    def clear(self) -> None:
        """Forget everything but the numbering."""
        self.messages.clear()
        self._by_party.clear()
        self.calls.clear()
        self.recordings.clear()
        self.opted_out.clear()
        self.requests.clear()
        self.totals = dict.fromkeys(self.totals, 0)
