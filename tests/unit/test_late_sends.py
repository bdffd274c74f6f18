"""A send that timed out may still arrive: before its repetition or long after it, it changes nothing in any consumer.

For each topic and each of its consumers a scene is played as it should be, and again with one event, or several that were
sent together, delivered once more at each later point. What is stored and what was emitted must be the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

import pytest

from schemas.base import EventData
from schemas.calls import CallFact
from schemas.envelope import Event, Wire, encode
from schemas.inbound import ReceiptReceived, ReplyLookedAt, ReplyReceived
from schemas.leads import LeadContacted, LeadEvent, LeadOpened, LeadReplied
from schemas.topics import TOPICS
from schemas.touches import (
    TimerDue,
    TimerSet,
    TouchDelivered,
    TouchDue,
    TouchFailed,
    TouchResult,
    TouchSent,
    TouchSuppressed,
    TouchTaskRequested,
)
from services.leads.unread import Unread
from services.notifier.adapters.replies_tail import KafkaTail
from services.runtime.errors import PermanentError
from services.runtime.health import Health
from services.runtime.partitions import partition_of
from services.sequencer.shell import handler
from tests.infra.polling import eventually
from tests.unit.leads.events import CALLER, LENDER, InboundCall, at, text
from tests.unit.leads.events import event as leads_event
from tests.unit.leads.rig import NUMBER_KEY, leads_in
from tests.unit.leads.rig import Rig as LeadsRig
from tests.unit.leads.test_unread import Unreadable
from tests.unit.notifier.build import OPEN, receipt, touch
from tests.unit.notifier.build import event as touch_event
from tests.unit.notifier.rig import Rig as NotifierRig
from tests.unit.notifier.test_replies_tail import NAMES, Cluster, asked_again, make_fast
from tests.unit.sequencer.build import CADENCES, T0, envelope, lead, result, tick
from tests.unit.sequencer.test_timekeeper import Rig as TimekeeperRig

Given = Event[EventData]


class Consumer(Protocol):
    """One consumer group over fakes."""

    async def begin(self) -> Sequence[Given]:
        """Prepare; return the scene's events, in the order in which they are sent."""

    async def give(self, event: Given) -> None:
        """Have one event handled, and whatever follows from it done."""

    async def state(self) -> object:
        """Return all that is stored, and what was emitted, each event once."""


def once(records: Sequence[Wire]) -> list[Wire]:
    """Return the first copy of each record, in their order; whoever reads them takes each id once."""
    found: list[Wire] = []
    for record in records:
        if record not in found:
            found.append(record)
    ids = [dict(record.headers)["ce_id"] for record in found]
    assert len(set(ids)) == len(ids), "one id, two contents"
    return found


def documents(*collections: Mapping[str, Mapping[str, Any]]) -> list[dict[str, dict[str, Any]]]:
    """Return copies of documents without what counts writes and claims."""
    return [
        {
            key: {name: value for name, value in document.items() if name not in ("rev", "claim_by")}
            for key, document in one.items()
        }
        for one in collections
    ]


@dataclass
class Leads:
    """The leads service."""

    scene: Callable[["Leads"], Awaitable[Sequence[Given]]]
    rig: LeadsRig = field(default_factory=LeadsRig)

    async def begin(self) -> Sequence[Given]:
        """Have officers."""
        await self.rig.seed()
        return await self.scene(self)

    async def give(self, event: Given) -> None:
        """Handle it."""
        await self.rig.give(event)

    async def state(self) -> object:
        """Return every collection and the events of `leads`."""
        store = self.rig.store
        kept = documents(store.calls, store.leads, store.messages, store.task_log, store.suppressions, store.officers_)
        return kept, leads_in(self.rig.producer.records)


async def calls(_: Leads) -> Sequence[Given]:
    """A missed call with a voicemail, then one that a person takes."""
    missed, talked = InboundCall(), InboundCall(call_id="CA2", offset_s=600)
    return [
        *missed.missed(),
        missed.recorded(),
        missed.transcribed(),
        talked.started(),
        talked.leg_answered(),
        talked.leg_ended(status="completed"),
        talked.ended(120),
    ]


def looked_at(offset: int, how: Literal["replayed", "dropped"]) -> Given:
    """Somebody has looked at a text that had become a dead letter."""
    data = ReplyLookedAt(partition=3, offset=offset, how=how, looked_at=at(600))
    return leads_event(f"replies:3:{offset}:{how}", data, 600)


async def texts(leads: Leads) -> Sequence[Given]:
    """After a missed call and two dead letters: a question, STOP, START, one is replayed, the other dropped, and STOP."""
    await leads.rig.give(*InboundCall().missed())
    for offset in (41, 57):
        record = Unreadable(offset=offset)
        await Unread(leads.rig.store, leads.rig.clock, NUMBER_KEY).before_dead_letter(record, PermanentError("unread"))
    first, stop, start, call_me, last = (
        text(word, f"SM{n}", 120.0 + n)
        for n, word in enumerate(("What are your rates?", "STOP", "START", "Call me", "STOP"))
    )
    return [first, looked_at(41, "replayed"), stop, start, looked_at(57, "dropped"), call_me, last]


async def results(leads: Leads) -> Sequence[Given]:
    """After a missed call: sent and delivered, then a second text that the carrier refuses, and a third that is a task."""
    await leads.rig.give(*InboundCall().missed())

    def told(model: type[TouchResult], step: str, seconds: float, **more: Any) -> Given:
        values = {"touch_id": f"S1-{step}", "caller": CALLER, "sequence_id": "S1", "step": step, "attempt": 1, **more}
        data = model.model_validate({"lead_id": leads.rig.lead()["_id"], **values})
        return leads_event(f"S1-{step}:{model.TYPE}", data, seconds)

    def sent(step: str, seconds: float) -> Given:
        more = {"sid": f"SM-{step}", "body": "x", "template": "t", "template_version": 1, "variant": "v"}
        return told(TouchSent, step, seconds, sent_at=at(seconds), from_number="+12125550100", **more)

    return [
        sent("text-now", 30),
        told(TouchDelivered, "text-now", 33, sid="SM-text-now", delivered_at=at(33)),
        sent("text-10min", 630),
        told(TouchFailed, "text-10min", 640, error_code=30003),
        told(
            TouchTaskRequested,
            "text-10min",
            650,
            kind="text_not_sent",
            due_at=at(650),
            urgent=True,
            reason="undelivered",
        ),
        told(TouchFailed, "text-later", 700, error_code=21610),
    ]


@dataclass
class Sequencer:
    """One caller's row, and what it sends."""

    row: Any = None
    sent: list[Wire] = field(default_factory=list)
    handle: Any = field(default_factory=lambda: handler(CADENCES))

    async def begin(self) -> Sequence[Given]:
        """Nothing to prepare."""
        return SEQUENCE

    async def give(self, event: Given) -> None:
        """Decide, keep the row, send."""
        wire = encode(event)
        made = self.handle(wire.key, wire.value, wire.headers, self.row)
        self.row = made.row
        self.sent += made.sends

    async def state(self) -> object:
        """Return the row and what was sent."""
        return self.row, once(self.sent)


def minutes(count: float) -> Any:
    return T0 + timedelta(minutes=count)


SEQUENCE: Sequence[Given] = [
    lead(LeadOpened, 1),
    result(TouchSent, "text-now", minutes(0)),
    tick("text-10min", minutes(10)),
    result(TouchSuppressed, "text-10min", minutes(10), reason="reply_in_flight", until=minutes(10.5)),
    tick("text-10min", minutes(10.5), attempt=2),
    result(TouchSent, "text-10min", minutes(10.5), attempt=2),
    lead(LeadReplied, 2, minutes(20)),
    lead(LeadContacted, 3, minutes(30)),
]
"""One recovery, the events of all three topics of the sequencer as its caller's partition may have them."""


@dataclass
class Notifier:
    """The notifier: every touch it has room for is delivered at once."""

    scene: Callable[["Notifier"], Awaitable[Sequence[Given]]]
    rig: NotifierRig = field(default_factory=NotifierRig)

    async def begin(self) -> Sequence[Given]:
        """Prepare."""
        return await self.scene(self)

    async def give(self, event: Given) -> None:
        """Keep a touch and work on it, or take a receipt."""
        if isinstance(event.data, TouchDue):
            await self.rig.shell.on_touch(event, self.rig)
        else:
            await self.rig.shell.on_receipt(event)
        while self.rig.taken:
            await self.rig.shell.deliver(self.rig.taken.pop())

    async def state(self) -> object:
        """Return deliveries, what the provider was asked to send, and the results."""
        emitted = once([encode(one) for one in self.rig.producer.sent])
        return documents(self.rig.store.deliveries), self.rig.provider.texts, emitted


async def touches(_: Notifier) -> Sequence[Given]:
    """Two texts of one caller, and one that is too late."""
    late = OPEN - timedelta(minutes=30)
    return [
        touch_event(),
        touch_event(touch(step="text-10min", template="missed_call_second", first_of_sequence=False)),
        touch_event(touch(step="text-late", due_at=late)),
    ]


async def receipts(notifier: Notifier) -> Sequence[Given]:
    """A text on its way: sent, then delivered; another that never arrives."""
    first, second = touch(), touch(step="text-10min", template="missed_call_second", first_of_sequence=False)
    for due in (first, second):
        await notifier.give(touch_event(due))
    one, other = (notifier.rig.stored(due) for due in (first, second))
    assert one.sid is not None
    assert other.sid is not None
    return [
        receipt(one.sid, "sent", touch=one.touch_id),
        receipt(one.sid, "delivered", touch=one.touch_id),
        receipt(other.sid, "sent", touch=other.touch_id),
        receipt(other.sid, "undelivered", 30003, touch=other.touch_id),
    ]


@dataclass
class Timekeeper:
    """The timekeeper; each timer fires when it has been taken and is due."""

    rig: TimekeeperRig = field(default_factory=TimekeeperRig)

    async def begin(self) -> Sequence[Given]:
        """Two timers of one step, one after the other, and one for the morning."""
        due = {"t1": T0, "t2": minutes(1), "t3": minutes(900)}
        return [envelope(TimerSet(timer_id=name, due_at=at_, step="text-10min"), name, T0) for name, at_ in due.items()]

    async def give(self, event: Given) -> None:
        """Take it, and fire what is due."""
        await self.rig.keeper.take(event)
        await self.rig.keeper.fire_due()

    async def state(self) -> object:
        """Return what is to come, and the ticks: one that comes again changes nothing in the sequencer."""
        return await self.rig.store.next_due(), once([encode(one) for one in self.rig.producer.sent])


@dataclass
class TailOfReplies:
    """The notifier's tail, which reads what is there, and then forgets what the leads service finishes."""

    cluster: Cluster = field(default_factory=Cluster)

    async def begin(self) -> Sequence[Given]:
        """Two texts, and a dead letter that is looked at."""
        return [text("hello", "SM1"), looked_at(41, "dropped"), text("STOP", "SM2")]

    async def give(self, event: Given) -> None:
        """Have it in the topic."""
        partition = partition_of(event.key, len(NAMES))
        self.cluster.records[NAMES[partition]].append((event.key.decode(), event.id))

    async def state(self) -> object:
        """Return what it holds against the caller before the leads service has finished it, and afterwards."""
        key, cluster = f"{LENDER}:{CALLER}", self.cluster
        tail = KafkaTail(
            consumer=cluster,
            offsets=cluster,
            group="ringback-leads",
            partitions=len(NAMES),
            health=Health(not_ready={}),
        )
        await tail.start()
        reading = asyncio.create_task(tail.run())
        await eventually(lambda: tail.of(key).complete)
        held = tail.of(key).replies
        cluster.applied = {name: len(records) for name, records in cluster.records.items()}
        await asked_again(cluster, 3)
        forgotten = tail.of(key).replies
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert held
        return held, forgotten


CONSUMERS: Mapping[tuple[str, str], Callable[[], Consumer]] = {
    (CallFact.TOPIC, "leads"): lambda: Leads(calls),
    (ReplyReceived.TOPIC, "leads"): lambda: Leads(texts),
    (ReplyReceived.TOPIC, "tail of the notifier"): TailOfReplies,
    (TouchResult.TOPIC, "leads"): lambda: Leads(results),
    (LeadEvent.TOPIC, "sequencer"): Sequencer,
    (TouchResult.TOPIC, "sequencer"): Sequencer,
    (TimerDue.TOPIC, "sequencer"): Sequencer,
    (TouchDue.TOPIC, "notifier"): lambda: Notifier(touches),
    (ReceiptReceived.TOPIC, "notifier-receipts"): lambda: Notifier(receipts),
    (TimerSet.TOPIC, "timekeeper"): Timekeeper,
}
"""Every consumer group of every topic, and the notifier's tail of `replies`, which is in none."""


@pytest.fixture(autouse=True)
def _fast_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    make_fast(monkeypatch)


def test_every_topic_but_dead_letters_and_the_changelog_has_a_consumer_here() -> None:
    sources = {topic.name for topic in TOPICS if not topic.name.endswith((".dlq", "-changelog"))}
    assert {topic for topic, _ in CONSUMERS} == sources


async def played(make: Callable[[], Consumer], events: Sequence[Given]) -> object:
    consumer = make()
    await consumer.begin()
    for one in events:
        await consumer.give(one)
    return await consumer.state()


@pytest.mark.parametrize(("topic", "group"), CONSUMERS)
async def test_event_whose_first_send_timed_out_arrives_at_any_later_moment_and_changes_nothing(
    topic: str, group: str
) -> None:
    make = CONSUMERS[topic, group]
    scene = await make().begin()
    wanted = await played(make, scene)
    ours = [n for n, one in enumerate(scene) if one.topic == topic]
    assert len(ours) > 1
    for n in ours:
        for later in range(n + 1, len(scene) + 1):
            found = await played(make, [*scene[:later], scene[n], *scene[later:]])
            assert found == wanted, f"event {n} ({scene[n].type}) again before event {later}"


@pytest.mark.parametrize(("topic", "group"), CONSUMERS)
async def test_events_that_were_sent_together_and_are_repeated_together_change_nothing(topic: str, group: str) -> None:
    make = CONSUMERS[topic, group]
    scene = await make().begin()
    wanted = await played(make, scene)
    ours = [n for n, one in enumerate(scene) if one.topic == topic]
    for first, n in enumerate(ours):
        for last in ours[first + 1 :]:
            again = [scene[one] for one in ours if n <= one <= last]
            found = await played(make, [*scene[: last + 1], *again, *scene[last + 1 :]])
            assert found == wanted, f"events {n} to {last} again"
