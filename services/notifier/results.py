"""What became of a delivery: decided, saved, emitted and counted, in this order."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from schemas.envelope import Event
from schemas.touches import TouchDelivered, TouchFailed, TouchResult, TouchSent, TouchSuppressed
from services.notifier import metrics
from services.notifier.adapters.store import DeliveryStore, Saved
from services.notifier.domain.delivery import Delivery, DeliveryState, Result
from services.notifier.domain.facts import DeliveryFact, ReceiptCame
from services.notifier.domain.machine import Decision, decide
from services.notifier.domain.twilio_codes import UNREGISTERED_NUMBER, meaning_of_receipt
from services.policy.directory import Directory
from services.runtime.clock import Clock
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.producer import Producer

log = structlog.get_logger(__name__)

SOURCE: Final = "ringback/notifier"
RETRY_S: Final = 0.5
"""The pause between two attempts at MongoDB, in real time."""

OUTCOMES: Final[Mapping[type[TouchResult], str]] = {
    TouchSent: "sent", TouchDelivered: "delivered", TouchFailed: "failed", TouchSuppressed: "suppressed",
}  # fmt: skip
"""The results that `ringback_messages_total` counts, by its label."""


@dataclass(kw_only=True)
class DeliveryResults:
    """Takes facts about deliveries and tells `touch-results` what they mean."""

    store: DeliveryStore
    producer: Producer
    directory: Directory
    clock: Clock
    health: Health
    retry_s: float = RETRY_S

    async def settle(self, delivery: Delivery, fact: DeliveryFact) -> Decision:
        """Decide, save, emit. Where another write came first, read that one and decide again."""
        posted_real = delivery.posted_real
        while True:
            decision = decide(delivery, fact, self.clock.now(), self.clock.real_now())
            if decision.ignored:
                metrics.IGNORED.labels(decision.ignored).inc()
                return decision
            wanted = replace(decision.delivery, posted_real=posted_real or decision.delivery.posted_real)
            saved: Saved = await self.store.save(wanted)
            if saved == "sent_key_taken" and isinstance(fact, ReceiptCame) and fact.may_free:
                fact = replace(fact, may_free=False)  # another attempt has been given the step already: the last one
                continue
            if saved == "sent_key_taken":
                # A second text of one step would be a defect; its proof is kept.
                log.error("two_texts_of_one_step", touch_id=delivery.touch_id)
                wanted = replace(wanted, sent_key=None)
                saved = await self.store.save(wanted)
            if saved == "sid_taken":
                return Decision(delivery, ignored="sid_of_another_text")
            if saved == "saved":
                self._count(wanted, decision.results)
                await self._emit_or_leave(replace(wanted, rev=wanted.rev + 1))
                return decision
            again = await self.store.get(delivery.touch_id)
            if again is None:
                return Decision(delivery, ignored="gone")
            delivery = again

    async def settle_surely(self, delivery: Delivery, fact: DeliveryFact) -> None:
        """Settle, however long MongoDB is away: the provider's answer exists nowhere else."""
        with self.health.waiter("mongo") as away:
            while True:
                try:
                    await self.settle(delivery, fact)
                    return
                except TransientError as error:
                    away(str(error))
                    await self.pause()

    async def pause(self) -> None:
        """Wait a little before MongoDB is asked again."""
        await asyncio.sleep(self.retry_s)

    async def _emit_or_leave(self, delivery: Delivery) -> None:
        try:
            await self.emit(delivery)
        except TransientError as away:
            log.warning("results_wait", why=str(away))  # they are stored with the delivery; the outbox sweep emits them

    async def emit(self, delivery: Delivery) -> None:
        """Send the outbox whole from its head, in order; forget it once all of it is acknowledged."""
        if not delivery.outbox:
            return
        await self._send(delivery, delivery.outbox)
        await self.store.pull(delivery, [result.id for result in delivery.outbox])

    async def repeat(self, touch_id: str) -> None:
        """Tell again all that is known of a touch that came again: whoever sent it may have lost the answer.

        Raises:
            TransientError: Kafka or MongoDB is away, and the touch is not answered.
        """
        delivery = await self.store.get(touch_id)
        if delivery is None:
            return
        if results := (*delivery.told, *delivery.outbox):
            await self._send(delivery, results)
        if delivery.outbox:
            await self.store.pull(delivery, [result.id for result in delivery.outbox])

    async def _send(self, delivery: Delivery, results: Sequence[Result]) -> None:
        await self.producer.send(
            *(
                Event(
                    id=result.id,
                    data=result.data,
                    source=SOURCE,
                    time=result.time,
                    key=delivery.key.encode(),
                    lender_id=delivery.lender_id,
                    branch_id=delivery.branch_id,
                    received_at=delivery.received_real,
                    traceparent=delivery.traceparent,
                )
                for result in results
            )
        )

    def _count(self, delivery: Delivery, results: Sequence[TouchResult]) -> None:
        family = delivery.template if delivery.template in self.directory.templates else "other"
        for result in results:
            outcome = OUTCOMES.get(type(result))
            if outcome:
                metrics.MESSAGES.labels(family, outcome).inc()
            if isinstance(result, TouchSuppressed):
                metrics.SUPPRESSED.labels(result.reason).inc()
            if isinstance(result, TouchFailed) and result.sid is not None:
                self._count_undelivered(delivery)
            if isinstance(result, TouchSent):
                metrics.SEGMENTS.labels(family).inc(delivery.segments or 1)
                self._count_first(delivery)
            log.info(
                result.TYPE,
                touch_id=delivery.touch_id,
                lead_id=delivery.lead_id,
                step=delivery.step,
                reason=delivery.reason,
            )
        if delivery.state is DeliveryState.UNKNOWN and results:
            metrics.MESSAGES.labels(family, "unknown").inc()

    def _count_undelivered(self, delivery: Delivery) -> None:
        why = meaning_of_receipt(delivery.error_code)
        metrics.UNDELIVERED.labels(why).inc()
        if why == "configuration" or delivery.error_code == UNREGISTERED_NUMBER:
            # Each text that goes fails like this one until a person corrects the account or the number's registration.
            log.error("provider_configuration", code=delivery.error_code)

    def _count_first(self, delivery: Delivery) -> None:
        if not delivery.first_of_sequence:
            return
        if delivery.base_at is not None and delivery.sent_at is not None:
            metrics.FIRST_TEXT_SECONDS.observe(max(0.0, (delivery.sent_at - delivery.base_at).total_seconds()))
        if delivery.received_real is not None and delivery.posted_real is not None:
            late = (delivery.posted_real - delivery.received_real).total_seconds()
            metrics.WEBHOOK_TO_TEXT_SECONDS.observe(max(0.0, late))
