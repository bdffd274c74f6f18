"""One webhook from its bytes to an acknowledged event: check the sender, read, emit, respond."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

from multidict import MultiDict
from pydantic import TypeAdapter, ValidationError

from schemas.base import EventData
from schemas.envelope import Event
from schemas.ids import partition_key
from schemas.problems import problems_of
from services.ingest import metrics, routes
from services.ingest.adapters.reports import read_report
from services.ingest.adapters.twilio import TwilioSignatures, Twiml
from services.ingest.adapters.unsafe import Unsafe
from services.ingest.domain import reported_calls
from services.ingest.domain.fields import Fields
from services.ingest.domain.lender import Lender
from services.ingest.domain.reading import Accepted, Draft, GoOn, Instruction, NoContent, Reading
from services.ingest.errors import InvalidField, NotAcknowledged, NotAuthentic, Rejected, UnreadableBody
from services.ingest.phone_systems import TWILIO_READERS
from services.ingest.signing import CALLS_HEADER, verify_calls
from services.runtime import logs
from services.runtime.clock import Clock
from services.runtime.errors import RingbackError

log = logs.get(__name__)

SOURCE: Final = "ringback/ingest"
MOST_FIELDS: Final = 200
PHONE_LIMIT_S: Final = 1.75
"""A caller hears nothing until we answer: TwiML is there within two seconds, whatever is away."""

_JSON_OBJECT: Final = TypeAdapter(dict[str, str | int | float | bool | None])
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One request, without its framework. `target` is path and query as they stood on the wire."""

    route: str
    target: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back to the sender."""

    status: int
    body: str = ""
    content_type: str = "application/json"


@dataclass(kw_only=True)
class Ingest:
    """All webhooks of one lender.

    Attributes:
        lender: whose.
        clock: virtual time for events, real time for signatures and `received_at`.
        unsafe: where events become safe, behind those that did not, of calls that went on.
        signatures: checks Twilio's; None accepts everything (RINGBACK_INSECURE_WEBHOOKS).
        account_sid: the only Twilio account that is listened to.
        twiml: writes our answers to Twilio.
        secrets: check `/webhooks/calls`; without any the route refuses everything, unless signatures are not checked.
    """

    lender: Lender
    clock: Clock
    unsafe: Unsafe
    signatures: TwilioSignatures | None
    account_sid: str
    twiml: Twiml
    secrets: tuple[str, ...] = ()
    under_way: int = 0

    async def handle(self, webhook: Webhook) -> Response:
        """Take one webhook; never raises for anything a sender can do."""
        self.under_way += 1
        try:
            return await self._handle(webhook)
        except Rejected as error:
            return self.reject(webhook.route, error)
        except NotAcknowledged as error:
            metrics.UNACKNOWLEDGED.labels(webhook.route).inc()
            log.error("not_acknowledged", route=webhook.route, why=str(error))
            return _problem(503, "not_acknowledged", "the event is not safe yet; please send it again", None)
        finally:
            self.under_way -= 1

    def reject(self, route: str, error: Rejected) -> Response:
        """Count a rejected webhook and say what is wrong with it."""
        metrics.REJECTED.labels(route, error.reason).inc()
        log.warning("rejected", route=route, reason=error.reason, field=error.field)
        return _problem(error.http_status, error.reason, error.message, error.field)

    async def busy(self) -> str | None:
        """Return what is under way, or None when nothing is."""
        return f"{self.under_way} webhooks under way" if self.under_way else None

    async def _handle(self, webhook: Webhook) -> Response:
        received_at, now = self.clock.real_now(), self.clock.now()
        try:
            reading = self._read(webhook, received_at, now)
        except ValidationError as error:  # the readers check first; this is what they missed
            where, why = problems_of(error)[0]
            raise InvalidField(where or "body", why) from error
        if reading.unusable:
            metrics.CALLERS_UNUSABLE.labels(reading.unusable).inc()
        if reading.ignored:
            metrics.IGNORED_WEBHOOKS.labels(reading.ignored).inc()
        if reading.drafts:
            trace = webhook.headers.get("traceparent", "")
            events = [
                event_of(draft, lender_id=self.lender.id, received_at=received_at, trace=trace)
                for draft in reading.drafts
            ]
            if webhook.route in routes.ALWAYS_ANSWERED and not isinstance(reading.instruction, NoContent):
                await self._try_to_emit(webhook.route, events)
            else:
                await self.unsafe.emit(*events)
        return self._respond(webhook.route, reading.instruction)

    async def _try_to_emit(self, route: str, events: Sequence[Event[EventData]]) -> None:
        """Emit, but let the call go on whatever becomes of that: the events are kept, and tried again."""
        try:
            async with asyncio.timeout(PHONE_LIMIT_S):
                await self.unsafe.emit(*events)
        except Exception as error:
            metrics.UNSAFE.labels(route).inc()
            self.unsafe.hold(events)
            known = isinstance(error, RingbackError | TimeoutError)
            why = str(error) or f"not safe within {PHONE_LIMIT_S} s"
            ids = [event.id for event in events]
            log.error("call_goes_on_unsafe", route=route, ids=ids, why=why, exc_info=None if known else error)

    def _read(self, webhook: Webhook, received_at: datetime, now: datetime) -> Reading:
        if webhook.route == routes.CALLS:
            self._prove_calls(webhook, received_at)
            return reported_calls.completed(read_report(webhook.body), self.lender, now)
        params = self._prove_twilio(webhook)
        if params.get("AccountSid") != self.account_sid:
            raise NotAuthentic(
                "wrong_account", "is not the account that RINGBACK_TWILIO_ACCOUNT_SID names", "AccountSid"
            )
        return TWILIO_READERS[webhook.route](Fields(params), Fields(webhook.query), self.lender, now)

    def _prove_calls(self, webhook: Webhook, received_at: datetime) -> None:
        if webhook.content_type != "application/json":
            raise UnreadableBody("unsupported_media_type", "send application/json")
        if self.signatures is None:
            return
        if not self.secrets:
            raise NotAuthentic("not_configured", "RINGBACK_WEBHOOK_SECRET is not set")
        verdict = verify_calls(webhook.headers.get(CALLS_HEADER), webhook.body, received_at.timestamp(), self.secrets)
        if verdict != "ok":
            raise NotAuthentic(verdict, f"{CALLS_HEADER} is missing, wrong or older than five minutes")

    def _prove_twilio(self, webhook: Webhook) -> Mapping[str, str]:
        if self.signatures is not None and "X-Twilio-Signature" not in webhook.headers:
            raise NotAuthentic("unsigned", "X-Twilio-Signature is missing")
        try:
            text = webhook.body.decode()
            if webhook.content_type == "application/json":
                found = _JSON_OBJECT.validate_json(text)
                params: Mapping[str, str] = {
                    name: value if isinstance(value, str) else json.dumps(value)
                    for name, value in found.items()
                    if value is not None
                }
                signed: Mapping[str, str] | str = text
            elif webhook.content_type == "application/x-www-form-urlencoded":
                pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
                signed = params = MultiDict(pairs)
            else:
                raise UnreadableBody("unsupported_media_type", "send a form or application/json")
        except ValueError as error:  # not UTF-8, too many fields, not a JSON object
            raise UnreadableBody(
                "malformed_body", "the body is neither a form nor a JSON object of texts and numbers"
            ) from error
        if self.signatures is not None:
            self.signatures.check(webhook.target, signed, webhook.headers)
        return params

    def _respond(self, route: str, instruction: Instruction) -> Response:
        match instruction:
            case NoContent():
                return Response(204)
            case Accepted(event_id):
                return Response(202, json.dumps({"status": "accepted", "id": event_id}))
            case GoOn():
                return Response(
                    200, self.twiml.nothing_to_text if route == routes.SMS else self.twiml.go_on, "text/xml"
                )
            case other:
                return Response(200, self.twiml.voice(other), "text/xml")


def event_of(draft: Draft[EventData], *, lender_id: str, received_at: datetime, trace: str) -> Event[EventData]:
    """Return a draft in its envelope; all facts of one call share a trace, whoever received them."""
    derived = hashlib.sha256((draft.call_id or draft.id).encode()).hexdigest()
    span = hashlib.sha256(draft.id.encode()).hexdigest()[:16]
    return Event(
        id=draft.id,
        data=draft.data,
        source=SOURCE,
        time=draft.time,
        key=partition_key(lender_id, draft.caller, draft.call_id),
        lender_id=lender_id,
        branch_id=draft.branch_id,
        received_at=received_at,
        traceparent=trace if _TRACEPARENT.fullmatch(trace) else f"00-{derived[:32]}-{span}-01",
    )


def _problem(status: int, reason: str, message: str, field: str | None) -> Response:
    return Response(status, json.dumps({"error": {"reason": reason, "field": field, "message": message}}))
