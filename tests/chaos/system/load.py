"""The phone company and the borrowers: an open-loop load of signed webhooks, with Twilio's own retries, and a record of it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle
from typing import Any, Final

import aiohttp
from twilio.request_validator import RequestValidator

from deploy.local.system import ACCOUNT_SID, AUTH_TOKEN
from services.cli.benching.latency import BRANCHES, caller_of
from services.cli.replaying.webhooks import DialledLeg, dialled_legs, sid
from services.ingest import routes
from services.runtime.clock import Clock, monotonic_s, real_now
from tests.chaos.system.history import Acknowledged, CallPlaced, TextReceived, VoiceTry

TRIES: Final = 6
TRY_LIMIT_S: Final = 5.0
"""Twilio with `#rc=5&rp=all&rt=5000`: the first try and five more, five seconds each."""

Form = Mapping[str, str]


@dataclass
class Load:
    """Calls and texts, each by a caller of its own.

    Args:
        base_urls: of every ingest; the first is the public one, which webhooks are signed for.
        http: shared.
        seed: what each caller does.
        clock: the phone company's, for its list of calls.

    Attributes:
        webhooks: what was acknowledged.
        listed: every call and leg as the phone company lists it afterwards.
        voice_s: how long each call waited for its TwiML.
    """

    base_urls: Sequence[str]
    http: aiohttp.ClientSession
    seed: int
    clock: Clock
    calls: list[CallPlaced] = field(default_factory=list)
    texts: list[TextReceived] = field(default_factory=list)
    webhooks: list[Acknowledged] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)
    unacknowledged: int = 0
    late_s: list[float] = field(default_factory=list)
    voice_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._validator = RequestValidator(AUTH_TOKEN)
        self.base_url = self.base_urls[0]
        self._next_base = cycle(enumerate(self.base_urls))
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

    async def run(self, rate: float, seconds: float, first: int = 0) -> None:
        """Start `rate` stories a second, whether or not the system keeps up, and return once all have ended.

        Args:
            rate: stories a second.
            seconds: how long they begin.
            first: the number of the first caller.
        """
        dice = random.Random(f"load:{self.seed}:{first}")
        began = monotonic_s()
        async with asyncio.TaskGroup() as group:
            for n in range(int(rate * seconds)):
                if (wait := began + n / rate - monotonic_s()) > 0:
                    await asyncio.sleep(wait)
                self.late_s.append(max(0.0, monotonic_s() - began - n / rate))
                story = dice.choices(self._stories, self._weights)[0]
                group.create_task(story(first + n, random.Random(f"story:{self.seed}:{first + n}")))

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
        """Opts out at any moment: while the call goes on, at its end, after the first text."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._call(n, dice, caller_of(n)))
            await asyncio.sleep(dice.uniform(0.0, 8.0))
            group.create_task(self._text(n, "STOP"))
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
        began, began_s = self.clock.now(), monotonic_s()
        tries: list[VoiceTry] = []
        twiml = await self._post(
            routes.VOICE,
            f"{self.base_url}{routes.VOICE}",
            {**parties, "CallStatus": "ringing"},
            f"twilio:{call_id}:started",
            tries,
        )
        self.voice_s.append(monotonic_s() - began_s)
        if twiml is None:
            self._list(parties, began, "completed")
            self.calls.append(CallPlaced(sid=call_id, caller=number, tries=tries))
            return
        legs = dialled_legs(twiml)
        done = {"started"}
        answered = False
        if answers and legs:
            answered = await self._press(legs[0], parties) is not None
        rest = self._after(parties, legs, answered=answered, hangs_up=hangs_up)
        for _, _, form, _ in rest:
            self._list(form, began, form["CallStatus"])
        if not legs_end:
            rest = [one for one in rest if one[0] == "ended"]
        if dice.random() < 0.15:
            dice.shuffle(rest)
        if dice.random() < 0.10:
            rest += rest
        ended_s = None
        for name, url, form, event_id in rest:
            if name == "ended" and ended_s is None:
                ended_s = real_now().timestamp()
            route = routes.CALL_STATUS if name == "ended" else routes.LEG
            if await self._post(route, url, form, event_id) is not None:
                done.add(name)
        self.calls.append(
            CallPlaced(
                sid=call_id,
                caller=number,
                answered=answered,
                acknowledged=frozenset(done),
                ended_s=ended_s,
                expected="answered" if answered else "abandoned" if hangs_up and legs_end and legs else "missed",
                tries=tries,
                pressed=f"twilio:{_leg(legs[0], parties)['CallSid']}:answered" if answered else None,
            )
        )

    async def _press(self, leg: DialledLeg, parties: Form) -> str | None:
        own = _leg(leg, parties)
        form = {**parties, **own, "CallStatus": "in-progress"}
        await self._post(routes.LEG, leg.screen_url, form, None)
        pressed = leg.screen_url.replace("step=screen", "step=pressed")
        return await self._post(routes.LEG, pressed, {**form, "Digits": "1"}, f"twilio:{own['CallSid']}:answered")

    def _list(self, form: Form, began: datetime, status: str) -> None:
        """Note a call or leg as the phone company lists it once it is over."""
        found: dict[str, Any] = {
            "sid": form["CallSid"],
            "from": form["From"],
            "to": form["To"],
            "status": status,
            "direction": form["Direction"],
            "start_time": began.isoformat(),
            "end_time": self.clock.now().isoformat(),
            "duration_s": int(form.get("CallDuration", "0")),
        }
        if "ParentCallSid" in form:
            found["parent_call_sid"] = form["ParentCallSid"]
        self.listed.append(found)

    def _after(
        self, parties: Form, legs: tuple[DialledLeg, ...], *, answered: bool, hangs_up: bool
    ) -> list[tuple[str, str, Form, str]]:
        found: list[tuple[str, str, Form, str]] = []
        for n, leg in enumerate(legs):
            status = "completed" if answered and n == 0 else "canceled" if answered or hangs_up else "no-answer"
            form = {
                **parties,
                **_leg(leg, parties),
                "CallStatus": status,
                "CallDuration": "20" if status == "completed" else "0",
            }
            found.append((f"leg {n}", leg.status_url, form, f"twilio:{form['CallSid']}:ended"))
        ended = {**parties, "CallStatus": "completed", "CallDuration": "25"}
        event_id = f"twilio:{parties['CallSid']}:ended:completed"
        found.append(("ended", f"{self.base_url}{routes.CALL_STATUS}", ended, event_id))
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
        if await self._post(routes.SMS, f"{self.base_url}{routes.SMS}", form, f"twilio:{message}:received") is not None:
            kind = {"STOP": "stop", "START": "start"}.get(body, "reply")
            self.texts.append(TextReceived(sid=message, caller=caller_of(n), kind=kind))  # type: ignore[arg-type]

    async def _post(
        self, route: str, url: str, form: Form, event_id: str | None, tries: list[VoiceTry] | None = None
    ) -> str | None:
        """Post a signed webhook as often as Twilio would; return the answer, or None when nobody ever took it.

        As behind a load balancer, each try goes to the next instance of ingest. `tries` gets each of them.
        """
        tries = [] if tries is None else tries
        headers = {"X-Twilio-Signature": self._validator.compute_signature(url, dict(form))}
        limit = aiohttp.ClientTimeout(total=TRY_LIMIT_S)
        for attempt in range(TRIES):
            instance, base = next(self._next_base)
            there = url.replace(self.base_url, base, 1)
            began_s, at_s = monotonic_s(), real_now().timestamp()
            answered = False
            try:
                async with self.http.post(there, data=dict(form), headers=headers, timeout=limit) as answer:
                    text = await answer.text()
                    answered = answer.status < 300
                    if answered:
                        if event_id is not None:
                            acknowledged_s = real_now().timestamp()
                            self.webhooks.append(Acknowledged(event_id=event_id, route=route, at_s=acknowledged_s))
                        return text
                    if answer.status < 500:
                        raise AssertionError(f"{url} refused a good webhook: {answer.status} {text[:200]}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            finally:
                took_s = monotonic_s() - began_s
                tries.append(VoiceTry(instance=instance, at_s=at_s, took_s=took_s, answered=answered))
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
