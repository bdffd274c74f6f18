"""Every metric of ingest. All label values are closed sets and start at 0."""

from functools import partial
from typing import Final, Protocol

from prometheus_client import Counter, Gauge, Histogram

from services.ingest import routes
from services.ingest.domain.reading import IGNORED, UNUSABLE
from services.ingest.errors import REASONS

OTHER: Final = "other"
RECONCILED_TYPES: Final = (
    "call.started",
    "call.leg_ended",
    "call.ended",
    "voicemail.recorded",
    "voicemail.transcribed",
    "reply.received",
    "receipt.received",
)
STATUSES: Final = ("200", "202", "204", "400", "403", "404", "405", "408", "413", "415", "500", "503")

REQUESTS = Counter(
    "ringback_http_requests_total", "Requests answered; unknown routes, methods and statuses count as `other`.",
    ["route", "method", "status"],
)  # fmt: skip
REQUEST_SECONDS = Histogram(
    "ringback_http_request_duration_seconds", "Seconds from a request's headers to its answer, Kafka's ack included.",
    ["route"], buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
REJECTED = Counter("ringback_webhooks_rejected_total", "Webhooks answered 4xx.", ["route", "reason"])
IGNORED_WEBHOOKS = Counter("ringback_webhooks_ignored_total", "Good webhooks that say nothing we keep.", ["why"])
UNACKNOWLEDGED = Counter(
    "ringback_webhooks_unacknowledged_total", "Webhooks answered 503: neither Kafka nor the spool took them.", ["route"]
)
UNSAFE = Counter(
    "ringback_webhooks_unsafe_total",
    "Calls that went on although neither Kafka nor the spool took the event.",
    ["route"],
)
UNSAFE_HELD = Gauge("ringback_webhooks_unsafe_held", "Events of such calls in memory, to be made safe.")
UNSAFE_LOST = Counter("ringback_webhooks_unsafe_lost_total", "Events of such calls that nothing ever took.")
SPOOLED = Counter("ringback_spooled_events_total", "Events put into the spool: Kafka did not take them.", ["topic"])
SPOOL_REFUSED = Counter("ringback_spool_refused_total", "Events that the spool did not take.", ["why"])
SPOOL_DAMAGED = Counter("ringback_spool_set_aside_total", "Records or files of the spool set aside for people.")
RECONCILED = Counter(
    "ringback_reconciled_events_total", "Events that no webhook told, found in the provider's lists.", ["type"]
)
RECONCILER_PASSES = Counter("ringback_reconciler_passes_total", "Passes of the reconciler that finished.")
SPOOL_IS_SET = Gauge(
    "ringback_spool_is_set", "1: while Kafka is away events go to a disk (RINGBACK_SPOOL_DIR). 0: they are refused."
)
SPOOL_EVENTS = Gauge("ringback_spool_events", "Events in the spool that Kafka has not taken.", ["topic"])
SPOOL_BYTES = Gauge("ringback_spool_bytes", "What the spool's files hold.")
SPOOL_OLDEST = Gauge("ringback_spool_oldest_seconds", "How long the oldest event has been in the spool.", ["topic"])
CALLERS_UNUSABLE = Counter(
    "ringback_callers_unusable_total", "Callers neither withheld nor a number; their calls are kept.", ["reason"]
)

for _route in routes.ALL:
    for _status in STATUSES:
        REQUESTS.labels(_route, "POST", _status)
    for _reason in REASONS:
        REJECTED.labels(_route, _reason)
    REQUEST_SECONDS.labels(_route)
    UNACKNOWLEDGED.labels(_route)
    if _route in routes.ALWAYS_ANSWERED:
        UNSAFE.labels(_route)
for _topic in ("call-events", "replies", "receipts"):
    SPOOLED.labels(_topic)
    SPOOL_EVENTS.labels(_topic)
    SPOOL_OLDEST.labels(_topic)
for _type in RECONCILED_TYPES:
    RECONCILED.labels(_type)
for _refusal in ("full", "unwritable", "slow"):
    SPOOL_REFUSED.labels(_refusal)
for _why in IGNORED:
    IGNORED_WEBHOOKS.labels(_why)
for _kind in UNUSABLE:
    CALLERS_UNUSABLE.labels(_kind)


class Followed(Protocol):
    """What the spool's gauges ask."""

    @property
    def size_bytes(self) -> int:
        """What its files hold."""

    def depth(self, topic: str) -> int:
        """How many events of a topic wait."""

    def oldest_s(self, topic: str) -> float:
        """How long the oldest has waited."""


def follow_spool(spool: Followed) -> None:
    """Have the gauges ask a spool whenever they are read."""
    SPOOL_BYTES.set_function(lambda: spool.size_bytes)
    for topic in ("call-events", "replies", "receipts"):
        SPOOL_EVENTS.labels(topic).set_function(partial(spool.depth, topic))
        SPOOL_OLDEST.labels(topic).set_function(partial(spool.oldest_s, topic))
