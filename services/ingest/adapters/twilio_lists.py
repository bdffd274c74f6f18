"""Twilio's lists of calls, messages, recordings and transcriptions, over plain HTTP; each page has a time-out of its own."""

import base64
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol
from urllib.parse import urljoin

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.ingest.domain.listed import ListedCall, ListedMessage
from services.ingest.domain.listed_voicemails import ListedRecording, ListedTranscript
from services.ingest.errors import ListsAway
from services.runtime.service import Resource

REQUEST_LIMIT_S: Final = 15.0
PAGE: Final = 500
MOST_PAGES: Final = 2_000


class Lists(Protocol):
    """What a provider can list."""

    async def calls_ended(self, since: datetime) -> list[ListedCall]:
        """Return calls and legs that ended at `since` or later; raises ListsAway."""

    async def legs_of(self, call_sid: str) -> list[ListedCall]:
        """Return the legs of a call; raises ListsAway."""

    async def messages_sent(self, since: datetime) -> list[ListedMessage]:
        """Return texts of both directions sent at `since` or later; raises ListsAway."""

    async def recordings_made(self, since: datetime) -> list[ListedRecording]:
        """Return recordings that began at `since` or later; raises ListsAway."""

    async def transcript_of(self, recording_sid: str) -> ListedTranscript | None:
        """Return a recording's words, or that there are none; None while that is open; raises ListsAway."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    sid: str
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    status: str
    direction: str


class _CallRow(_Row):
    parent_call_sid: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    duration: str | None = None

    def listed(self) -> ListedCall | None:
        """Return the call, or None while it is not over."""
        ended = _instant(self.end_time)
        if ended is None:
            return None
        return ListedCall(
            sid=self.sid,
            parent_sid=self.parent_call_sid,
            caller=self.from_ or "",
            dialed=self.to or "",
            status=self.status,
            started_at=_instant(self.start_time) or ended,
            ended_at=ended,
            duration_s=_whole(self.duration),
        )


class _MessageRow(_Row):
    body: str | None = None
    num_media: str | None = None
    error_code: int | None = None
    date_sent: str | None = None
    date_created: str | None = None

    def listed(self) -> ListedMessage | None:
        """Return the text, or None where it has no time."""
        at = _instant(self.date_sent) or _instant(self.date_created)
        if at is None:
            return None
        return ListedMessage(
            sid=self.sid,
            is_inbound=self.direction == "inbound",
            sender=self.from_ or "",
            to=self.to or "",
            body=self.body or "",
            status=self.status,
            at=at,
            media_count=_whole(self.num_media) or 0,
            error_code=self.error_code,
        )


class _RecordingRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    sid: str
    call_sid: str | None = None
    status: str
    duration: str | None = None
    date_created: str | None = None
    uri: str

    def listed(self, base_url: str) -> ListedRecording | None:
        """Return the recording, or None where it is no call's or has no time."""
        at = _instant(self.date_created)
        if at is None or self.call_sid is None:
            return None
        return ListedRecording(
            sid=self.sid,
            call_sid=self.call_sid,
            status=self.status,
            url=urljoin(base_url + "/", self.uri.removesuffix(".json")),  # as RecordingUrl of the webhook
            at=at,
            duration_s=_whole(self.duration) or 0,
        )


class _TranscriptionRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    status: str
    transcription_text: str | None = None


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    calls: tuple[_CallRow, ...] = ()
    messages: tuple[_MessageRow, ...] = ()
    recordings: tuple[_RecordingRow, ...] = ()
    transcriptions: tuple[_TranscriptionRow, ...] = ()
    next_page_uri: str | None = None


class TwilioLists(Resource):
    """The real one; the sandbox at its base URL."""

    def __init__(self, *, account_sid: str, auth_token: str, base_url: str, page_size: int = PAGE) -> None:
        self._account_sid, self._base_url = account_sid, base_url.rstrip("/")
        self._headers = {"Authorization": "Basic " + base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()}
        self._page_size = page_size
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Make the session."""
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
        )

    async def stop(self) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    async def calls_ended(self, since: datetime) -> list[ListedCall]:
        """Return calls and legs that ended at `since` or later."""
        return await self._calls({"EndTime>": _said(since)})

    async def legs_of(self, call_sid: str) -> list[ListedCall]:
        """Return the legs of a call."""
        return await self._calls({"ParentCallSid": call_sid})

    async def messages_sent(self, since: datetime) -> list[ListedMessage]:
        """Return texts of both directions sent at `since` or later."""
        rows = [
            row.listed() async for page in self._pages("Messages", {"DateSent>": _said(since)}) for row in page.messages
        ]
        return [row for row in rows if row is not None and row.at >= since]

    async def recordings_made(self, since: datetime) -> list[ListedRecording]:
        """Return recordings that began at `since` or later."""
        pages = self._pages("Recordings", {"DateCreated>": _said(since)})
        rows = [row.listed(self._base_url) async for page in pages for row in page.recordings]
        return [row for row in rows if row is not None and row.at >= since]

    async def transcript_of(self, recording_sid: str) -> ListedTranscript | None:
        """Return a recording's words, or that there are none; None while that is open."""
        pages = self._pages(f"Recordings/{recording_sid}/Transcriptions", {})
        rows = [row async for page in pages for row in page.transcriptions]
        for status, has_words in (("completed", True), ("failed", False)):
            if (found := next((row for row in rows if row.status == status), None)) is not None:
                return ListedTranscript(found.transcription_text if has_words else None)
        return None

    async def _calls(self, query: Mapping[str, str]) -> list[ListedCall]:
        rows = [row.listed() async for page in self._pages("Calls", query) for row in page.calls]
        return [row for row in rows if row is not None]

    async def _pages(self, what: str, query: Mapping[str, str]) -> AsyncIterator[_Page]:
        if self._session is None:
            raise ListsAway("the session is not open")
        url = f"{self._base_url}/2010-04-01/Accounts/{self._account_sid}/{what}.json"
        params: Mapping[str, str] | None = {**query, "PageSize": str(self._page_size)}
        for _ in range(MOST_PAGES):
            try:
                async with self._session.get(url, params=params, allow_redirects=False) as answer:
                    if answer.status != 200:
                        raise ListsAway(f"the list of {what.lower()}: HTTP {answer.status}")
                    page = _Page.model_validate_json(await answer.read())
            except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
                raise ListsAway(f"the list of {what.lower()}: {type(error).__name__}") from error
            yield page
            if not page.next_page_uri:
                return
            url, params = urljoin(self._base_url + "/", page.next_page_uri), None
        raise ListsAway(f"the list of {what.lower()} has more than {MOST_PAGES} pages")


def _whole(said: str | None) -> int | None:
    return int(said) if said and said.isdecimal() else None


def _said(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(said: str | None) -> datetime | None:
    """Return a time in Twilio's RFC 2822, or None."""
    if not said:
        return None
    try:
        found = parsedate_to_datetime(said)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
