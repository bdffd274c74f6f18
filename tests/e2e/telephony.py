"""The phone company, for e2e tests: it follows our TwiML and posts signed webhooks in whatever order a test wants."""

import itertools
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
from twilio.request_validator import RequestValidator

from deploy.local.system import ACCOUNT_SID, AUTH_TOKEN, System
from services.cli.replaying.webhooks import DialledLeg, dialled_legs
from services.runtime.clock import FileClock, write_clock
from tests.infra.polling import eventually

NEW_YORK = "+12125550100"
_numbers = itertools.count(100)


def new_caller() -> str:
    """Return a borrower's number that no other test uses (kept for fiction: NPA-555-01XX)."""
    n = next(_numbers)
    areas = (205, 251, 301, 302, 304, 305, 307, 308, 309, 312, 313, 314, 315, 316, 317, 318)
    return f"+1{areas[(n // 100) % len(areas)]}55501{n % 100:02d}"


@dataclass
class World:
    """A running system, its clock, its sandbox and its database."""

    system: System
    clock_path: Path
    http: aiohttp.ClientSession
    db: Any
    validator: RequestValidator = field(default_factory=lambda: RequestValidator(AUTH_TOKEN))

    def now(self) -> datetime:
        """Return virtual time."""
        return FileClock(self.clock_path).now()

    def move_to(self, when: datetime) -> None:
        """Move virtual time forward, and let it run on at the speed of real time."""
        assert when >= self.now(), "virtual time never goes back"
        write_clock(self.clock_path, when, 1.0)

    def move(self, **delta: float) -> None:
        """Move virtual time forward by a timedelta's arguments."""
        self.move_to(self.now() + timedelta(**delta))

    async def post(self, path: str, form: dict[str, str]) -> str:
        """Post a signed webhook; it must be taken."""
        url = path if path.startswith("http") else self.system.ingest_url + path
        headers = {"X-Twilio-Signature": self.validator.compute_signature(url, form)}
        async with self.http.post(url, data=form, headers=headers) as answer:
            text = await answer.text()
            assert answer.status < 300, f"{url} answered {answer.status}: {text}"
            return text

    async def texts_to(self, caller: str) -> list[dict[str, Any]]:
        """Return the texts the sandbox was asked to send to a caller, oldest first."""
        url = f"{self.system.sandbox_url}/_control/messages"
        async with self.http.get(url, params={"phone": caller, "direction": "outbound-api"}) as answer:
            found: list[dict[str, Any]] = (await answer.json())["messages"]
            return found

    async def texts_within(self, caller: str, count: int, within_s: float) -> list[dict[str, Any]]:
        """Return a caller's texts as soon as there are exactly `count`; fail after `within_s` real seconds."""
        found: list[dict[str, Any]] = []

        async def there_are() -> bool:
            nonlocal found
            found = await self.texts_to(caller)
            return len(found) == count

        await eventually(there_are, within_s, f"{count} texts")
        return found

    async def idle(self, within_s: float = 60.0) -> None:
        """Wait until nothing is under way anywhere, twice running."""
        quiet = 0

        async def is_quiet_again() -> bool:
            nonlocal quiet
            if gone := self.system.ended():
                raise RuntimeError("\n".join(gone))
            busy = await self.system.busy_with(self.http)
            quiet = 0 if busy else quiet + 1
            assert not busy, busy
            return quiet >= 2

        await eventually(is_quiet_again, within_s, "idle")

    async def lead(self, caller: str) -> dict[str, Any] | None:
        """Return a caller's lead document."""
        found: dict[str, Any] | None = await self.db.leads.find_one({"caller": caller})
        return found

    async def reply(self, caller: str, body: str) -> None:
        """Have a borrower text us."""
        async with self.http.post(
            f"{self.system.sandbox_url}/_control/incoming", json={"from": caller, "to": NEW_YORK, "body": body}
        ) as answer:
            assert answer.status < 300, await answer.text()


@dataclass
class Call:
    """One call of a borrower, step by step."""

    world: World
    caller: str
    dialled: str = NEW_YORK
    sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    legs: tuple[DialledLeg, ...] = ()
    leg_sids: tuple[str, ...] = ()

    def _form(self, **more: str) -> dict[str, str]:
        return {
            "CallSid": self.sid,
            "AccountSid": ACCOUNT_SID,
            "From": self.caller,
            "To": self.dialled,
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
            "Timestamp": format_datetime(datetime.now(UTC)),
            **more,
        }

    async def voice(self) -> None:
        """The call comes in; our TwiML says which phones to call."""
        twiml = await self.world.post("/webhooks/twilio/voice", self._form(CallStatus="ringing"))
        if not self.legs:
            self.legs = dialled_legs(twiml)
            self.leg_sids = tuple("CA" + secrets.token_hex(16) for _ in self.legs)

    def _leg(self, n: int, **more: str) -> dict[str, str]:
        return {
            **self._form(**more),
            "CallSid": self.leg_sids[n],
            "ParentCallSid": self.sid,
            "To": self.legs[n].to,
            "Direction": "outbound-dial",
        }

    async def press_key(self, n: int = 0) -> None:
        """An officer answers and presses the key."""
        await self.world.post(self.legs[n].screen_url, self._leg(n, CallStatus="in-progress"))
        url = self.legs[n].screen_url.replace("step=screen", "step=pressed")
        await self.world.post(url, self._leg(n, CallStatus="in-progress", Digits="1"))

    async def legs_end(self, status: str = "no-answer") -> None:
        """Every leg ends."""
        for n, leg in enumerate(self.legs):
            await self.world.post(leg.status_url, self._leg(n, CallStatus=status, CallDuration="0"))

    async def dial(self, status: str = "no-answer") -> None:
        """The dial is over."""
        more = {"DialCallSid": self.leg_sids[0]} if self.leg_sids else {}
        await self.world.post(
            "/webhooks/twilio/dial", self._form(CallStatus="in-progress", DialCallStatus=status, **more)
        )

    async def ends(self, status: str = "completed") -> None:
        """The borrower's call is over."""
        await self.world.post("/webhooks/twilio/call-status", self._form(CallStatus=status, CallDuration="25"))

    async def voicemail(self, transcript: str | None = None) -> None:
        """A recording exists, and its words."""
        recording = {
            "AccountSid": ACCOUNT_SID,
            "CallSid": self.sid,
            "RecordingSid": "RE" + self.sid[2:],
            "RecordingUrl": f"https://recordings.example/RE{self.sid[2:]}",
        }
        query = f"?call={self.sid}"
        await self.world.post(
            f"/webhooks/twilio/recording{query}",
            {**recording, "RecordingStatus": "completed", "RecordingDuration": "12"},
        )
        if transcript is not None:
            await self.world.post(
                f"/webhooks/twilio/transcription{query}",
                {
                    **recording,
                    "TranscriptionSid": "TR" + self.sid[2:],
                    "TranscriptionStatus": "completed",
                    "TranscriptionText": transcript,
                },
            )

    async def is_missed(self) -> None:
        """The whole of a missed call, in the usual order."""
        await self.voice()
        await self.legs_end()
        await self.dial()
        await self.ends()
