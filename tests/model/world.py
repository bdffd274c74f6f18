"""One caller's world: topics, a sequencer in its fence, a timekeeper and a notifier, one effect at a time.

What decides is the real code: `decide`, the emitter, the row's codec, the fence's `Causes`, the notifier's gate and state machine.
What is modelled is what may go wrong around it: every write and every acknowledgement is a step of its own, a crash may come
between any two of them, topics are read in any order, and records come again.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from schemas.base import EventData
from schemas.envelope import Event
from schemas.leads import LeadContacted, LeadEvent, LeadOptedIn, LeadOptedOut, LeadReplied
from schemas.touches import TimerDue, TimerSet, TouchDue, TouchRef, TouchResult
from services.sequencer.adapters.fence.causes import Causes
from services.sequencer.domain import emit
from services.sequencer.domain.machine import decide
from services.sequencer.domain.row import EMPTY, Row
from services.sequencer.domain.row_json import dump, load
from tests.model.notifier import GateFixes, Leads, Notifier
from tests.unit.sequencer.build import CADENCES, KEY, T0, envelope, lead

SOURCES = ("leads", "touch-results", "sequencer-ticks")
HALTS = (LeadReplied, LeadContacted, LeadOptedOut, LeadOptedIn)
"""What voids older touches: the leads service raises `halt_seq`."""


@dataclass(frozen=True)
class Fixes:
    """What protects; a test takes one away and must then find the loss.

    Attributes:
        row_first: a row is acknowledged before anything it causes is sent.
        effects_again: after an assignment a row's effects are sent before the row is replaced.
        answers_again: a repeated touch is answered with its results again, a repeated timer is set again.
        gate: what protects a text's last moments.
    """

    row_first: bool = True
    effects_again: bool = True
    answers_again: bool = True
    gate: GateFixes = field(default_factory=GateFixes)


@dataclass
class Hand:
    """The event in the sequencer's hand: its writes that are still to be made, in groups that keep their order."""

    topic: str
    offset: int
    groups: list[list[Any]]


@dataclass
class World:
    """Everything that lasts (topics, rows, timers, deliveries), and the sequencer's life, which does not."""

    fixes: Fixes
    now: datetime = T0
    logs: dict[str, list[Event[EventData]]] = field(default_factory=lambda: defaultdict(list))
    committed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    row: str | None = None
    timers: dict[str, TimerSet] = field(default_factory=dict)
    fired: dict[str, TimerSet] = field(default_factory=dict)
    leads: Leads = field(default_factory=Leads)

    def __post_init__(self) -> None:
        self.causes = Causes()
        self.notifier = Notifier(
            leads=self.leads,
            fixes=self.fixes.gate,
            now=lambda: self.now,
            say=lambda event: self.logs[TouchResult.TOPIC].append(event),
        )
        self.start()

    # -- the sequencer --

    def start(self) -> None:
        """Begin a life: nothing in hand, everything read again that was not committed."""
        self.hand: Hand | None = None
        self.finished = {topic: self.committed.get(topic, 0) for topic in SOURCES}
        self.causes.assigned({TP(topic, 0): self.committed.get(topic) for topic in SOURCES})

    def unread(self) -> list[str]:
        """Return the topics whose next event could be taken in hand."""
        if self.hand is not None:
            return []
        return [topic for topic in SOURCES if self.finished.get(topic, 0) < len(self.logs[topic])]

    def take(self, topic: str) -> None:
        """Decide on the next event of a topic; nothing of it is written yet."""
        offset = self.finished.get(topic, 0)
        event = self.logs[topic][offset]
        message = SimpleNamespace(topic=topic, partition=0, offset=offset, key=KEY)
        kept = None if self.row is None else json.loads(self.row)
        before = EMPTY if kept is None else load(kept)
        repeats: Sequence[Event[EventData]] = ()
        if self.fixes.effects_again and self.causes.are_doubtful(kept, message):
            repeats = emit.again(before, KEY)
        decision = decide(before, event, CADENCES)
        sends = emit.events(decision.effects, decision.row, event)
        row: list[Any] = []
        if decision.row is not before:
            raw = dump(decision.row)
            row = [json.dumps(self.causes.mark(raw, message) if sends else raw)]
        groups = [list(repeats), row, list(sends)] if self.fixes.row_first else [list(repeats), [*sends, *row]]
        self.hand = Hand(topic, offset, [group for group in groups if group])

    def write(self, nth: int = 0) -> None:
        """Have the broker take one more write of the event in hand; once all are taken, the event is finished."""
        if self.hand is None:
            return
        if self.hand.groups:
            group = self.hand.groups[0]
            made = group.pop(nth % len(group))
            if isinstance(made, str):
                self.row = made
            else:
                self.logs[made.topic].append(made)
            if not group:
                self.hand.groups.pop(0)
        if not self.hand.groups:
            self.finished[self.hand.topic] = self.hand.offset + 1
            self.hand = None

    def commit(self) -> None:
        """Commit what is finished."""
        self.committed.update(self.finished)

    # -- the timekeeper --

    def keep_timers(self, *, commit: bool = True) -> None:
        """Read what timers were asked for, again next time where it is not committed."""
        topic = TimerSet.TOPIC
        for event in self.logs[topic][self.committed[topic] :]:
            if isinstance(event.data, TimerSet) and event.data.timer_id not in self.timers:
                if event.data.timer_id in self.fired and not self.fixes.answers_again:
                    continue
                self.timers[event.data.timer_id] = event.data
        if commit:
            self.committed[topic] = len(self.logs[topic])

    def fire(self, *, mark: bool = True) -> None:
        """Send the ticks of what is due; unmarked ones come again."""
        for timer in [timer for timer in self.timers.values() if timer.due_at <= self.now]:
            due = TimerDue(timer_id=timer.timer_id, due_at=timer.due_at, step=timer.step)
            self.logs[TimerDue.TOPIC].append(envelope(due, timer.timer_id, timer.due_at, "ringback/timekeeper"))
            if mark:
                self.fired[timer.timer_id] = self.timers.pop(timer.timer_id)

    # -- the leads service and the borrower --

    def leads_says(self, kind: type[LeadEvent]) -> None:
        """Have the leads service store something of its lead and tell it."""
        self.leads.seq += 1
        if kind in HALTS:
            self.leads.halt_seq = self.leads.seq
        if kind is LeadContacted:
            self.leads.contacted_seq = self.leads.seq
        self.logs[kind.TOPIC].append(lead(kind, self.leads.seq, self.now, self.leads.texting))

    def borrower_says(self, *, stop: bool) -> None:
        """Have STOP or START stand in Kafka; the leads service has not read it yet."""
        self.leads.said_stop = stop
        self.leads.replies[f"reply-{len(self.leads.replies)}"] = stop

    def leads_reads(self) -> bool:
        """Have the leads service read the next word of the borrower; return whether there was one."""
        unread = [id_ for id_ in self.leads.replies if id_ not in self.leads.seen]
        if not unread:
            return False
        stop = self.leads.replies[unread[0]]
        self.leads.texting = "stopped" if stop else "open"
        self.leads.seen |= {unread[0]}
        self.leads_says(LeadOptedOut if stop else LeadOptedIn)
        return True

    # -- the notifier --

    def accept(self) -> None:
        """Read the touches; a repeated one is answered with its results again."""
        for event in self.logs[TouchDue.TOPIC][self.committed[TouchDue.TOPIC] :]:
            if isinstance(event.data, TouchDue):
                self.notifier.accept(event, event.data, answers_again=self.fixes.answers_again)
        self.committed[TouchDue.TOPIC] = len(self.logs[TouchDue.TOPIC])

    # -- what there is to see --

    def texts(self) -> list[tuple[str, str]]:
        """Return sequence and step of every text that the provider has accepted."""
        return [(one.delivery.sequence_id, one.delivery.step) for one in self.notifier.taken]

    def kept(self) -> Row:
        """Return the row as a recovery would find it."""
        return EMPTY if self.row is None else load(json.loads(self.row))

    def told(self) -> set[tuple[str, str]]:
        """Return sequence and step of everything whose end is told by some result."""
        said = [event.data for event in self.logs[TouchResult.TOPIC]]
        return {
            (data.sequence_id, data.step)
            for data in said
            if isinstance(data, TouchRef) and getattr(data, "until", None) is None
        }

    def rest(self) -> bool:
        """Do everything that can be done now, without another crash; return whether anything was."""
        before = self._size()
        while topics := self.unread():
            self.take(topics[0])
            while self.hand is not None:
                self.write()
            self.commit()
        while self.hand is not None:
            self.write()
        self.commit()
        self.keep_timers()
        self.fire()
        while self.leads_reads():
            pass
        self.accept()
        self.notifier.settle()
        while self.notifier.hand is not None or self.notifier.waiting():
            self.notifier.work("accepted", 1)
        return self._size() != before

    def _size(self) -> tuple[int, ...]:
        return (sum(len(log) for log in self.logs.values()), len(self.timers), *self.finished.values())
