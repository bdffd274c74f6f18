"""The network between Ringback and the phones: statuses change, callbacks are posted, borrowers act in virtual time."""

import asyncio
import heapq
import random
from collections import OrderedDict
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

import structlog

from deploy.sandbox.borrowers import SILENT, Behavior, Outcome, Script, behavior, scripted
from deploy.sandbox.model import API_VERSION, Message, new_sid
from deploy.sandbox.settings import SandboxSettings
from deploy.sandbox.store import Store, keyword
from deploy.sandbox.webhooks import Target, Webhooks
from services.policy.gsm import segments
from services.runtime.clock import POLL_S, Clock

log = structlog.get_logger(__name__)

ACTS_MAX = 200_000
AUTO_REPLIES = {
    "STOP": "You have successfully been unsubscribed. You will not receive any more messages from this number. "
    "Reply START to resubscribe.",
    "START": "You have successfully been re-subscribed to messages from this number. Reply HELP for help. "
    "Reply STOP to unsubscribe. Msg&Data Rates May Apply.",
    "HELP": "Reply STOP to unsubscribe. Msg&Data Rates May Apply.",
}


class Carrier:
    """Everything that happens to a text once the API has accepted it, and every text that a borrower writes."""

    def __init__(self, *, settings: SandboxSettings, clock: Clock, store: Store, webhooks: Webhooks) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._webhooks = webhooks
        self.callback_faults = settings.callback_faults
        self._sms = Target.parse(webhooks.public_base + settings.sms_path)
        self._random = random.Random(f"carrier:{settings.seed}")
        self._open: set[asyncio.Task[None]] = set()
        self._acts: list[tuple[datetime, int, str, str, str]] = []
        self._act_n = 0
        self._pushed = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self.quiet = set(settings.quiet)
        self._scripts: dict[str, Behavior] = {}
        self._texts: OrderedDict[str, int] = OrderedDict()
        self.counts = {"callbacks_dropped": 0, "acts_refused": 0}

    @property
    def callbacks_open(self) -> int:
        """How many texts still change their status, and webhooks are not answered yet."""
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether more is under way than the sandbox holds."""
        return len(self._open) >= self._settings.callbacks_max

    @property
    def next_act_at(self) -> datetime | None:
        """When the next borrower acts, virtual."""
        return self._acts[0][0] if self._acts else None

    @property
    def is_idle(self) -> bool:
        """Whether nothing more happens until virtual time moves or a request comes."""
        due = self.next_act_at
        return not self._open and (due is None or due > self._clock.now())

    def start(self) -> None:
        """Let borrowers act."""
        self._runner = asyncio.create_task(self._act())

    async def stop(self) -> None:
        """Drop what is under way."""
        tasks = [*self._open, *([self._runner] if self._runner else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._runner = None

    async def clear(self) -> None:
        """Forget scripts, acts and what is under way; go on."""
        await self.stop()
        self._acts.clear()
        self._scripts.clear()
        self._texts.clear()
        self.quiet = set(self._settings.quiet)
        self.callback_faults = self._settings.callback_faults
        self.start()

    def aim(self, public_base: str, local_base: str | None) -> None:
        """Point webhooks elsewhere.

        Raises:
            ValueError: not a base URL.
        """
        self._sms = Target.parse(public_base.rstrip("/") + self._settings.sms_path)
        self._webhooks.aim(public_base, local_base)

    def script(self, script: Script) -> None:
        """Make a number follow a script from its next text on."""
        self._scripts[script.number] = scripted(script)
        self._texts.pop(script.number, None)

    def behavior(self, number: str) -> Behavior:
        """Return what a number does."""
        if found := self._scripts.get(number):
            return found
        if not self._settings.borrowers or number in self.quiet:
            return SILENT
        return behavior(number, self._settings.seed, self._settings.shares)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._open.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("carrier_failed", exc_info=error)

    # Towards the phone.

    def accept(self, message: Message) -> None:
        """Take a text that the API accepted: change its status, call back, and let its receiver react."""
        number = message.to
        count = self._texts.pop(number, 0) + 1
        self._texts[number] = count
        if len(self._texts) > ACTS_MAX:
            self._texts.popitem(last=False)
        self._spawn(self._progress(message, self.behavior(number), count))

    async def _progress(self, message: Message, who: Behavior, count: int) -> None:
        target = Target.parse(message.status_callback) if message.status_callback else None
        faults = self.callback_faults
        held: list[dict[str, str]] = []
        last: asyncio.Task[None] | None = None
        reorder = faults.reorder > 0 and self._random.random() < faults.reorder
        for step in ("queued", "sent", "final"):
            await asyncio.sleep(self._settings.step_s)
            if not self._move(message, step, who.outcome):
                continue
            if message.status == "delivered":
                self._plan(message, who, count)
            if target is None or step not in self._settings.status_steps:
                continue
            if reorder:
                held.append(self._status_params(message))
            else:
                # A slow webhook holds up the next callback of its message, never the message.
                last = self._spawn(self._call_back(target, self._status_params(message), last))
        for params in reversed(held):
            if target is not None:
                last = self._spawn(self._call_back(target, params, last))

    def _move(self, message: Message, step: str, outcome: Outcome) -> bool:
        """Take a message one step on; return whether a message of this outcome has that step."""
        status = outcome.status if step == "final" else step
        if (step == "sent" and outcome.status == "failed") or (step == "final" and outcome.status == "sent"):
            return False
        now = self._clock.now()
        if message.from_ is None:
            self._store.assign_sender(message, self._settings.service_number)
        message.status, message.updated_at = status, now
        if status == "sent":
            message.sent_at = now
        if step == "final":
            message.error_code = outcome.error_code or (None if status == "delivered" else 30008)
        self._store.touch(message)
        return True

    def _status_params(self, message: Message) -> dict[str, str]:
        params = {
            "MessageSid": message.sid,
            "MessageStatus": message.status,
            "SmsSid": message.sid,
            "SmsStatus": message.status,
            "To": message.to,
            "From": message.from_ or "",
            "AccountSid": self._settings.account_sid,
            "ApiVersion": API_VERSION,
        }
        if message.service_sid:
            params["MessagingServiceSid"] = message.service_sid
        if message.error_code:
            params["ErrorCode"] = str(message.error_code)
        if message.status in ("delivered", "undelivered") and message.updated_at:
            params["RawDlrDoneDate"] = message.updated_at.strftime("%y%m%d%H%M")
        return params

    async def _call_back(self, target: Target, params: dict[str, str], after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait((after,))
        faults = self.callback_faults
        if faults.delay_s:
            await asyncio.sleep(faults.delay_s)
        if faults.drop and self._random.random() < faults.drop:
            self.counts["callbacks_dropped"] += 1
            return
        await self._webhooks.post(target, params)
        if faults.duplicate and self._random.random() < faults.duplicate:
            await self._webhooks.post(target, params)

    # From the phone.

    def _plan(self, message: Message, who: Behavior, count: int) -> None:
        for reply in who.answers(count):
            due = message.created_at + timedelta(seconds=reply.after_s)
            self.plan(due, message.to, message.from_ or self._settings.service_number, reply.body)

    def plan(self, due: datetime, number: str, to: str, body: str) -> None:
        """Let a number text once virtual time reaches `due`."""
        if len(self._acts) >= ACTS_MAX:
            self.counts["acts_refused"] += 1
            return
        self._act_n += 1
        heapq.heappush(self._acts, (due, self._act_n, number, to, body))
        self._pushed.set()

    async def _act(self) -> None:
        while True:
            if not self._acts:
                self._pushed.clear()
                await self._pushed.wait()
            try:
                now = self._clock.now()
            except (OSError, ValueError) as error:  # the clock's file is broken; borrowers wait until it is right again
                log.error("clock_unreadable", error=str(error))
                await asyncio.sleep(1.0)
                continue
            while self._acts and self._acts[0][0] <= now:
                _, _, number, to, body = heapq.heappop(self._acts)
                self.receive(number, to, body)
            # A clock file may move at any moment, and an earlier act may be added while this one waits.
            left = (self._acts[0][0] - now).total_seconds() if self._acts else 0.0
            await asyncio.sleep(POLL_S if self._clock.is_file else min(max(left, 0.0), POLL_S * 5))

    def receive(self, number: str, to: str, body: str) -> Message:
        """Take a text from a phone: keep it, obey Twilio's own keywords, post the webhook."""
        now = self._clock.now()
        message = Message(
            n=self._store.next_n(),
            sid=new_sid("SM"),
            direction="inbound",
            from_=number,
            to=to,
            body=body,
            status="received",
            created_at=now,
            sent_at=now,
            received_real=self._clock.real_now(),
        )
        self._store.add(message)
        word = keyword(body)
        if word == "STOP":
            self._store.opt_out(number, to)
        elif word == "START" and not self._store.opt_in(number, to):
            word = None  # YES from a phone that has not opted out is an answer, not a keyword
        if word:
            self._auto_reply(message, AUTO_REPLIES[word])
        params = {
            "ToCountry": "US",
            "MessageSid": message.sid,
            "SmsSid": message.sid,
            "SmsMessageSid": message.sid,
            "SmsStatus": "received",
            "AccountSid": self._settings.account_sid,
            "ApiVersion": API_VERSION,
            "From": number,
            "To": to,
            "Body": body,
            "NumMedia": "0",
            "NumSegments": str(segments(body)),
        }
        if word and self._settings.advanced_opt_out:
            params["OptOutType"] = word
        self._spawn(self._post_incoming(params))
        return message

    async def _post_incoming(self, params: dict[str, str]) -> None:
        await self._webhooks.post(self._sms, params)

    def _auto_reply(self, answered: Message, body: str) -> None:
        """Keep the answer that Twilio itself gives to a keyword; no customer's code sends it."""
        self._store.add(
            Message(
                n=self._store.next_n(),
                sid=new_sid("SM"),
                direction="outbound-reply",
                from_=answered.to,
                to=answered.from_ or "",
                body=body,
                status="delivered",
                created_at=answered.created_at,
                sent_at=answered.created_at,
                received_real=answered.received_real,
            )
        )
