"""The passes of the reconciler."""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from schemas.base import EventData
from schemas.calls import CallFact
from schemas.envelope import Event
from services.ingest import metrics
from services.ingest.adapters.known import Known, KnownEvents
from services.ingest.adapters.twilio_lists import Lists
from services.ingest.domain.lender import Lender
from services.ingest.domain.listed import ListedCall, facts_of_call, facts_of_message
from services.ingest.domain.listed_voicemails import (
    COMPLETED,
    ListedRecording,
    fact_of_recording,
    fact_of_transcript,
    transcribed_id,
)
from services.ingest.domain.reading import Draft
from services.ingest.shell import event_of
from services.runtime import logs
from services.runtime.clock import Clock
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.partitions import partition_of
from services.runtime.producer import Producer
from services.runtime.rounds import Rounds

log = logs.get(__name__)

OVERLAP: Final = timedelta(minutes=10)
LOOK_BACK: Final = timedelta(days=1)
"""How far back a process looks at its start and every LOOK_BACK_EVERY, after the pass of that minute: carriers report a text's
end hours after it was sent, and a provider may list something late."""
LOOK_BACK_EVERY: Final = timedelta(hours=1)
CALL_AGE_S: Final = 120
"""By then webhooks have been tried again and again, and the lists have all legs; a first text lives five minutes. A call in which
a phone was picked up is a task of the leads service's, and no text, unless a key press proves an answer."""
MESSAGE_AGE_S: Final = 60
MARGIN: Final = timedelta(minutes=5)
SEND_LIMIT_S: Final = 10.0
MOST_TRANSCRIPTS: Final = 60
"""Voicemails whose words one pass asks for: each is a request of its own."""
BEAT_S: Final = 5.0

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Found:
    """What a pass found in the lists: drafts, when the oldest call began, and the calls that are told."""

    oldest: datetime
    drafts: list[Draft[EventData]] = field(default_factory=list)
    calls: dict[str, ListedCall] = field(default_factory=dict)


class Passes(Rounds):
    """One pass a minute, and once an hour one over a day.

    A pass tells texts and calls first. They do not wait for voicemails, whose lists may be away or long: these have no part in
    whether a pass is finished, and once they can be listed again the day is looked back on.

    Args:
        lists: the provider's.
        known: what is in Kafka.
        producer: where what is missing goes.
        lender: whose.
        clock: virtual time is the provider's.
        health: told of failed passes.
        folder: where the time of the last finished pass is kept, beside the spools; None: nowhere.
    """

    name = "reconciler"
    period_s = 60.0

    def __init__(
        self,
        *,
        lists: Lists,
        known: KnownEvents,
        producer: Producer,
        lender: Lender,
        clock: Clock,
        health: Health,
        folder: Path | None,
    ) -> None:
        super().__init__(health)
        self._lists, self._known, self._producer = lists, known, producer
        self._lender, self._clock, self._folder = lender, clock, folder
        self._finished: datetime | None = None
        self._looked_back: datetime | None = None
        self._owes_voicemails = False
        self._wordless: dict[str, tuple[ListedRecording, ListedCall]] = {}

    async def round(self) -> None:
        """Make the minute's pass, finished once its texts and calls are in Kafka; then look back on the day where that is due.

        Raises:
            TransientError: a part of it must be done again.
        """
        self._wait_for_spools()
        now = self._clock.now()
        last = self._finished or self._read_finished()
        since = last - OVERLAP if last else now - LOOK_BACK
        away = await self._pass(since, now)
        self._finished = now
        self._write_finished(now)
        if since <= now - LOOK_BACK:
            self._looked_back = now
        elif self._looks_back(now) or (self._owes_voicemails and away is None):
            away = await self._pass(now - LOOK_BACK, now)
            self._looked_back = now
        self._owes_voicemails = away is not None
        if away is not None:
            raise away
        metrics.RECONCILER_PASSES.inc()

    def _looks_back(self, now: datetime) -> bool:
        return self._looked_back is None or now - self._looked_back >= LOOK_BACK_EVERY

    async def _pass(self, since: datetime, now: datetime) -> TransientError | None:
        """Tell what is listed since a time and is not in Kafka; return why that does not hold for voicemails.

        Raises:
            TransientError: it does not hold for all texts and calls.
        """
        found = _Found(oldest=since)
        away: TransientError | None = None
        for listed in (self._texts, self._calls):
            try:
                await self._beating(listed(found, since, now))
            except TransientError as error:
                away = away or error
        real = None if self._clock.is_file else min(since, found.oldest) - MARGIN
        known = await self._beating(self._known.since(real))
        await self._tell(found.drafts, known)
        if away is not None:
            raise away
        try:
            await self._beating(self._voicemails(found, known, since, now))
        except TransientError as error:
            return error
        return None

    async def _texts(self, found: _Found, since: datetime, now: datetime) -> None:
        for message in await self._lists.messages_sent(since):
            if (now - message.at).total_seconds() >= MESSAGE_AGE_S:
                found.drafts += facts_of_message(message, self._lender, now)

    async def _calls(self, found: _Found, since: datetime, now: datetime) -> None:
        calls: list[ListedCall] = []
        legs: dict[str, list[ListedCall]] = defaultdict(list)
        for call in await self._lists.calls_ended(since):
            if call.parent_sid is None:
                calls.append(call)
            else:
                legs[call.parent_sid].append(call)
        found.oldest = min((call.started_at for call in calls), default=since)
        for call in calls:
            if (now - call.ended_at).total_seconds() < CALL_AGE_S:
                continue
            # The ends of its legs may lie before the window.
            if call.started_at < since:
                legs[call.sid] = await self._lists.legs_of(call.sid)
            if facts := facts_of_call(call, legs[call.sid], self._lender, now):
                found.drafts += facts
                found.calls[call.sid] = call

    async def _voicemails(self, found: _Found, known: Known, since: datetime, now: datetime) -> None:
        """Tell recordings, and the words of some: they are listed one recording at a time.

        Recordings whose words are not there yet are found again by the passes to come.
        """
        drafts: list[Draft[EventData]] = []
        for recording in await self._lists.recordings_made(min(since, found.oldest)):
            if recording.status == COMPLETED and (call := found.calls.get(recording.call_sid)) is not None:
                drafts.append(fact_of_recording(recording, call, self._lender, now))
                if transcribed_id(recording) not in known.ids:
                    self._wordless[recording.sid] = recording, call
        await self._tell(drafts, known)
        for sid in list(self._wordless)[:MOST_TRANSCRIPTS]:
            recording, call = self._wordless.pop(sid)
            if transcribed_id(recording) in known.ids:
                continue
            try:
                transcript = await self._lists.transcript_of(sid)
            except TransientError:
                if now - recording.at < LOOK_BACK:
                    self._wordless[sid] = recording, call  # as the last: it must not keep the others waiting
                raise
            if transcript is not None:
                await self._tell([fact_of_transcript(transcript, recording, call, self._lender, now)], known)

    async def _tell(self, drafts: Iterable[Draft[EventData]], known: Known) -> None:
        """Send what is not in Kafka, in order within each partition.

        Raises:
            TransientError: not all of it could be sent.
        """
        missing = [self._event(draft) for draft in drafts if draft.id not in known.ids]
        sent = [event for event in missing if known.can_tell(event.topic, event.key)]
        left = await self.each_group(
            sent,
            self._send,
            key=_told_together,
            group=lambda event: (event.topic, partition_of(event.key, known.partitions)),
        )
        if left:
            raise next(iter(left.values()))
        if self.stopping:
            raise TransientError("the service stops")
        if len(sent) < len(missing):
            raise TransientError(
                f"{len(known.unread)} partitions cannot be read: {len(missing) - len(sent)} events wait"
            )

    async def _beating(self, work: Coroutine[None, None, T]) -> T:
        """Do long work whose every wait has a limit of its own, and say meanwhile that it goes on."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                self._health.beat(self.name)
                await asyncio.wait([task], timeout=BEAT_S)
            return await task
        finally:
            task.cancel()

    def _event(self, draft: Draft[EventData]) -> Event[EventData]:
        return event_of(draft, lender_id=self._lender.id, received_at=self._clock.real_now(), trace="")

    async def _send(self, event: Event[EventData]) -> None:
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await self._producer.send(event)
        except TimeoutError as error:
            raise TransientError(f"Kafka did not acknowledge within {SEND_LIMIT_S} s") from error
        metrics.RECONCILED.labels(event.type).inc()
        log.warning("webhook_missed", type=event.type, id=event.id)

    def _wait_for_spools(self) -> None:
        """Raise while a spool beside us has entries: what seems to be missing is about to arrive."""
        if self._folder is not None and any(_sizes(self._folder.rglob("*.spool"))):
            raise TransientError("the spool is not empty yet")

    def _read_finished(self) -> datetime | None:
        if self._folder is None:
            return None
        try:
            return datetime.fromisoformat(json.loads((self._folder / "reconciler.json").read_text())["finished"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write_finished(self, at: datetime) -> None:
        if self._folder is None:
            return
        new = self._folder / "reconciler.json.new"
        try:
            new.write_text(json.dumps({"finished": at.isoformat()}))
            os.replace(new, self._folder / "reconciler.json")
        except OSError as error:  # a restart then looks back further
            log.warning("cannot_keep_the_pass", why=str(error))


def _told_together(event: Event[EventData]) -> str:
    """Return the call of an event, else its own id: after a failure a call's facts stay in their order."""
    return event.data.call_id if isinstance(event.data, CallFact) else event.id


def _sizes(paths: Iterable[Path]) -> Iterable[int]:
    for path in paths:
        try:
            yield path.stat().st_size
        except OSError:
            continue
