"""The phone company and the borrowers: an open-loop load of signed webhooks, with Twilio's own retries, and a record of it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from twilio.request_validator import RequestValidator

from deploy.local.system import ACCOUNT_SID, AUTH_TOKEN
from services.cli.benching.latency import BRANCHES, caller_of
from services.cli.replaying.webhooks import DialledLeg, dialled_legs, sid
from services.runtime.clock import monotonic_s
from tests.chaos.system.history import CallPlaced, TextReceived

TRIES: Final = 6
TRY_LIMIT_S: Final = 5.0
"""Twilio with `#rc=5&rp=all&rt=5000`: the first try and five more, five seconds each."""

Form = Mapping[str, str]


@dataclass
class Load:
    """Calls and texts, each by a caller of its own.

    Args:
        base_url: ingest's.
        http: shared.
        seed: what each caller does.
    """

    base_url: str
    http: aiohttp.ClientSession
    seed: int
    calls: list[CallPlaced] = field(default_factory=list)
    texts: list[TextReceived] = field(default_factory=list)
    unacknowledged: int = 0
    late_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._validator = RequestValidator(AUTH_TOKEN)
        stories: list[tuple[Callable[[int, random.Random], Awaitable[None]], int]] = [
            (self._missed, 40),
            (self._hung_up, 10),
            (self._answered, 18),
            (self._redialled, 8),
            (self._stopped, 12),
            (self._replied, 8),
            (self._withheld, 4),
        ]
        self._stories, self._weights = zip(*stories, strict=True)

    async def run(self, rate: float, seconds: float) -> None:
        """Start `rate` stories a second, whether or not the system keeps up, and return once all have ended."""
        dice = random.Random(f"load:{self.seed}")
        began = monotonic_s()
        async with asyncio.TaskGroup() as group:
            for n in range(int(rate * seconds)):
                if (wait := began + n / rate - monotonic_s()) > 0:
                    await asyncio.sleep(wait)
                self.late_s.append(max(0.0, monotonic_s() - began - n / rate))
                story = dice.choices(self._stories, self._weights)[0]
                group.create_task(story(n, random.Random(f"story:{self.seed}:{n}")))

    # --- stories -----------------------------------------------------------------------------------------------------

    async def _missed(self, n: int, dice: random.Random) -> None:
        await self._call(n, dice, caller_of(n))

    async def _hung_up(self, n: int, dice: random.Random) -> None:
        await self._call(n, dice, caller_of(n), hangs_up=True)

    async def _answered(self, n: int, dice: random.Random) -> None:
        await self._call(n, dice, caller_of(n), answers=True)

    async def _withheld(self, n: int, dice: random.Random) -> None:
        await self._call(n, dice, "anonymous")

    async def _redialled(self, n: int, dice: random.Random) -> None:
        """Hangs up, calls again while the first call still settles (its legs' ends are late), and is answered."""
        await self._call(n, dice, caller_of(n), hangs_up=True, legs_end=False)
        await self._call(n, dice, caller_of(n), again=1, answers=True)

    async def _stopped(self, n: int, dice: random.Random) -> None:
        await self._call(n, dice, caller_of(n))
        await asyncio.sleep(dice.uniform(0.0, 8.0))
        await self._text(n, "STOP")
        if dice.random() < 0.3:
            await asyncio.sleep(dice.uniform(0.0, 5.0))
            await self._text(n, "START")

    async def _replied(self, n: int, dice: random.Random) -> None:
        await self._call(n, dice, caller_of(n))
        await asyncio.sleep(dice.uniform(0.0, 8.0))
        await self._text(n, "Refinance, please call me back")

    # --- webhooks ----------------------------------------------------------------------------------------------------

    async def _call(
        self,
        n: int,
        dice: random.Random,
        caller: str,
        *,
        again: int = 0,
        answers: bool = False,
        hangs_up: bool = False,
        legs_end: bool = True,
    ) -> None:
        call_id = sid("CA", "chaos", str(self.seed), str(n), str(again))
        parties = {
            "CallSid": call_id,
            "AccountSid": ACCOUNT_SID,
            "From": caller,
            "To": BRANCHES[n % len(BRANCHES)],
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
        }
        number = caller if caller.startswith("+") else None
        twiml = await self._post(f"{self.base_url}/webhooks/twilio/voice", {**parties, "CallStatus": "ringing"})
        if twiml is None:
            self.calls.append(CallPlaced(sid=call_id, caller=number))
            return
        legs = dialled_legs(twiml)
        done = {"started"}
        answered = False
        if answers and legs:
            answered = await self._press(legs[0], parties) is not None
        rest = self._after(parties, legs if legs_end else (), answered=answered, hangs_up=hangs_up)
        if dice.random() < 0.15:
            dice.shuffle(rest)
        if dice.random() < 0.10:
            rest += rest
        for name, url, form in rest:
            if await self._post(url, form) is not None:
                done.add(name)
        self.calls.append(CallPlaced(sid=call_id, caller=number, answered=answered, acknowledged=frozenset(done)))

    async def _press(self, leg: DialledLeg, parties: Form) -> str | None:
        form = {**parties, **_leg(leg, parties), "CallStatus": "in-progress"}
        await self._post(leg.screen_url, form)
        return await self._post(leg.screen_url.replace("step=screen", "step=pressed"), {**form, "Digits": "1"})

    def _after(
        self, parties: Form, legs: tuple[DialledLeg, ...], *, answered: bool, hangs_up: bool
    ) -> list[tuple[str, str, Form]]:
        found: list[tuple[str, str, Form]] = []
        for n, leg in enumerate(legs):
            status = "completed" if answered and n == 0 else "canceled" if answered or hangs_up else "no-answer"
            form = {
                **parties,
                **_leg(leg, parties),
                "CallStatus": status,
                "CallDuration": "20" if status == "completed" else "0",
            }
            found.append((f"leg {n}", leg.status_url, form))
        ended = {**parties, "CallStatus": "completed", "CallDuration": "25"}
        found.append(("ended", f"{self.base_url}/webhooks/twilio/call-status", ended))
        return found

    async def _text(self, n: int, body: str) -> None:
        message = sid("SM", "chaos", str(self.seed), str(n), body)
        form = {
            "MessageSid": message,
            "SmsSid": message,
            "AccountSid": ACCOUNT_SID,
            "ApiVersion": "2010-04-01",
            "From": caller_of(n),
            "To": BRANCHES[n % len(BRANCHES)],
            "Body": body,
            "NumMedia": "0",
            "NumSegments": "1",
            "SmsStatus": "received",
        }
        if await self._post(f"{self.base_url}/webhooks/twilio/sms", form) is not None:
            kind = {"STOP": "stop", "START": "start"}.get(body, "reply")
            self.texts.append(TextReceived(sid=message, caller=caller_of(n), kind=kind))  # type: ignore[arg-type]

    async def _post(self, url: str, form: Form) -> str | None:
        """Post a signed webhook as often as Twilio would; return the answer, or None when nobody ever took it."""
        headers = {"X-Twilio-Signature": self._validator.compute_signature(url, dict(form))}
        limit = aiohttp.ClientTimeout(total=TRY_LIMIT_S)
        for attempt in range(TRIES):
            try:
                async with self.http.post(url, data=dict(form), headers=headers, timeout=limit) as answer:
                    text = await answer.text()
                    if answer.status < 300:
                        return text
                    if answer.status < 500:
                        raise AssertionError(f"{url} refused a good webhook: {answer.status} {text[:200]}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.3 * 2**attempt)
        self.unacknowledged += 1
        return None


def _leg(leg: DialledLeg, parties: Form) -> Form:
    return {
        "CallSid": sid("CA", parties["CallSid"], leg.to),
        "ParentCallSid": parties["CallSid"],
        "To": leg.to,
        "Direction": "outbound-dial",
    }
