"""The control API, which Twilio does not have: tests, `replay` and `demo` set the sandbox with it, and read what happened."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from deploy.sandbox.borrowers import Script
from deploy.sandbox.carrier import Carrier
from deploy.sandbox.faults import Faults, FaultSpec
from deploy.sandbox.model import Call, Recording
from deploy.sandbox.settings import CallbackFaults
from deploy.sandbox.store import Store
from deploy.sandbox.webhooks import Webhooks
from schemas.base import E164
from schemas.problems import problems_of
from services.runtime.clock import Clock

Body = TypeVar("Body", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class FaultsBody(_Body):
    """`POST /_control/faults`."""

    faults: tuple[FaultSpec, ...] = Field(default=(), max_length=100)
    clear: bool = Field(default=False, description="drop the rules in force first")


class QuietBody(_Body):
    """`POST /_control/quiet`: numbers that never answer by themselves, such as the officers' phones."""

    numbers: tuple[str, ...] = Field(max_length=10_000)


class IncomingBody(_Body):
    """`POST /_control/incoming`: a phone texts now, or `after_s` virtual seconds from now."""

    from_: str = Field(alias="from", max_length=40)
    to: E164
    body: str = Field(max_length=1600)
    after_s: float = Field(default=0.0, ge=0, le=90 * 86_400)


class AimBody(_Body):
    """`POST /_control/aim`: where webhooks go, for an ingest that learned its port late."""

    public_base_url: str = Field(pattern=r"^https?://[^/?#]+")
    webhook_base: str | None = Field(default=None, pattern=r"^https?://[^/?#]+")


class CallBody(_Body):
    """One call or leg."""

    sid: str = Field(pattern="^CA[0-9a-f]{32}$")
    from_: str = Field(alias="from", max_length=64)
    to: str = Field(max_length=64)
    status: str = Field(pattern="^(queued|ringing|in-progress|completed|busy|failed|no-answer|canceled)$")
    direction: str = Field(default="inbound", pattern="^(inbound|outbound-api|outbound-dial)$")
    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None
    duration_s: int | None = Field(default=None, ge=0)
    parent_call_sid: str | None = Field(default=None, pattern="^CA[0-9a-f]{32}$")

    def call(self, now: datetime) -> Call:
        """Return the call to keep; `now` dates one that never started."""
        return Call(
            sid=self.sid,
            from_=self.from_,
            to=self.to,
            status=self.status,
            direction=self.direction,
            created_at=self.start_time or self.end_time or now,
            start_time=self.start_time,
            end_time=self.end_time,
            duration_s=self.duration_s,
            parent_sid=self.parent_call_sid,
        )


class CallsBody(_Body):
    """`POST /_control/calls`."""

    calls: tuple[CallBody, ...] = Field(max_length=10_000)


class RecordingBody(_Body):
    """One voicemail; `transcription_status` None: it has not been transcribed."""

    sid: str = Field(pattern="^RE[0-9a-f]{32}$")
    call_sid: str = Field(pattern="^CA[0-9a-f]{32}$")
    created_at: AwareDatetime
    duration_s: int = Field(ge=0)
    status: str = Field(default="completed", pattern="^(in-progress|processing|completed|absent|deleted)$")
    transcription_status: str | None = Field(default=None, pattern="^(in-progress|completed|failed)$")
    transcript: str | None = Field(default=None, max_length=10_000)

    def recording(self) -> Recording:
        """Return the recording to keep."""
        return Recording(**self.model_dump())


class RecordingsBody(_Body):
    """`POST /_control/recordings`."""

    recordings: tuple[RecordingBody, ...] = Field(max_length=10_000)


async def read(request: web.Request, kind: type[Body]) -> Body:
    """Read a JSON body.

    Raises:
        web.HTTPException: 415 or 400, naming every wrong field. A page of another site cannot send this content type
            without asking first, so it cannot steer the sandbox of whoever visits it.
    """
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    try:
        return kind.model_validate_json(await request.read())
    except ValidationError as error:
        wrong = [{"field": where or "body", "problem": why} for where, why in problems_of(error)]
        raise web.HTTPBadRequest(
            text=BadBody(errors=wrong).model_dump_json(), content_type="application/json"
        ) from error


class BadBody(BaseModel):
    """What a wrong body is answered with."""

    errors: list[dict[str, str]]


class Control:
    """The handlers below `/_control/`, and `/idle`."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        carrier: Carrier,
        faults: Faults,
        webhooks: Webhooks,
        on_reset: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._store = store
        self._carrier = carrier
        self._faults = faults
        self._webhooks = webhooks
        self._on_reset = on_reset

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/idle", self.idle),
            web.get("/_control/idle", self.idle),
            web.get("/_control/messages", self.messages),
            web.get("/_control/requests", self.requests),
            web.get("/_control/counts", self.counts),
            web.get("/_control/faults", self.faults),
            web.post("/_control/faults", self.add_faults),
            web.post("/_control/callbacks", self.callbacks),
            web.post("/_control/script", self.script),
            web.post("/_control/quiet", self.quiet),
            web.post("/_control/incoming", self.incoming),
            web.post("/_control/calls", self.calls),
            web.post("/_control/recordings", self.recordings),
            web.post("/_control/aim", self.aim),
            web.post("/_control/reset", self.reset),
        ]

    def idle_state(self) -> dict[str, Any]:
        """Return whether anything will still happen by itself, and when the next borrower acts (virtual)."""
        due = self._carrier.next_act_at
        return {
            "idle": self._carrier.is_idle,
            "next_act_at": due.isoformat() if due else None,
            "callbacks_open": self._carrier.callbacks_open,
        }

    async def idle(self, _request: web.Request) -> web.Response:
        """Say whether anything is under way; `replay --speed max` waits for it."""
        return web.json_response(self.idle_state())

    async def messages(self, request: web.Request) -> web.Response:
        """Return texts oldest first; `?since=<n>` those after a number, `?direction=` one way, `?phone=` one phone."""
        since, direction, phone = (request.query.get(name) for name in ("since", "direction", "phone"))
        if since is not None and not (since.isascii() and since.isdigit()):
            raise web.HTTPBadRequest(text="since must be a number")
        after = int(since or 0)
        found = [
            message.record()
            for message in reversed(list(self._store.newest_first(phone)))
            if message.n > after and direction in (None, message.direction)
        ]
        return web.json_response({"messages": found})

    async def requests(self, _request: web.Request) -> web.Response:
        """Return the log of API requests, oldest first."""
        return web.json_response({"requests": list(self._store.requests)})

    async def counts(self, _request: web.Request) -> web.Response:
        """Return totals."""
        return web.json_response(
            {
                **self._store.totals,
                "opted_out": len(self._store.opted_out),
                "webhooks": self._webhooks.counts,
                "faults": self._faults.counts,
                **self._carrier.counts,
            }
        )

    async def faults(self, _request: web.Request) -> web.Response:
        """Return the fault rules in force."""
        return web.json_response({"faults": self._faults.left()})

    async def add_faults(self, request: web.Request) -> web.Response:
        """Add fault rules."""
        body = await read(request, FaultsBody)
        if body.clear:
            self._faults.clear()
        try:
            for spec in body.faults:
                self._faults.add(spec)
        except ValueError as error:
            raise web.HTTPConflict(text=str(error)) from error
        return web.json_response({"faults": self._faults.left()})

    async def callbacks(self, request: web.Request) -> web.Response:
        """Set how many status callbacks are lost, doubled or out of order from now on."""
        self._carrier.callback_faults = await read(request, CallbackFaults)
        return web.json_response(self._carrier.callback_faults.model_dump())

    async def script(self, request: web.Request) -> web.Response:
        """Script a number."""
        self._carrier.script(await read(request, Script))
        return web.json_response({"ok": True})

    async def quiet(self, request: web.Request) -> web.Response:
        """Name numbers that never answer by themselves."""
        self._carrier.quiet.update((await read(request, QuietBody)).numbers)
        return web.json_response({"ok": True})

    async def incoming(self, request: web.Request) -> web.Response:
        """Have a phone send a text, now or later."""
        body = await read(request, IncomingBody)
        if body.after_s:
            due = self._clock.now() + timedelta(seconds=body.after_s)
            self._carrier.plan(due, body.from_, body.to, body.body)
            return web.json_response({"sid": None, "due_at": due.isoformat()}, status=202)
        message = self._carrier.receive(body.from_, body.to, body.body)
        return web.json_response({"sid": message.sid}, status=201)

    async def calls(self, request: web.Request) -> web.Response:
        """Register calls for list and fetch."""
        body = await read(request, CallsBody)
        now = self._clock.now()
        for found in body.calls:
            self._store.add_call(found.call(now))
        return web.json_response({"calls": len(self._store.calls)}, status=201)

    async def recordings(self, request: web.Request) -> web.Response:
        """Register voicemails for list."""
        for found in (await read(request, RecordingsBody)).recordings:
            self._store.add_recording(found.recording())
        return web.json_response({"recordings": len(self._store.recordings)}, status=201)

    async def aim(self, request: web.Request) -> web.Response:
        """Point webhooks elsewhere."""
        body = await read(request, AimBody)
        self._carrier.aim(body.public_base_url, body.webhook_base)
        return web.json_response({"ok": True})

    async def reset(self, request: web.Request) -> web.Response:
        """Forget everything."""
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send application/json")
        await self._on_reset()
        return web.json_response({"ok": True})
