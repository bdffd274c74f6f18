"""An ingest in this process, for every test of this folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.ingest.adapters.kafka import Outlet
from services.ingest.adapters.twilio import TwilioSignatures, Twiml
from services.ingest.adapters.unsafe import Unsafe
from services.ingest.domain.lender import Lender
from services.ingest.shell import Ingest
from services.ingest.web.app import make_app
from services.policy.directory import load_directory
from services.runtime.health import Health
from services.runtime.producer import FakeProducer
from tests.infra.clock import FakeClock
from tests.unit.ingest.listing import Bench
from tests.unit.ingest.rig import ACCOUNT, BASE, OLD_TOKEN, OPEN, SECRET, TOKEN, Rig


@pytest.fixture
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """An ingest and someone to call its webhooks."""
    directory = load_directory("deploy/examples/lender.yaml")
    producer, health, clock = FakeProducer(), Health(), FakeClock(OPEN)
    insecure = getattr(request, "param", "") == "insecure"
    outlet = Outlet(producer=producer, health=health, limit_s=1.0)
    ingest = Ingest(
        lender=Lender(directory, {"+12125550198"}),
        clock=clock,
        unsafe=Unsafe(outlet=outlet, health=health, partitions=12),
        signatures=None if insecure else TwilioSignatures(BASE, (TOKEN, OLD_TOKEN)),
        account_sid=ACCOUNT,
        twiml=Twiml(BASE, "#rc=5&rp=all", directory.name),
        secrets=(SECRET,),
    )
    async with TestClient(TestServer(make_app(ingest))) as client:
        yield Rig(client, producer, clock, health, ingest)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
