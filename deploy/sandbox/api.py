"""Twilio's REST API, as far as Ringback uses it: messages (create, list, fetch), calls (list, fetch) and recordings (list)."""

import asyncio
import base64
import hmac
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from deploy.sandbox.carrier import Carrier
from deploy.sandbox.faults import Faults, FaultSpec
from deploy.sandbox.model import API_VERSION, Call, Message, Recording, TwilioError, new_sid
from deploy.sandbox.settings import SandboxSettings
from deploy.sandbox.store import Store
from deploy.sandbox.webhooks import Target
from schemas.base import E164_PATTERN
from services.runtime.clock import Clock

E164 = re.compile(E164_PATTERN, re.ASCII)
SERVICE_SID = re.compile(r"MG[0-9a-f]{32}", re.ASCII)
BODY_CHARS_MAX = 1600  # error 21617
FIELDS_MAX = 60
FORM_BYTES_MAX = 64 * 1024
PAGE_MAX = 1000
HANG_S = 120.0
"""How long an injected hang lasts at most; every client has its own, shorter time-out."""

# Twilio's own test numbers, so that a mistake can be provoked without any control call.
MAGIC_TO = {
    "+15005550001": (21211, "is not a valid phone number."),
    "+15005550002": (21612, "is not currently reachable."),
    "+15005550003": (21408, "is in a region this account may not text."),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "is not a mobile number."),
}
MAGIC_FROM = {
    "+15005550001": (21212, "is not a valid phone number."),
    "+15005550007": (21606, "is not a Twilio phone number of this account."),
    "+15005550008": (21611, "has exceeded its queue of messages."),
}

REAL = web.RequestKey("real", datetime)
ENTRY = web.RequestKey("entry", dict[str, Any])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def check_message(form: dict[str, str]) -> None:
    """Refuse what Twilio refuses.

    Raises:
        TwilioError: with Twilio's own code.
    """
    to, sender, body = form.get("To", ""), form.get("From", ""), form.get("Body", "")
    if not to:
        raise TwilioError(400, 21604, "A 'To' phone number is required.")
    if not E164.fullmatch(to):
        raise TwilioError(400, 21211, f"Invalid 'To' Phone Number: {to[:40]}")
    if found := MAGIC_TO.get(to):
        raise TwilioError(400, found[0], f"The 'To' number {to}: {found[1]}")
    if service := form.get("MessagingServiceSid"):
        if not SERVICE_SID.fullmatch(service):
            raise TwilioError(400, 21701, "The Messaging Service does not exist.")
    elif not sender:
        raise TwilioError(400, 21603, "A 'From' phone number is required.")
    if sender and not E164.fullmatch(sender):
        raise TwilioError(400, 21212, f"Invalid 'From' Phone Number: {sender[:40]}")
    if found := MAGIC_FROM.get(sender):
        raise TwilioError(400, found[0], f"The 'From' number {sender} {found[1]}")
    if not body and not form.get("MediaUrl") and not form.get("ContentSid"):
        raise TwilioError(400, 21602, "Message body is required.")
    if len(body) > BODY_CHARS_MAX:
        raise TwilioError(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
    if form.get("ScheduleType") or form.get("SendAt"):
        raise TwilioError(400, 20001, "The sandbox does not schedule texts (ScheduleType, SendAt).")
    validity = form.get("ValidityPeriod", "1")
    if not (validity.isascii() and validity.isdigit() and 1 <= int(validity[:9]) <= 36_000):
        raise TwilioError(400, 20001, "ValidityPeriod must be between 1 and 36000 seconds.")
    if callback := form.get("StatusCallback"):
        try:
            Target.parse(callback)
        except ValueError:
            raise TwilioError(400, 21609, "The 'StatusCallback' URL is not a valid URL.") from None


class Api:
    """The handlers below `/2010-04-01/Accounts/{AccountSid}/`."""

    def __init__(
        self, *, settings: SandboxSettings, clock: Clock, store: Store, carrier: Carrier, faults: Faults
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._carrier = carrier
        self._faults = faults
        self.closing = asyncio.Event()
        login = f"{settings.account_sid}:{settings.auth_token}".encode()
        self._authorization = b"Basic " + base64.b64encode(login)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        base = f"/{API_VERSION}/Accounts/{{account}}"
        return [
            web.post(f"{base}/Messages.json", self._guarded(self.create)),
            web.get(f"{base}/Messages.json", self._guarded(self.list_messages)),
            web.get(f"{base}/Messages/{{sid}}.json", self._guarded(self.fetch_message)),
            web.get(f"{base}/Calls.json", self._guarded(self.list_calls)),
            web.get(f"{base}/Calls/{{sid}}.json", self._guarded(self.fetch_call)),
            web.get(f"{base}/Recordings.json", self._guarded(self.list_recordings)),
            web.get(f"{base}/Recordings/{{sid}}/Transcriptions.json", self._guarded(self.list_transcriptions)),
            web.route("*", f"/{API_VERSION}/{{tail:.*}}", self._guarded(self.nothing_here)),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        """Log the request, check its login, and give every refusal Twilio's shape."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            real = self._clock.real_now()
            entry: dict[str, Any] = {
                "received_real_at": real.isoformat(),
                "received_real_epoch": real.timestamp(),
                "virtual_at": self._clock.now().isoformat(),
                "method": request.method,
                "path": request.path[:200],
            }
            request[REAL] = real
            request[ENTRY] = entry
            self._store.requests.append(entry)
            try:
                self._check_login(request)
                response = await handler(request)
                entry.setdefault("status", response.status)
            except TwilioError as error:
                entry |= {"status": error.status, "code": error.code}
                return web.json_response(error.payload(), status=error.status)
            except web.HTTPRequestEntityTooLarge:
                entry["status"] = 413
                return web.json_response(TwilioError(413, 20413, "The request is too large.").payload(), status=413)
            return response

        return guarded

    def _check_login(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._authorization):
            raise TwilioError(401, 20003, "Authenticate")
        if request.match_info.get("account", self._settings.account_sid) != self._settings.account_sid:
            raise TwilioError(404, 20404, "The requested resource was not found: the account is another one.")

    async def nothing_here(self, request: web.Request) -> web.StreamResponse:
        """Say that the sandbox does not have a resource."""
        raise TwilioError(404, 20404, f"The requested resource {request.path[:200]} was not found in the sandbox")

    # Messages.

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Take a text, unless something is wrong with it or a fault says otherwise."""
        if request.content_type != "application/x-www-form-urlencoded":
            raise TwilioError(415, 20415, "Content-Type must be application/x-www-form-urlencoded")
        raw = await request.read()
        if len(raw) > FORM_BYTES_MAX:
            raise TwilioError(413, 20413, "The request is too large.")
        try:
            form = dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"))
        except ValueError as error:
            raise TwilioError(400, 20001, "The form cannot be read: UTF-8, at most 60 fields") from error
        request[ENTRY]["to"] = form.get("To", "")[:40]
        fault = self._faults.pick("create", form.get("To"))
        if fault is not None:
            request[ENTRY]["fault"] = fault.kind
            if not fault.is_accepted:
                return await self._fail(request, fault)
        check_message(form)
        sender = form.get("From") or self._settings.service_number
        if (form["To"], sender) in self._store.opted_out:
            raise TwilioError(400, 21610, "Attempt to send to unsubscribed recipient")
        if self._carrier.is_full:
            raise TwilioError(429, 20429, "Too Many Requests")
        message = self._keep(form, request[REAL])
        request[ENTRY]["sid"] = message.sid
        payload = message.payload(self._settings.account_sid)
        self._carrier.accept(message)
        if fault is not None:
            if fault.kind != "slow":
                return await self._fail(request, fault)
            await self._wait(fault.delay_ms / 1000)
        return web.json_response(payload, status=201, headers={"Twilio-Request-Id": new_sid("RQ")})

    def _keep(self, form: dict[str, str], real: datetime) -> Message:
        service = form.get("MessagingServiceSid") or None
        validity = form.get("ValidityPeriod")
        message = Message(
            n=self._store.next_n(),
            sid=new_sid("SM"),
            direction="outbound-api",
            from_=form.get("From") or None,
            to=form["To"],
            body=form.get("Body", ""),
            # A service first accepts, then picks the sender; a plain number's text is queued at once.
            status="accepted" if service else "queued",
            created_at=self._clock.now(),
            received_real=real,
            service_sid=service,
            status_callback=form.get("StatusCallback") or None,
            validity_s=int(validity) if validity else None,
        )
        self._store.add(message)
        return message

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.closing.wait(), seconds)
        except TimeoutError:
            return

    async def _fail(self, request: web.Request, fault: FaultSpec) -> web.StreamResponse:
        if fault.kind == "429":
            raise TwilioError(429, 20429, "Too Many Requests")
        if fault.kind == "5xx":
            raise TwilioError(fault.status, 20500, "An internal server error has occurred")
        if fault.kind == "slow":
            await self._wait(fault.delay_ms / 1000)
            raise TwilioError(500, 20500, "An internal server error has occurred")
        if fault.kind == "hang":
            await self._wait(HANG_S)
        request[ENTRY]["status"] = None
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # never read: the connection is gone

    async def _maybe_fail(self, request: web.Request, on: str) -> web.StreamResponse | None:
        fault = self._faults.pick(on)
        if fault is None:
            return None
        request[ENTRY]["fault"] = fault.kind
        if fault.kind == "slow":
            await self._wait(fault.delay_ms / 1000)
            return None
        return await self._fail(request, fault)

    async def list_messages(self, request: web.Request) -> web.StreamResponse:
        """List newest first, filtered by To, From and DateSent, in pages."""
        if failed := await self._maybe_fail(request, "list"):
            return failed
        query = request.query
        to, sender = query.get("To"), query.get("From")
        in_range = _date_filter(request, "DateSent")
        rows: Iterator[Message] = (
            message
            for message in self._store.newest_first(to or sender)
            if (not to or message.to == to)
            and (not sender or message.from_ == sender)
            and (in_range is None or in_range(message.sent_at))
        )
        return self._page(request, "messages", rows)

    async def fetch_message(self, request: web.Request) -> web.StreamResponse:
        """Return one text."""
        if failed := await self._maybe_fail(request, "fetch"):
            return failed
        message = self._store.messages.get(request.match_info["sid"])
        if message is None:
            raise TwilioError(404, 20404, f"The requested resource {request.path[:200]} was not found")
        return web.json_response(message.payload(self._settings.account_sid))

    # Calls.

    async def list_calls(self, request: web.Request) -> web.StreamResponse:
        """List newest first, filtered by To, From, Status, ParentCallSid, StartTime and EndTime, in pages."""
        if failed := await self._maybe_fail(request, "list"):
            return failed
        query = request.query
        to, sender = query.get("To"), query.get("From")
        status, parent = query.get("Status"), query.get("ParentCallSid")
        started, ended = _date_filter(request, "StartTime"), _date_filter(request, "EndTime")
        rows = (
            call
            for call in sorted(self._store.calls.values(), key=lambda call: call.created_at, reverse=True)
            if (not to or call.to == to)
            and (not sender or call.from_ == sender)
            and (not status or call.status == status)
            and (not parent or call.parent_sid == parent)
            and (started is None or started(call.start_time))
            and (ended is None or ended(call.end_time))
        )
        return self._page(request, "calls", rows)

    async def fetch_call(self, request: web.Request) -> web.StreamResponse:
        """Return one call."""
        if failed := await self._maybe_fail(request, "fetch"):
            return failed
        call = self._store.calls.get(request.match_info["sid"])
        if call is None:
            raise TwilioError(404, 20404, f"The requested resource {request.path[:200]} was not found")
        return web.json_response(call.payload(self._settings.account_sid))

    async def list_recordings(self, request: web.Request) -> web.StreamResponse:
        """List newest first, filtered by CallSid and DateCreated, in pages."""
        if failed := await self._maybe_fail(request, "list"):
            return failed
        call, created = request.query.get("CallSid"), _date_filter(request, "DateCreated")
        rows = (
            recording
            for recording in sorted(self._store.recordings.values(), key=lambda one: one.created_at, reverse=True)
            if (not call or recording.call_sid == call) and (created is None or created(recording.created_at))
        )
        return self._page(request, "recordings", rows)

    async def list_transcriptions(self, request: web.Request) -> web.StreamResponse:
        """List a recording's; at most one, so in one page."""
        if failed := await self._maybe_fail(request, "list"):
            return failed
        recording = self._store.recordings.get(request.match_info["sid"])
        if recording is None:
            raise TwilioError(404, 20404, f"The requested resource {request.path[:200]} was not found")
        found = recording.transcriptions(self._settings.account_sid)
        return web.json_response({"transcriptions": found, "page": 0, "next_page_uri": None})

    def _page(
        self, request: web.Request, key: str, rows: Iterator[Message] | Iterator[Call] | Iterator[Recording]
    ) -> web.Response:
        size = _number(request, "PageSize", 50, 1, PAGE_MAX)
        page = _number(request, "Page", 0, 0, 1_000_000)
        token = request.query.get("PageToken", "")
        if token:  # names the last row of the page before, so that new rows shift nothing
            for row in rows:
                if token == f"PA{row.sid}":
                    break
        found: list[Message | Call | Recording] = []
        more = False
        for row in rows:
            if len(found) == size:
                more = True
                break
            found.append(row)
        kept = [(k, v) for k, v in request.query.items() if k not in ("PageSize", "Page", "PageToken")]

        def uri(**extra: str | int) -> str:
            return f"{request.path}?{urlencode([*kept, ('PageSize', size), *extra.items()])}"

        return web.json_response(
            {
                key: [row.payload(self._settings.account_sid) for row in found],
                "page": page,
                "page_size": size,
                "start": page * size,
                "end": page * size + max(len(found) - 1, 0),
                "uri": request.path_qs,
                "first_page_uri": uri(Page=0),
                "next_page_uri": uri(Page=page + 1, PageToken=f"PA{found[-1].sid}") if more else None,
                "previous_page_uri": None,
            }
        )


def _number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and low <= int(text[:9]) <= high):
        raise TwilioError(400, 20001, f"{name} must be between {low} and {high}")
    return int(text)


def _date_filter(request: web.Request, name: str) -> Callable[[datetime | None], bool] | None:
    """Return the test that `Name`, `Name<` and `Name>` ask for: a day or an instant; None when none was asked."""
    tests: list[Callable[[datetime], bool]] = []
    for suffix in ("", "<", ">"):
        text = request.query.get(name + suffix)
        if text is None:
            continue
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise TwilioError(400, 20001, f"{name}{suffix} is not a date") from None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        whole_day = len(text) == len("2026-01-31")
        if suffix == "<":
            until = when + timedelta(days=1) if whole_day else when + timedelta(seconds=1)
            tests.append(lambda found, until=until: found < until)  # type: ignore[misc]
        elif suffix == ">":
            tests.append(lambda found, when=when: found >= when)  # type: ignore[misc]
        else:
            day = when.astimezone(UTC).date()
            tests.append(lambda found, day=day: found.astimezone(UTC).date() == day)  # type: ignore[misc]
    if not tests:
        return None
    return lambda found: found is not None and all(test(found) for test in tests)
