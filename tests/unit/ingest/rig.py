"""Ingest in this process: real routes, real signatures, a fake producer, and virtual time that the test moves."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from schemas.envelope import Event
from services.ingest import routes
from services.ingest.adapters.kafka import Outlet
from services.ingest.adapters.unsafe import Unsafe
from services.ingest.shell import Ingest
from services.ingest.signing import CALLS_HEADER, TWILIO_HEADER, sign_calls, sign_twilio
from services.runtime.health import Health
from services.runtime.producer import FakeProducer
from tests.infra.clock import FakeClock

BASE = "https://hooks.larkspur.example"
TOKEN, OLD_TOKEN, SECRET = "auth-token-of-today", "auth-token-of-yesterday", "a-secret-of-the-phone-system"
ACCOUNT = "AC" + "0" * 31 + "1"
OPEN = datetime(2026, 3, 3, 20, 0, tzinfo=UTC)  # a Tuesday, 3 pm in New York
TWILIO_PREFIX = "/webhooks/twilio/"
NIGHT = datetime(2026, 3, 4, 4, 0, tzinfo=UTC)


@dataclass
class Rig:
    """Sends webhooks as their senders do, and keeps what ingest made of them."""

    client: TestClient[Any, Any]
    producer: FakeProducer
    clock: FakeClock
    health: Health
    ingest: Ingest

    @property
    def events(self) -> list[Event[Any]]:
        """What was sent, in order; `Any` because a test knows which event it caused."""
        return list[Event[Any]](self.producer.sent)

    def goes_through(self, outlet: Outlet) -> None:
        """Have events become safe elsewhere."""
        self.ingest.unsafe = Unsafe(outlet=outlet, health=self.health, partitions=12)

    async def twilio(
        self,
        target: str,
        form: Mapping[str, str],
        *,
        token: str = TOKEN,
        signed_url: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientResponse:
        """Post a form to `/webhooks/twilio/<target>`, signed."""
        path = TWILIO_PREFIX + target
        full = {"AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", **form}
        signature = sign_twilio(signed_url or BASE + path, full, token)
        return await self.client.post(
            path,
            data=urlencode(full),
            headers={
                TWILIO_HEADER: signature,
                "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
                **(headers or {}),
            },
        )

    async def calls(self, report: Any, *, header: str | None = None) -> ClientResponse:
        """Post a report to `/webhooks/calls`, signed unless a header is given."""
        body = report if isinstance(report, bytes) else json.dumps(report).encode()
        said = sign_calls(body, int(self.clock.real.timestamp()), SECRET) if header is None else header
        return await self.client.post(
            routes.CALLS, data=body, headers={CALLS_HEADER: said, "Content-Type": "application/json"}
        )
