"""An ingest in this process: real routes, real signatures, a fake producer and a clock that stands still."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from schemas.base import EventData
from schemas.envelope import Event
from services.ingest.adapters.kafka import Outlet
from services.ingest.adapters.twilio import TwilioSignatures, Twiml
from services.ingest.domain.lender import Lender
from services.ingest.shell import Ingest
from services.ingest.signing import CALLS_HEADER, TWILIO_HEADER, sign_calls, sign_twilio
from services.ingest.web.app import make_app
from services.policy.directory import load_directory
from services.runtime.clock import monotonic_s, real_now
from services.runtime.health import Health
from services.runtime.producer import FakeProducer

BASE = "https://hooks.larkspur.example"
TOKEN, OLD_TOKEN, SECRET = "auth-token-of-today", "auth-token-of-yesterday", "a-secret-of-the-phone-system"
ACCOUNT = "AC" + "0" * 31 + "1"
OPEN = datetime(2026, 3, 3, 20, 0, tzinfo=UTC)  # a Tuesday, 3 pm in New York
NIGHT = datetime(2026, 3, 4, 4, 0, tzinfo=UTC)


@dataclass
class StandingClock:
    """Virtual time stands at `at`; the machine's goes on."""

    at: datetime = OPEN
    is_file: bool = True

    def now(self) -> datetime:
        return self.at

    def real_now(self) -> datetime:
        return real_now()

    def monotonic_s(self) -> float:
        return monotonic_s()

    async def sleep_until(self, when: datetime) -> None:
        raise NotImplementedError


@dataclass
class Phone:
    """Sends webhooks as their senders do, and keeps what ingest made of them."""

    client: TestClient[Any, Any]
    producer: FakeProducer
    clock: StandingClock
    health: Health
    ingest: Ingest
    base: str = BASE
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def events(self) -> list[Event[EventData]]:
        return self.producer.sent

    async def twilio(
        self, target: str, form: Mapping[str, str], *, token: str = TOKEN, signed_url: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientResponse:  # fmt: skip
        """Post a form to `/webhooks/twilio/<target>`, signed."""
        path = f"/webhooks/twilio/{target}"
        full = {"AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", **form}
        signature = sign_twilio(signed_url or self.base + path, full, token)
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
        said = sign_calls(body, int(real_now().timestamp()), SECRET) if header is None else header
        return await self.client.post(
            "/webhooks/calls", data=body, headers={CALLS_HEADER: said, "Content-Type": "application/json"}
        )


@pytest.fixture
async def phone(request: pytest.FixtureRequest) -> AsyncIterator[Phone]:
    """An ingest and someone to call its webhooks."""
    directory = load_directory("deploy/examples/lender.yaml")
    producer, health, clock = FakeProducer(), Health(), StandingClock()
    insecure = getattr(request, "param", "") == "insecure"
    ingest = Ingest(
        lender=Lender(directory, {"+12125550198"}),
        clock=clock,
        outlet=Outlet(producer, health, 1.0),
        signatures=None if insecure else TwilioSignatures(BASE, (TOKEN, OLD_TOKEN)),
        account_sid=ACCOUNT,
        twiml=Twiml(BASE, "#rc=5&rp=all", directory.name),
        secrets=(SECRET,),
    )
    async with TestClient(TestServer(make_app(ingest))) as client:
        yield Phone(client, producer, clock, health, ingest)
