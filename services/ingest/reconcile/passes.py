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
from services.runtime.producer import Producer
from services.runtime.rounds import Rounds

log = logs.get(__name__)

OVERLAP: Final = timedelta(minutes=10)
LOOK_BACK: Final = timedelta(days=1)
"""How far back a process's first pass looks, and one every LOOK_BACK_EVERY: carriers report a text's end hours after it was
sent, and a provider may list something late."""
LOOK_BACK_EVERY: Final = timedelta(hours=1)
CALL_AGE_S: Final = 120
"""By then webhooks have been tried again and again, and the lists have all legs; a first text lives five minutes. A call in which
a phone was picked up is a task of the leads service's, and no text, unless a key press proves an answer."""
MESSAGE_AGE_S: Final = 60
MARGIN: Final = timedelta(minutes=5)
SEND_LIMIT_S: Final = 10.0
AT_ONCE: Final = 100
BEAT_S: Final = 5.0

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Found:
    """What a pass found in the lists: drafts, when the oldest call began, and voicemails whose words are still to be asked for."""

    oldest: datetime
    drafts: list[Draft[EventData]] = field(default_factory=list)
    voicemails: list[tuple[ListedRecording, ListedCall]] = field(default_factory=list)


class Passes(Rounds):
    """One pass a minute.

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

    async def round(self) -> None:
        """Make one pass; it is finished only when everything it found is in Kafka.

        Raises:
            TransientError: a part of it must be done again.
        """
        self._wait_for_spools()
        now = self._clock.now()
        last = self._finished or self._read_finished()
        since = last - OVERLAP if last else now - LOOK_BACK
        looks_back = self._looked_back is None or now - self._looked_back >= LOOK_BACK_EVERY
        if looks_back:
            since = min(since, now - LOOK_BACK)
        found = await self._beating(self._listed(since, now))
        real = None if self._clock.is_file else min(since, found.oldest) - MARGIN
        known = await self._beating(self._known.since(real))
        drafts = [*found.drafts, *await self._beating(self._transcripts(found, known, now))]
        missing = [self._event(draft) for draft in drafts if draft.id not in known.ids]
        sent = [event for event in missing if known.can_tell(event.topic, event.key)]
        for at in range(0, len(sent), AT_ONCE):
            self._health.beat(self.name)
            await asyncio.gather(*(self._send(event) for event in sent[at : at + AT_ONCE]))
        if len(sent) < len(missing):
            raise TransientError(
                f"{len(known.unread)} partitions cannot be read: {len(missing) - len(sent)} events wait"
            )
        self._finished = now
        if looks_back:
            self._looked_back = now
        self._write_finished(now)
        metrics.RECONCILER_PASSES.inc()

    async def _listed(self, since: datetime, now: datetime) -> _Found:
        """Return what the provider lists as drafts."""
        calls: list[ListedCall] = []
        legs: dict[str, list[ListedCall]] = defaultdict(list)
        for call in await self._lists.calls_ended(since):
            if call.parent_sid is None:
                calls.append(call)
            else:
                legs[call.parent_sid].append(call)
        found = _Found(oldest=min((call.started_at for call in calls), default=since))
        of_sid: dict[str, ListedCall] = {}
        for call in calls:
            if (now - call.ended_at).total_seconds() < CALL_AGE_S:
                continue
            # The ends of its legs may lie before the window.
            if call.started_at < since:
                legs[call.sid] = await self._lists.legs_of(call.sid)
            if facts := facts_of_call(call, legs[call.sid], self._lender, now):
                found.drafts += facts
                of_sid[call.sid] = call
        for recording in await self._lists.recordings_made(min(since, found.oldest)) if of_sid else ():
            if recording.status == COMPLETED and (its_call := of_sid.get(recording.call_sid)) is not None:
                found.drafts.append(fact_of_recording(recording, its_call, self._lender, now))
                found.voicemails.append((recording, its_call))
        for message in await self._lists.messages_sent(since):
            if (now - message.at).total_seconds() >= MESSAGE_AGE_S:
                found.drafts += facts_of_message(message, self._lender, now)
        return found

    async def _transcripts(self, found: _Found, known: Known, now: datetime) -> list[Draft[EventData]]:
        """Return the words of voicemails that are not in Kafka: they are listed one recording at a time."""
        drafts: list[Draft[EventData]] = []
        for recording, call in found.voicemails:
            if transcribed_id(recording) not in known.ids:
                transcript = await self._lists.transcript_of(recording.sid)
                if transcript is not None:
                    drafts.append(fact_of_transcript(transcript, recording, call, self._lender, now))
        return drafts

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


def _sizes(paths: Iterable[Path]) -> Iterable[int]:
    for path in paths:
        try:
            yield path.stat().st_size
        except OSError:
            continue
