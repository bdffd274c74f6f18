"""The sandbox as one object: in-process for tests, behind `python -m deploy.sandbox` for everyone else."""

from types import TracebackType
from typing import Any, Self

import structlog
from aiohttp import web

from deploy.sandbox.api import Api
from deploy.sandbox.borrowers import Script
from deploy.sandbox.carrier import Carrier
from deploy.sandbox.control import Control
from deploy.sandbox.faults import Faults, FaultSpec
from deploy.sandbox.model import Message
from deploy.sandbox.page import Page
from deploy.sandbox.settings import SandboxSettings
from deploy.sandbox.store import Store
from deploy.sandbox.webhooks import Webhooks
from services.runtime.clock import Clock, clock_from

log = structlog.get_logger(__name__)

REQUEST_BYTES_MAX = 4 * 1024 * 1024
"""Room for 10,000 calls in one control request; a text's form is far smaller and its fields are checked one by one."""


class Sandbox:
    """`async with Sandbox(SandboxSettings(...)) as sb:` listens at `sb.url` until the block ends."""

    def __init__(self, settings: SandboxSettings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self.clock = clock or clock_from(self.settings.clock)
        self.store = Store(self.settings.keep_messages, self.settings.keep_requests)
        self.webhooks = Webhooks(self.settings.auth_token, self.settings.public_base_url, self.settings.webhook_base)
        self.carrier = Carrier(settings=self.settings, clock=self.clock, store=self.store, webhooks=self.webhooks)
        self.faults = Faults(self.settings.seed)
        self._api = Api(
            settings=self.settings, clock=self.clock, store=self.store, carrier=self.carrier, faults=self.faults
        )
        self._control = Control(
            clock=self.clock,
            store=self.store,
            carrier=self.carrier,
            faults=self.faults,
            webhooks=self.webhooks,
            on_reset=self.reset,
        )
        self._page = Page(self.clock, self.store)
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen; `url` says where."""
        app = web.Application(client_max_size=REQUEST_BYTES_MAX)
        app.add_routes([*self._control.routes(), *self._page.routes(), *self._api.routes()])
        await self.webhooks.open()
        self.carrier.start()
        self._page.start()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port, backlog=1024)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> None:
        """Close every connection and drop what is under way."""
        self._api.closing.set()
        await self._page.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.carrier.stop()
        await self.webhooks.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # For tests in the same process, which need no request.

    async def reset(self) -> None:
        """Forget messages, calls, opt-outs, scripts, faults and what is under way."""
        await self.carrier.clear()
        self.faults.clear()
        self.store.clear()
        self._page.forget()

    def aim(self, public_base_url: str, webhook_base: str | None = None) -> None:
        """Sign for `public_base_url` and connect to `webhook_base` from now on."""
        self.carrier.aim(public_base_url, webhook_base)

    def script(self, number: str, *replies: tuple[float, str]) -> None:
        """Make a number answer: the k-th pair (seconds to wait, words) answers its k-th text."""
        self.carrier.script(
            Script.model_validate(
                {"number": number, "replies": [{"after_s": after_s, "body": body} for after_s, body in replies]}
            )
        )

    def fault(self, **spec: Any) -> None:
        """Add a fault rule, in the fields of `FaultSpec`."""
        self.faults.add(FaultSpec.model_validate(spec))

    def text(self, from_: str, to: str, body: str) -> Message:
        """Let a phone text now."""
        return self.carrier.receive(from_, to, body)

    def sent(self, to: str | None = None) -> list[Message]:
        """Return what the API accepted, oldest first: all, or to one number."""
        found = [message for message in self.store.newest_first(to) if message.direction == "outbound-api"]
        return [message for message in reversed(found) if to is None or message.to == to]

    def idle(self) -> dict[str, Any]:
        """Return what `/idle` says."""
        return self._control.idle_state()
